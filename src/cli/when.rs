//! Times of the command line: as people say them, and `--until` read back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan};

pub use crate::api::moment::{absolute, relative, took};

/// A moment in the future: a duration from now (`2h`, `3days`), a timestamp (`2026-12-01T08:00:00Z`) or a day (`2026-12-01`,
/// its beginning in UTC).
///
/// # Errors
/// It is none of these, or it is over.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = match humantime::parse_duration(text) {
        Ok(ahead) => after(now, ahead)?,
        Err(_) => timestamp(text)?,
    };
    if at <= now {
        return Err(format!("{at:.0} is over; name a moment in the future"));
    }
    Ok(at)
}

fn after(now: Timestamp, ahead: Duration) -> Result<Timestamp, String> {
    let far = || "that is too far away".to_owned();
    now.checked_add(SignedDuration::try_from(ahead).map_err(|_| far())?).map_err(|_| far())
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    let expected =
        || "a duration (2h), a timestamp (2026-12-01T08:00:00Z) or a day (2026-12-01) is expected".to_owned();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let day = text.parse::<jiff::civil::Date>().map_err(|_| expected())?;
    let zoned = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| expected())?;
    zoned.timestamp().checked_add(0.seconds()).map_err(|_| expected())
}

/// A duration of the command line: `30m`.
///
/// # Errors
/// It is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; a duration such as 30s or 10m is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_duration_a_timestamp_or_a_day_and_lies_ahead() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a timestamp");
        assert_eq!(moment("2h", now).map(|at| at.to_string()), Ok("2026-11-20T14:00:00Z".into()));
        assert_eq!(moment("2026-12-01", now).map(|at| at.to_string()), Ok("2026-12-01T00:00:00Z".into()));
        assert_eq!(moment("2026-12-01T08:00:00Z", now).map(|at| at.to_string()), Ok("2026-12-01T08:00:00Z".into()));
        assert!(moment("2026-11-20", now).is_err_and(|why| why.contains("is over")));
        assert!(moment("soon", now).is_err());
    }
}
