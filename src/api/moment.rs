//! Times as people say them: how long ago, how long until, how long it took.

use jiff::Timestamp;

/// `12s ago`, `in 3m`, `now`; the largest unit alone, from seconds to days.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    match seconds {
        0 => "now".into(),
        ahead if ahead > 0 => format!("in {}", span(seconds.unsigned_abs())),
        _ => format!("{} ago", span(seconds.unsigned_abs())),
    }
}

/// A time with how far it is: `2026-11-20T14:00:00Z (in 3m)`.
pub fn absolute(at: Timestamp, now: Timestamp) -> String {
    format!("{at:.0} ({})", relative(at, now))
}

/// How long something took: `4m 10s` as `4m10s`.
pub fn took(from: Timestamp, to: Timestamp) -> String {
    span(to.duration_since(from).as_secs().unsigned_abs())
}

/// A duration in its two largest units.
fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        s if s < MINUTE => format!("{s}s"),
        s if s < HOUR => two((s / MINUTE, "m"), (s % MINUTE, "s"), s < 10 * MINUTE),
        s if s < DAY => two((s / HOUR, "h"), (s % HOUR / MINUTE, "m"), true),
        s => two((s / DAY, "d"), (s % DAY / HOUR, "h"), s < 10 * DAY),
    }
}

fn two(large: (u64, &str), small: (u64, &str), precise: bool) -> String {
    if precise && small.0 > 0 {
        format!("{}{}{}{}", large.0, large.1, small.0, small.1)
    } else {
        format!("{}{}", large.0, large.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    #[test]
    fn distances_read_as_people_say_them() {
        let cases = [
            (0, "now"),
            (12, "in 12s"),
            (-59, "59s ago"),
            (90, "in 1m30s"),
            (-45 * 60 - 3, "45m ago"),
            (2 * 3600 + 60, "in 2h1m"),
            (7 * 86_400, "in 7d"),
            (-14 * 86_400 - 7200, "14d ago"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(relative(at(seconds), at(0)), expected);
        }
    }
}
