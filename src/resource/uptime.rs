//! How a site answered over time: what was down, what nobody watched, and the incidents that people are told of.
//!
//! Only what broke is kept. From the first look on, every moment that is neither a break nor unwatched was good.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Failed looks in a row that open an incident.
pub const FAILURES_OPEN: u32 = 3;
/// How far back breaks and incidents are kept.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Breaks that are kept; a site that flaps more loses the oldest.
pub const BREAKS_MAX: usize = 500;
/// Incidents that are kept.
pub const INCIDENTS_MAX: usize = 100;
/// A pause between two looks of more than this many intervals was not watched.
const INTERVALS_UNWATCHED: u32 = 3;
/// Shorter pauses are never taken for unwatched: a busy machine looks late.
const UNWATCHED_MIN: Duration = Duration::from_secs(5 * 60);

/// The memory of looks at one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Uptime {
    /// First and newest look.
    pub looks: Option<(Timestamp, Timestamp)>,
    /// Failed looks in a row until now.
    pub failures: u32,
    /// What was not good, oldest first; the newest may be open.
    pub breaks: Vec<Break>,
    /// What people are told of, oldest first; the newest may be open.
    pub incidents: Vec<Incident>,
}

/// A time in which the site was not seen to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// Begin: the first failed look, or the last look before nobody watched.
    pub from: Timestamp,
    /// End: the next good look; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// Whether it was down. Else nobody looked, and it counts for nothing.
    pub down: bool,
}

/// A break of at least three failed looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Incident {
    /// The first failed look.
    pub began: Timestamp,
    /// The next good look; `None` while it lasts.
    pub ended: Option<Timestamp>,
    /// What the looks showed, one clause.
    pub cause: String,
}

/// What a look changed for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// An incident is open from now on.
    Opened(Incident),
    /// One ended.
    Closed(Incident),
}

impl Uptime {
    /// A look at this time showed a good site (`cause` `None`) or a bad one. Looks come every `interval` while all is well.
    pub fn note(&mut self, at: Timestamp, cause: Option<&str>, interval: Duration) -> Option<Turn> {
        let Some((first, last)) = self.looks else {
            self.looks = Some((at, at));
            return self.judge(at, cause);
        };
        if at <= last {
            return None;
        }
        let longest = (interval * INTERVALS_UNWATCHED).max(UNWATCHED_MIN);
        if Duration::try_from(at.duration_since(last)).unwrap_or_default() > longest {
            self.close_break(last);
            self.breaks.push(Break { from: last, to: Some(at), down: false });
        }
        self.looks = Some((first, at));
        let turn = self.judge(at, cause);
        self.forget_before(at);
        turn
    }

    /// The incident that lasts.
    pub fn incident(&self) -> Option<&Incident> {
        self.incidents.last().filter(|incident| incident.ended.is_none())
    }

    /// The share of the watched time of a window before `now` in which the site was good, 0 to 1; `None` where nobody
    /// watched.
    pub fn ratio(&self, window: Duration, now: Timestamp) -> Option<f64> {
        let (first, last) = self.looks?;
        let until = last.min(now);
        let begin = now.checked_sub(jiff::SignedDuration::try_from(window).ok()?).ok()?.max(first);
        let overlap = |from: Timestamp, to: Timestamp| {
            to.min(until).as_duration().saturating_sub(from.max(begin).as_duration()).as_secs_f64().max(0.0)
        };
        let sum = |down: bool| -> f64 {
            let of_kind = self.breaks.iter().filter(|one| one.down == down);
            of_kind.map(|one| overlap(one.from, one.to.unwrap_or(until))).sum()
        };
        let watched = overlap(begin, until) - sum(false);
        (watched > 0.0).then(|| (1.0 - sum(true) / watched).clamp(0.0, 1.0))
    }

    fn judge(&mut self, at: Timestamp, cause: Option<&str>) -> Option<Turn> {
        let Some(cause) = cause else {
            self.failures = 0;
            self.close_break(at);
            let open = self.incidents.last_mut().filter(|incident| incident.ended.is_none())?;
            open.ended = Some(at);
            return Some(Turn::Closed(open.clone()));
        };
        self.failures = self.failures.saturating_add(1);
        if self.breaks.last().is_none_or(|last| last.to.is_some()) {
            self.breaks.push(Break { from: at, to: None, down: true });
        }
        if self.failures < FAILURES_OPEN || self.incident().is_some() {
            return None;
        }
        let began = self.breaks.last().map_or(at, |open| open.from);
        let incident = Incident { began, ended: None, cause: cause.to_owned() };
        self.incidents.push(incident.clone());
        Some(Turn::Opened(incident))
    }

