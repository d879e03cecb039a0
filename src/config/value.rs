//! Readers of single values; an error is what was expected.

use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Follow, LogFormat, Rate, StateLocation};
use crate::resource::secret::Secret;

/// The outcome of a reader.
pub type Read<T> = Result<T, String>;

/// Any text.
pub fn text(raw: &str) -> Read<String> {
    Ok(raw.to_owned())
}

/// A path.
pub fn path(raw: &str) -> Read<PathBuf> {
    Ok(PathBuf::from(raw))
}

/// `30s`, `7d`.
pub fn duration(raw: &str) -> Read<Duration> {
    humantime::parse_duration(raw).map_err(|_| "a duration such as `30s`, `5m` or `7d` is expected".into())
}

/// A whole number from 1.
pub fn count(raw: &str) -> Read<u32> {
    raw.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a whole number from 1 is expected".into())
}

/// `10%` or `0.1`; 0 to 1.
pub fn share(raw: &str) -> Read<f64> {
    let number = match raw.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => raw.parse::<f64>(),
    };
    number.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a share such as `10%` is expected".into())
}

/// `off`, or an address with a port.
pub fn listen(raw: &str) -> Read<Option<SocketAddr>> {
    if raw == "off" {
        return Ok(None);
    }
    raw.parse().map(Some).map_err(|_| "an address such as `127.0.0.1:7117`, or `off`, is expected".into())
}

/// A time of the day as `07:00`; `None`: `off`.
pub fn daytime(raw: &str) -> Read<Option<jiff::civil::Time>> {
    if raw == "off" {
        return Ok(None);
    }
    let read = raw
        .split_once(':')
        .and_then(|(hour, minute)| jiff::civil::Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok());
    read.map(Some).ok_or_else(|| "a time of the day in UTC such as `07:00`, or `off`, is expected".into())
}

/// `host:port`.
pub fn endpoint(raw: &str) -> Read<String> {
    let good = raw.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    good.then(|| raw.to_owned()).ok_or_else(|| "`host:port` is expected".into())
}

/// `host` or `host:port`.
pub fn address(raw: &str) -> Read<String> {
    let good = !raw.is_empty() && !raw.contains(['/', '@', ' ', '?']);
    good.then(|| raw.to_owned()).ok_or_else(|| "`host` or `host:port` is expected".into())
}

/// The base of an API: `http` or `https`, without a final slash.
pub fn url(raw: &str) -> Read<String> {
    let parsed = url::Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    parsed
        .filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none())
        .map(|_| raw.trim_end_matches('/').to_owned())
        .ok_or_else(|| "an http or https address without user and query is expected".into())
}

/// A domain, also out of an address: `https://agency.example/` is `agency.example`.
pub fn domain(raw: &str) -> Read<String> {
    let bare = raw.trim().trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split(['/', ':', '?', '#']).next().unwrap_or_default().trim_matches('.').to_ascii_lowercase();
    let good =
        !bare.is_empty() && bare.contains('.') && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    good.then_some(bare).ok_or_else(|| "a domain such as `agency.example` is expected".into())
}

/// `owner/name`, also out of a Git address.
pub fn repository(raw: &str) -> Read<String> {
    let bare = raw.trim().trim_end_matches('/').trim_end_matches(".git");
    let tail = bare.rsplit_once("://").map_or(bare, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let tail = tail.rsplit_once(':').map_or(tail, |(_, path)| path);
    let good = tail.split('/').count() == 2
        && tail.split('/').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        });
    good.then(|| tail.to_owned()).ok_or_else(|| "`owner/name` is expected".into())
}

/// Entries with commas between them.
pub fn list(raw: &str) -> Read<Vec<String>> {
    Ok(raw.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
}

/// Each `host` or `host:port`, with commas between them, in lower case; an IPv6 address in brackets.
pub fn hosts(raw: &str) -> Read<Vec<String>> {
    let entry = |entry: String| {
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !entry.ends_with(']') => (name, Some(port)),
            _ => (entry.as_str(), None),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let is_host = bare.map_or(is_name, |address| address.parse::<Ipv6Addr>().is_ok());
        let good = is_host && port.is_none_or(|port| port.parse::<u16>().is_ok());
        good.then(|| entry.to_ascii_lowercase())
    };
    let all: Option<Vec<String>> = list(raw)?.into_iter().map(entry).collect();
    all.ok_or_else(|| "names such as `ops.example` or `ops.example:8443` are expected".into())
}

/// Names of variables with commas between them, each with `!` where sites must have it.
pub fn shared(raw: &str) -> Read<Vec<String>> {
    let names = list(raw)?;
    let good = |entry: &String| {
        let name = entry.strip_suffix('!').unwrap_or(entry);
        name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if names.iter().all(good) {
        Ok(names)
    } else {
        Err("names such as `OPENAI_API_KEY` or `STRIPE_SECRET_KEY!` are expected".into())
    }
}

/// `4001-9999`.
pub fn port_range(raw: &str) -> Read<RangeInclusive<u16>> {
    let bounds =
        raw.split_once('-').and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    match bounds {
        Some((low, high)) if 0 < low && low <= high => Ok(low..=high),
        _ => Err("a range of ports such as `4001-9999` is expected".into()),
    }
}

/// `60/1m`.
pub fn rate(raw: &str) -> Read<Rate> {
    let parts = raw.split_once('/').and_then(|(calls, per)| {
        Some(Rate { calls: calls.trim().parse().ok()?, per: humantime::parse_duration(per.trim()).ok()? })
    });
    parts
        .filter(|rate| rate.calls > 0 && !rate.per.is_zero())
        .ok_or_else(|| "calls per time such as `60/1m` are expected".into())
}

/// `sqlite:PATH` or `postgres://…`.
pub fn state(raw: &str) -> Read<StateLocation> {
    match raw.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(StateLocation::Sqlite(PathBuf::from(path))),
        None if raw.starts_with("postgres://") || raw.starts_with("postgresql://") => {
            Ok(StateLocation::Postgres(Secret::new(raw)))
        }
        _ => Err("`sqlite:PATH` or `postgres://…` is expected".into()),
    }
}

/// `[a-z0-9][a-z0-9-]{0,31}`.
pub fn instance(raw: &str) -> Read<String> {
    let good = (1..=32).contains(&raw.len())
        && !raw.starts_with('-')
        && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    good.then(|| raw.to_owned())
        .ok_or_else(|| "1 to 32 lower-case letters, digits and hyphens are expected, not with a hyphen first".into())
}

/// `head` or `manual`.
pub fn follow(raw: &str) -> Read<Follow> {
    match raw {
        "head" => Ok(Follow::Head),
        "manual" => Ok(Follow::Manual),
        _ => Err("`head` or `manual` is expected".into()),
    }
}

/// `text` or `json`.
pub fn log_format(raw: &str) -> Read<LogFormat> {
    match raw {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("`text` or `json` is expected".into()),
    }
}
