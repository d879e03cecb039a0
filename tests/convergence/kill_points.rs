//! Where the daemon can be killed: every write it sends over HTTP and every statement it sends to PostgreSQL.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sitewright::provider::world::faults::{Call, Effect, Faults, Moment, Rule};

use crate::rig::Daemon;

/// How long the daemon lives on with an answer, or with the news that there is none: long enough to write it down.
const AFTERLIFE: Duration = Duration::from_millis(30);

/// A stretch of a client's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Provision,
    Update,
    /// Held suspended by its spec, and no more.
    Suspend,
    Resume,
    /// The file goes; the client is offline.
    Leave,
    /// The file comes back in time.
    Return,
    /// Removal with its database.
    Drop,
    /// Removal that keeps the database.
    Retire,
    /// Provision that ends for ever at the fault: the file goes before the daemon comes back.
    Abandon,
    /// Provision whose file is another one before the daemon comes back.
    Amend,
}

/// What happens at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Killed with the request under way; it never arrives.
    Before,
    /// It happens; killed before the answer leaves.
    After,
    /// It happens and is answered; killed a moment later.
    Answered,
    /// It happens, the answer is lost; killed a moment later.
    LostAfterKill,
    /// It happens, the answer is lost.
    LostAfter,
    /// It never arrives, the connection breaks.
    LostBefore,
}

impl Mode {
    pub const ALL: [Mode; 6] =
        [Mode::Before, Mode::After, Mode::Answered, Mode::LostAfterKill, Mode::LostAfter, Mode::LostBefore];
    /// Where the file changes while the daemon is dead.
    pub const DEADLY: [Mode; 2] = [Mode::After, Mode::Before];

    /// Whether the daemon dies.
    pub fn kills(self) -> bool {
        !matches!(self, Mode::LostAfter | Mode::LostBefore)
    }

    /// Whether the write has its effect.
    pub fn happens(self) -> bool {
        !matches!(self, Mode::Before | Mode::LostBefore)
    }
}

/// A write by what it is, and which of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    pub label: String,
    pub occurrence: usize,
}

/// One thing to go wrong.
#[derive(Debug, Clone)]
pub struct Point {
    pub phase: Phase,
    /// Place in the list of the phase's writes.
    pub number: usize,
    pub write: Write,
    pub mode: Mode,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Provision => "provision",
            Phase::Update => "update",
            Phase::Suspend => "suspend",
            Phase::Resume => "resume",
            Phase::Leave => "leave",
            Phase::Return => "return",
            Phase::Drop => "drop",
            Phase::Retire => "retire",
            Phase::Abandon => "abandon",
            Phase::Amend => "amend",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Before => "before",
            Mode::After => "after",
            Mode::Answered => "answered",
            Mode::LostAfterKill => "lost-after-kill",
            Mode::LostAfter => "lost-after",
            Mode::LostBefore => "lost-before",
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.phase, self.number, self.mode)
    }
}

/// The daemon of a rig, to be killed from anywhere.
pub type Slot = Arc<Mutex<Option<Daemon>>>;

/// Counts the writes of a phase and strikes at one of them.
#[derive(Default)]
pub struct Trigger {
    state: Mutex<State>,
    pub daemon: Slot,
    /// Whether no provider answers a question.
    dark: AtomicBool,
}

#[derive(Default)]
struct State {
    counts: BTreeMap<String, usize>,
    seen: Vec<Write>,
    armed: Option<(Write, Mode)>,
    /// Path of the HTTP call that was hit and goes on.
    pending: Option<(String, Mode)>,
    fired: bool,
}

impl Trigger {
    /// A phase begins: counts start at nothing, and this goes wrong.
    pub fn arm(&self, point: Option<&Point>) {
        let armed = point.map(|point| (point.write.clone(), point.mode));
        *self.state.lock() = State { armed, ..State::default() };
    }

    /// Whether it has gone wrong.
    pub fn has_fired(&self) -> bool {
        self.state.lock().fired
    }