    fn close_break(&mut self, at: Timestamp) {
        if let Some(open) = self.breaks.last_mut().filter(|last| last.to.is_none()) {
            open.to = Some(at);
        }
    }

    fn forget_before(&mut self, now: Timestamp) {
        let Some(oldest) = jiff::SignedDuration::try_from(KEPT).ok().and_then(|kept| now.checked_sub(kept).ok()) else {
            return;
        };
        self.breaks.retain(|one| one.to.is_none_or(|to| to > oldest));
        self.incidents.retain(|one| one.ended.is_none_or(|ended| ended > oldest));
        self.breaks.drain(..self.breaks.len().saturating_sub(BREAKS_MAX));
        self.incidents.drain(..self.incidents.len().saturating_sub(INCIDENTS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * n).unwrap()
    }

    /// A look each minute, `x` failed.
    fn watched(looks: &str) -> (Uptime, Vec<Turn>) {
        let mut uptime = Uptime::default();
        let turns = looks
            .chars()
            .zip(0..)
            .filter_map(|(look, at)| uptime.note(minute(at), (look == 'x').then_some("500"), MINUTE));
        let turns = turns.collect();
        (uptime, turns)
    }

    #[test]
    fn three_failures_in_a_row_open_an_incident_and_a_good_look_ends_it() {
        let (uptime, turns) = watched("..xx.xxx.");
        let incident = Incident { began: minute(5), ended: None, cause: "500".into() };
        let closed = Incident { ended: Some(minute(8)), ..incident.clone() };
        assert_eq!(turns, [Turn::Opened(incident), Turn::Closed(closed)]);
        assert_eq!((uptime.incident(), uptime.failures, uptime.breaks.len()), (None, 0, 2));
    }

    #[test]
    fn the_share_counts_what_was_watched() {
        let (uptime, _) = watched("....x....."); // nine minutes, one of them down
        let share = uptime.ratio(DAY, minute(9)).unwrap();
        assert!((share - 8.0 / 9.0).abs() < 1e-9, "{share}");
        let (mut paused, _) = watched("..........");
        paused.note(minute(1_000), None, MINUTE);
        assert_eq!(paused.ratio(DAY, minute(1_000)), Some(1.0), "what nobody watched is neither good nor bad");
        paused.note(minute(1_001), Some("no answer"), MINUTE);
        paused.note(minute(1_002), None, MINUTE);
        let share = paused.ratio(DAY, minute(1_002)).unwrap();
        assert!((share - 10.0 / 11.0).abs() < 1e-9, "nine minutes, then two with one of them down: {share}");
        paused.note(minute(1_003), Some("no answer"), MINUTE);
        paused.note(minute(1_020), None, MINUTE);
        let share = paused.ratio(DAY, minute(1_020)).unwrap();
        assert!((share - 11.0 / 12.0).abs() < 1e-9, "a break ends where nobody looks any more: {share}");
        assert_eq!(Uptime::default().ratio(DAY, minute(1)), None);
        let (bad, _) = watched("xxxx");
        assert_eq!(bad.ratio(DAY, minute(3)), Some(0.0));
    }

    #[test]
    fn a_look_that_is_no_newer_changes_nothing_and_old_breaks_are_forgotten() {
        let (mut uptime, _) = watched(".x.");
        let before = uptime.clone();
        assert_eq!(uptime.note(minute(2), Some("500"), MINUTE), None);
        assert_eq!(uptime, before);
        uptime.note(minute(60 * 24 * 31), None, MINUTE);
        assert!(uptime.breaks.iter().all(|one| !one.down), "{uptime:?}");
        for round in 0..2_000 {
            uptime.note(minute(60 * 24 * 31 + 1 + round), (round % 2 == 0).then_some("500"), MINUTE);
        }
        assert!(uptime.breaks.len() <= BREAKS_MAX);
    }
}
