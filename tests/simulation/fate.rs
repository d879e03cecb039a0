//! What happens at each step of a life: nothing, a crash, a loss, a delay.
//!
//! Steps are the instants at which something becomes durable: a write at a provider, a write of the state. They are
//! counted over the whole life, so that a number names one instant of a life that is told again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a call is on its way: nothing answers in no time, and a listing is older than a write that follows it.
const LATENCY: Duration = Duration::from_millis(20);

/// What a start of three clients asks of its disk in one instant is a hundredth of this.
const ASKED_AT_ONCE_MAX: u32 = 20_000;

/// A life of more steps turns in circles: its process stands still from here.
const STEPS_MAX: usize = 30_000;

/// Before or after what a step makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Before,
    After,
}

/// A pulled plug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crash {
    pub step: usize,
    pub moment: Moment,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = if self.moment == Moment::Before { "before" } else { "after" };
        write!(f, "{moment}:{}", self.step)
    }
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The state is written.
    Save,
    /// A call that changes something at a provider; `creates` something when it is sent twice.
    Write { creates: bool },
    /// A call that looks.
    Read,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Pass,
    Crash(Moment),
    /// Nothing happens, the connection breaks.
    LostBefore,
    /// It happens, the connection breaks.
    LostAfter,
    /// It happens this much later; nobody waits that long.
    Late(Duration),
    /// Nothing happens and this status comes.
    Status(u16),
    /// It happens and this status comes.
    StatusAfter(u16),
    /// It happens and something else than the API documents comes.
    Garbage,
    /// It happens and the answer is cut in its middle.
    Cut,
    /// The disk refuses.
    NoDisk,
}

/// How often each fault comes, in 1/10,000 of the calls it can strike.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub crash: u32,
    pub lost_before: u32,
    pub lost_after: u32,
    pub late: u32,
    pub status: u32,
    pub status_after: u32,
    pub garbage: u32,
    pub cut: u32,
    pub no_disk: u32,
    pub read_status: u32,
    pub read_garbage: u32,
}

/// Where faults come from.
pub enum Course {
    /// Exactly these crashes; with `lost`, the first answer of every create is lost as well.
    Told { crashes: Vec<Crash>, lost: bool },
    /// Thrown.
    Thrown { dice: fastrand::Rng, odds: Odds },
}

struct State {
    course: Course,
    steps: usize,
    reads: u64,
    log: Option<Vec<String>>,
    lost: BTreeSet<String>,
    faults: u64,
    calm: bool,
    /// The disk takes no write, whatever the course.
    refuses_saves: bool,
    /// Crashes that are still allowed: a machine that dies at every step never gets anywhere.
    lives: u32,
}

/// The course of one life.
pub struct Fate {
    state: Mutex<State>,
    /// Told when a process died.
    pub crashed: Notify,
    /// Told when the state was written.
    pub saved: Notify,
    /// Latest arrival of a late call after its sending.
    pub late_max: Duration,
    /// How much was asked in the newest instant.
    instant: Mutex<(Instant, u32)>,
    hot: AtomicBool,
}

impl Fate {
    pub fn new(course: Course, late_max: Duration, lives: u32) -> Arc<Fate> {
        let state = State {
            course,
            steps: 0,
            reads: 0,
            log: None,
            lost: BTreeSet::new(),
            faults: 0,
            calm: false,
            refuses_saves: false,
            lives,
        };
        Arc::new(Fate {
            state: Mutex::new(state),
            crashed: Notify::new(),
            saved: Notify::new(),
            late_max,
            instant: Mutex::new((Instant::now(), 0)),
            hot: AtomicBool::new(false),
        })
    }

    /// Whether more is asked in one instant than any work needs: then nothing is answered any more (L11).
    fn turns_on_the_spot(&self) -> bool {
        let mut instant = self.instant.lock();
        let now = Instant::now();
        *instant = if instant.0 == now { (now, instant.1 + 1) } else { (now, 0) };
        if instant.1 > ASKED_AT_ONCE_MAX {
            self.hot.store(true, Ordering::Relaxed);
        }
        self.hot.load(Ordering::Relaxed)
    }

    /// Whether a process turned on the spot.
    pub fn is_hot(&self) -> bool {
        self.hot.load(Ordering::Relaxed)
    }

    /// Keeps what each step was.
    pub fn keep_log(&self) {
        self.state.lock().log = Some(Vec::new());
    }