    /// The writes of the phase so far.
    pub fn seen(&self) -> Vec<Write> {
        self.state.lock().seen.clone()
    }

    /// A write arrives; what is to happen to it.
    pub fn meet(&self, label: &str) -> Option<Mode> {
        let mut state = self.state.lock();
        let count = state.counts.entry(label.to_owned()).or_default();
        *count += 1;
        let write = Write { label: label.to_owned(), occurrence: *count };
        state.seen.push(write.clone());
        let hit = state.armed.as_ref().filter(|(armed, _)| *armed == write).map(|(_, mode)| *mode);
        if hit.is_some() {
            state.armed = None;
        }
        hit
    }

    /// No provider answers a question from now on.
    pub fn darken(&self, faults: &Faults) {
        self.dark.store(true, Ordering::Relaxed);
        faults.add(Rule {
            provider: None,
            method: Some("GET".into()),
            path: None,
            writes: false,
            skip: 0,
            times: u32::MAX,
            effect: Effect::Status { code: 503, body: None, retry_after: None },
        });
    }

    /// They answer again.
    pub fn lighten(&self, faults: &Faults) {
        faults.clear();
        self.dark.store(false, Ordering::Relaxed);
    }

    pub fn is_dark(&self) -> bool {
        self.dark.load(Ordering::Relaxed)
    }

    /// It has gone wrong.
    pub fn fire(&self) {
        self.state.lock().fired = true;
    }

    /// The plug is pulled: the process is gone when this returns.
    pub fn kill(&self) {
        if let Some(mut daemon) = self.daemon.lock().take() {
            daemon.kill();
        }
        self.fire();
    }

    /// The plug is pulled in a moment.
    pub fn kill_soon(self: &Arc<Self>) {
        let trigger = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(AFTERLIFE);
            trigger.kill();
        });
    }

    /// Puts this trigger at every HTTP write.
    pub fn hook(self: &Arc<Self>, faults: &Arc<Faults>) {
        let (trigger, rules) = (self.clone(), faults.clone());
        *faults.hook.lock() = Some(Arc::new(move |call: &Call, moment| match moment {
            Moment::Before => trigger.before(call, &rules),
            Moment::After => trigger.after(call),
        }));
    }

    fn before(self: &Arc<Self>, call: &Call, faults: &Faults) {
        let Some(mode) = self.meet(&http_label(call)) else { return };
        let effect = match mode {
            Mode::Before | Mode::LostBefore => Some(Effect::LostBefore),
            Mode::LostAfter | Mode::LostAfterKill => Some(Effect::LostAfter),
            Mode::After | Mode::Answered => None,
        };
        if let Some(effect) = effect {
            let rule = Rule {
                provider: Some(call.provider.clone()),
                method: Some(call.method.clone()),
                path: Some(call.path.clone()),
                writes: true,
                skip: 0,
                times: 1,
                effect,
            };
            faults.rules.lock().insert(0, rule);
        }
        match mode {
            Mode::Before => self.kill(),
            Mode::LostBefore => self.fire(),
            _ => self.state.lock().pending = Some((call.path.clone(), mode)),
        }
    }

    fn after(self: &Arc<Self>, call: &Call) {
        let mode = {
            let mut state = self.state.lock();
            match &state.pending {
                Some((path, mode)) if *path == call.path => {
                    let mode = *mode;
                    state.pending = None;
                    mode
                }
                _ => return,
            }
        };
        match mode {
            Mode::After => self.kill(),
            Mode::Answered | Mode::LostAfterKill => self.kill_soon(),
            _ => self.fire(),
        }
    }
}

/// A call without the ids and names in its path.
fn http_label(call: &Call) -> String {
    let is_id = |part: &str| {
        let number = part.bytes().all(|b| b.is_ascii_digit());
        let hexadecimal = part.len() >= 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
        !part.is_empty() && (number || hexadecimal || part.ends_with(".example"))
    };
    let parts: Vec<&str> = call.path.split('/').map(|part| if is_id(part) { "N" } else { part }).collect();
    format!("{} {} {}", call.provider, call.method, parts.join("/"))
}
