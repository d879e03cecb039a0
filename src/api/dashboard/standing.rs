//! How a client stands, in the five words of the fleet: ready, waiting, broken, paused, on its way out.
//!
//! Waiting is not failing: what is built, spread or retried waits; broken is what only a person can help
//! (the condition `Stalled`). A client that is suspended on purpose counts with the paused ones, though it is `Ready`.

use crate::api::view::ClientView;
use crate::status::{Phase, Status, Truth};
use crate::store::history::DeploymentState;

/// The words, in the order in which people read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The world matches its spec.
    Ready,
    /// Something is under way, or is tried again.
    Waiting,
    /// A person is needed.
    Broken,
    /// Held still by a person.
    Paused,
    /// Its file is gone.
    Leaving,
}

/// All of them.
pub const ALL: [Standing; 5] =
    [Standing::Ready, Standing::Waiting, Standing::Broken, Standing::Paused, Standing::Leaving];

impl Standing {
    /// From what was last told.
    pub fn of(status: &Status) -> Standing {
        Standing::told(status.phase, status.is_ready())
    }

    /// From what is shown.
    pub fn shown(client: &ClientView) -> Standing {
        Standing::told(client.phase, client.ready() == Truth::True)
    }

    fn told(phase: Phase, is_ready: bool) -> Standing {
        match phase {
            Phase::Offline | Phase::Terminating => Standing::Leaving,
            Phase::Paused | Phase::Suspended => Standing::Paused,
            Phase::Failed => Standing::Broken,
            Phase::Active if is_ready => Standing::Ready,
            Phase::Active | Phase::Pending | Phase::Provisioning | Phase::Deploying => Standing::Waiting,
        }
    }

    /// In addresses and as a class.
    pub fn key(self) -> &'static str {
        match self {
            Standing::Ready => "ready",
            Standing::Waiting => "waiting",
            Standing::Broken => "broken",
            Standing::Paused => "paused",
            Standing::Leaving => "leaving",
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Ready => "Ready",
            Standing::Waiting => "Waiting",
            Standing::Broken => "Broken",
            Standing::Paused => "Paused",
            Standing::Leaving => "On its way out",
        }
    }

    /// The one of that key.
    pub fn parse(key: &str) -> Option<Standing> {
        ALL.into_iter().find(|standing| standing.key() == key)
    }
}

/// A word in its colour, with a shape of its own: colour alone says nothing.
pub fn chip(standing: Standing, word: &str) -> String {
    let shape = match standing {
        Standing::Ready => "<path d=\"M1.5 5.5 4 8l4.5-6\"/>",
        Standing::Waiting => "<circle cx=\"5\" cy=\"5\" r=\"3.6\"/><path d=\"M5 3v2l1.4 1\"/>",
        Standing::Broken => "<path d=\"m2 2 6 6M8 2 2 8\"/>",
        Standing::Paused => "<path d=\"M3.2 2v6M6.8 2v6\"/>",
        Standing::Leaving => "<path d=\"M1.5 5h7M5.5 2l3 3-3 3\"/>",
    };
    format!(
        "<span class=\"chip {}\"><svg viewBox=\"0 0 10 10\" width=\"10\" height=\"10\" aria-hidden=\"true\">{shape}</svg>{word}</span>",
        standing.key()
    )
}

/// The chip of a client: its phase, as `status` prints it.
pub fn phase(client: &ClientView) -> String {
    chip(Standing::shown(client), &format!("{:?}", client.phase))
}

/// The chip of a deploy.
pub fn deployment(state: DeploymentState) -> String {
    let (standing, word) = match state {
        DeploymentState::Running => (Standing::Waiting, "Running"),
        DeploymentState::Succeeded => (Standing::Ready, "Succeeded"),
        DeploymentState::Failed => (Standing::Broken, "Failed"),
        DeploymentState::Lost => (Standing::Paused, "Lost"),
    };
    chip(standing, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_failing_and_every_phase_has_a_word() {
        assert_eq!(Standing::told(Phase::Active, true), Standing::Ready);
        assert_eq!(Standing::told(Phase::Active, false), Standing::Waiting);
        assert_eq!(Standing::told(Phase::Deploying, false), Standing::Waiting);
        assert_eq!(Standing::told(Phase::Failed, false), Standing::Broken);
        assert_eq!(Standing::told(Phase::Suspended, true), Standing::Paused);
        assert_eq!(Standing::told(Phase::Offline, false), Standing::Leaving);
        for standing in ALL {
            assert_eq!(Standing::parse(standing.key()), Some(standing));
        }
    }
}