    /// Puts a line into the log that is kept.
    pub fn note(&self, line: &str) {
        if let Some(log) = self.state.lock().log.as_mut() {
            log.push(format!("    {line}"));
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.state.lock().log.clone().unwrap_or_default()
    }

    pub fn steps(&self) -> usize {
        self.state.lock().steps
    }

    /// Calls that only looked.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// Faults so far.
    pub fn faults(&self) -> u64 {
        self.state.lock().faults
    }

    pub fn count_fault(&self) {
        self.state.lock().faults += 1;
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.state.lock().calm = true;
    }

    /// From now on the disk takes no write, or takes them again.
    pub fn refuse_saves(&self, refuses: bool) {
        self.state.lock().refuses_saves = refuses;
    }

    fn turn(&self, place: Place, label: &str) -> Turn {
        let mut state = self.state.lock();
        if state.refuses_saves && place == Place::Save {
            return Turn::NoDisk;
        }
        let number = state.steps;
        if place != Place::Read {
            state.steps += 1;
            if let Some(log) = state.log.as_mut() {
                log.push(format!("{number} {label}"));
            }
        }
        state.reads += u64::from(place == Place::Read);
        if state.calm {
            return Turn::Pass;
        }
        let turn = state.choose(place, label, number, self.late_max);
        if turn != Turn::Pass {
            state.faults += 1;
            if let Some(log) = state.log.as_mut() {
                log.push(format!("    {turn:?} at {label}"));
            }
        }
        turn
    }
}

impl State {
    fn choose(&mut self, place: Place, label: &str, number: usize, late_max: Duration) -> Turn {
        match &mut self.course {
            Course::Told { crashes, lost } => {
                if place == Place::Read {
                    return Turn::Pass;
                }
                if let Some(crash) = crashes.iter().find(|crash| crash.step == number) {
                    return Turn::Crash(crash.moment);
                }
                match place {
                    Place::Write { creates: true } if *lost && self.lost.insert(label.to_owned()) => Turn::LostAfter,
                    _ => Turn::Pass,
                }
            }
            Course::Thrown { dice, odds } => thrown(dice, odds, place, late_max, &mut self.lives),
        }
    }
}

fn thrown(dice: &mut fastrand::Rng, odds: &Odds, place: Place, late_max: Duration, lives: &mut u32) -> Turn {
    let thrown = dice.u32(0..10_000);
    let moment = if dice.bool() { Moment::Before } else { Moment::After };
    let code = [500, 502, 503, 504, 429][dice.usize(0..5)];
    let late = late_max.mul_f64(dice.f64());
    let sides: &[(u32, Turn)] = match place {
        Place::Save => &[(odds.crash, Turn::Crash(moment)), (odds.no_disk, Turn::NoDisk)],
        Place::Write { .. } => &[
            (odds.crash, Turn::Crash(moment)),
            (odds.lost_before, Turn::LostBefore),
            (odds.lost_after, Turn::LostAfter),
            (odds.late, Turn::Late(late)),
            (odds.status, Turn::Status(code)),
            (odds.status_after, Turn::StatusAfter(502)),
            (odds.garbage, Turn::Garbage),
            (odds.cut, Turn::Cut),
        ],
        Place::Read => {
            &[(odds.read_status, Turn::Status(code)), (odds.read_garbage, Turn::Garbage), (odds.cut, Turn::Cut)]
        }
    };
    let mut sum = 0;
    for (odd, turn) in sides {
        sum += odd;
        if thrown < sum {
            if matches!(turn, Turn::Crash(_)) {
                if *lives == 0 {
                    return Turn::Pass;
                }
                *lives -= 1;
            }
            return *turn;
        }
    }
    Turn::Pass
}

/// One process: everything it does passes here, and nothing passes once it died.
pub struct Gate {
    pub fate: Arc<Fate>,
    dead: AtomicBool,
}

impl Gate {
    pub fn new(fate: Arc<Fate>) -> Arc<Gate> {
        Arc::new(Gate { fate, dead: AtomicBool::new(false) })
    }

    /// What happens to this call. A dead process never gets an answer.
    pub async fn turn(&self, place: Place, label: &str) -> Turn {
        if place != Place::Save {
            tokio::time::sleep(LATENCY).await;
        }
        self.live().await;
        if self.fate.steps() > STEPS_MAX {
            std::future::pending::<()>().await;
        }
        self.fate.turn(place, label)
    }

    /// Never returns in a dead process, nor in one that turns without time passing.
    pub async fn live(&self) {
        if self.fate.turns_on_the_spot() {
            std::future::pending::<()>().await;
        }
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// The plug is pulled here.
    pub async fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.fate.crashed.notify_one();
        std::future::pending::<()>().await;
    }

    /// The process is ended from outside.
    pub fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }
}
