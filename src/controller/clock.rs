//! Wall time that follows the runtime's clock, so that tests may stop and wind it.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// Tells the time. A jump of the machine's clock after the start does not move it: grace periods count time that passed.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    origin: Instant,
}

impl Clock {
    /// A clock that begins at the machine's wall time.
    pub fn system() -> Self {
        Clock::at(Timestamp::now())
    }

    /// A clock that shows this time now.
    pub fn at(wall: Timestamp) -> Self {
        Clock { wall, origin: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        crate::plan::draft::later(self.wall, self.origin.elapsed())
    }

    /// The runtime's instant of a timestamp; the past is now.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.duration_since(self.now());
        Instant::now() + Duration::try_from(wait).unwrap_or_default()
    }
}
