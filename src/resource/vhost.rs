//! The virtual host text of a Node.js site: which ports it proxies to, where the ACME challenge is looked for, and the
//! smallest edit that mends both (contracts/ploi.md 6.9, 9.1, 9.3).
//!
//! Only what can be read for certain is touched: a file that nginx would refuse can stop every site of a server. A
//! challenge location is never invented: one may stand in an included file, and nginx refuses a second one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::resource::name::HostName;
use crate::resource::nginx::{Block, Statement, TEXT_BYTES_MAX, Word, statements};

/// Ports that a URL without one means.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// What matters of a virtual host text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualHost {
    /// Ports of every loopback `proxy_pass`; exactly one is right.
    pub ports: BTreeSet<u16>,
    /// Roots of every ACME challenge location.
    pub acme_roots: BTreeSet<String>,
    /// Every `server_name`.
    #[serde(default)]
    pub names: BTreeSet<String>,
}

impl VirtualHost {
    /// Whether every loopback `proxy_pass` goes to `port` and every challenge location that there is looks in `root`.
    pub fn is_right(&self, port: u16, root: &str) -> bool {
        self.ports.len() == 1 && self.ports.contains(&port) && self.acme_roots.iter().all(|found| found == root)
    }
}

impl VirtualHost {
    /// Those of some names that no server block answers to. What was read before names were kept lacks nothing.
    pub fn lacking<'a>(&self, names: impl IntoIterator<Item = &'a HostName>) -> BTreeSet<HostName> {
        let is_missing = |name: &&HostName| !self.names.is_empty() && !self.names.contains(name.as_str());
        names.into_iter().filter(is_missing).cloned().collect()
    }
}

/// Reads a virtual host text.
///
/// # Errors
/// One sentence: the text is no whole nginx file, is too long, or holds no `proxy_pass` to this machine.
pub fn read(text: &str) -> Result<VirtualHost, String> {
    let survey = survey(text)?;
    Ok(VirtualHost {
        ports: survey.targets.iter().map(|target| target.port).collect(),
        acme_roots: survey.challenges.into_iter().map(|challenge| challenge.root.unwrap_or_default()).collect(),
        names: server_names(&statements(text)?).flat_map(|(names, _)| names).map(str::to_owned).collect(),
    })
}

/// Every `server_name` with its names and the byte behind the last of them.
fn server_names(all: &[Statement]) -> impl Iterator<Item = (Vec<&str>, usize)> {
    let of = |s: &Statement| s.name() == "server_name";
    all.iter().filter(move |s| of(s)).map(|s| (s.words.iter().skip(1).map(|w| w.text.as_str()).collect(), s.end))
}

/// The text with further names beside `domain`, wherever that is answered to; all other bytes stay.
///
/// # Errors
/// As [`read`]; also when nothing answers to `domain`.
pub fn name_as_well(text: &str, domain: &HostName, names: &BTreeSet<HostName>) -> Result<String, String> {
    let all = statements(text)?;
    let mut places: Vec<usize> =
        server_names(&all).filter(|(there, _)| there.contains(&domain.as_str())).map(|(_, end)| end).collect();
    places.sort_unstable();
    if places.is_empty() && !names.is_empty() {
        return Err(format!("no server block of the virtual host answers to {domain}; mend it by hand"));
    }
    let more: String = names.iter().map(|name| format!(" {name}")).collect();
    let mut named = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for place in places {
        named.push_str(text.get(at..place).unwrap_or_default());
        named.push_str(&more);
        at = place;
        if named.len() > TEXT_BYTES_MAX {
            return Err("with all names the virtual host is too long; mend it by hand".into());
        }
    }
    named.push_str(text.get(at..).unwrap_or_default());
    if read(&named)?.lacking(names).is_empty() {
        Ok(named)
    } else {
        Err("a name is still not answered to after the edit; mend the virtual host by hand".into())
    }
}

/// The text with every loopback `proxy_pass` on `port` and every challenge location on `acme_root`; all other bytes
/// stay. A text that is right comes back as it was.
///
/// # Errors
/// As [`read`]; also a port of 0, or a root that is no plain absolute path.
pub fn mend(text: &str, port: u16, acme_root: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_');
    if port == 0 {
        return Err("port 0 is no port to send visitors to; allocate one first".into());
    }
    if !acme_root.starts_with('/') || !acme_root.bytes().all(plain) {
        return Err("the ACME root must be an absolute path of letters, digits, `.`, `-`, `_` and `/`".into());
    }
    let survey = survey(text)?;
    let mut edits: Vec<Edit> = Vec::new();
    for target in survey.targets.iter().filter(|target| target.port != port) {
        let text = if target.start == target.end { format!(":{port}") } else { port.to_string() };
        edits.push(Edit { start: target.start, end: target.end, text });
    }
    for challenge in survey.challenges.iter().filter(|challenge| challenge.root.as_deref() != Some(acme_root)) {
        edits.push(match challenge.place {
            Place::Replace { start, end } => Edit { start, end, text: format!("root {acme_root}") },
            Place::Insert { at } => Edit { start: at, end: at, text: format!(" root {acme_root};") },
        });
    }
    edits.sort_by_key(|edit| edit.start);
    let mut mended = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for edit in &edits {
        mended.push_str(text.get(at..edit.start).ok_or("two edits of the virtual host overlap; mend it by hand")?);
        mended.push_str(&edit.text);
        at = edit.end;
    }
    mended.push_str(text.get(at..).unwrap_or_default());
    if read(&mended)?.is_right(port, acme_root) {
        Ok(mended)
    } else {
        Err("the virtual host still shows another port or ACME root after the edit; mend it by hand".into())
    }
}

/// One replacement of bytes.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// Where a port stands: bytes of its digits, or an empty range where one must be put.
struct Target {
    port: u16,
    start: usize,
    end: usize,
}

/// A challenge location.
struct Challenge {
    /// Where it looks now; `None` where that cannot be said (no `root` anywhere, or an `alias` to somewhere else).
    root: Option<String>,
    place: Place,
}

/// How its root is set.
enum Place {
    /// In the place of its own `root` or `alias`, without the semicolon.
    Replace { start: usize, end: usize },
    /// As a new statement.
    Insert { at: usize },
}

struct Survey {
    targets: Vec<Target>,
    challenges: Vec<Challenge>,
}

fn survey(text: &str) -> Result<Survey, String> {
    let all = statements(text)?;
    let mut targets = Vec::new();
    let mut upstreams = BTreeSet::new();
    for statement in all.iter().filter(|s| s.name() == "proxy_pass") {
        let Some(url) = statement.words.get(1) else { continue };
        match address_of(url) {
            Some((authority, at, default)) => match loopback(authority, at, default) {
                Some(target) => targets.push(target),
                None => {
                    upstreams.insert(authority.to_owned());
                }
            },
            None => continue,
        }
    }
    for statement in all.iter().filter(|s| s.name() == "server" && s.opens.is_none()) {
        let within =
            statement.parent(&all).filter(|block| block.name() == "upstream").and_then(|block| block.words.get(1));
        let (Some(upstream), Some(server)) = (within, statement.words.get(1)) else { continue };
        if upstreams.contains(&upstream.text) {
            targets.extend(loopback(&server.text, server.inner, HTTP_PORT));
        }
    }
    if targets.is_empty() {
        return Err("the virtual host holds no proxy_pass to this machine; restore the host's Node.js template".into());
    }
    let roots = Roots::of(&all);
    let challenges = all.iter().filter(|s| is_challenge(s)).filter_map(|s| challenge(s, &all, &roots)).collect();
    Ok(Survey { targets, challenges })
}

/// The authority of `http://authority/path`, the byte where it begins, and the scheme's own port.
fn address_of(url: &Word) -> Option<(&str, usize, u16)> {
    let (scheme, rest) = url.text.split_once("://")?;
    let default = match scheme {
        "http" => HTTP_PORT,
        "https" => HTTPS_PORT,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '$']).next()?;
    // A variable makes the whole address unreadable, except behind the path's first slash.
    let readable = !rest.get(authority.len()..).is_some_and(|tail| tail.starts_with('$'));
    readable.then_some((authority, url.inner + scheme.len() + 3, default))
}

/// The port of an address on this machine; `at` is the byte where the address begins.
fn loopback(authority: &str, at: usize, default: u16) -> Option<Target> {
    let host_end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(host_end)?;
    let here = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
    };
    if !here {
        return None;
    }
    let (start, end) = (at + host_end, at + authority.len());
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Target { port: digits.parse().ok()?, start: start + 1, end })
        }
        None if port.is_empty() => Some(Target { port: default, start, end: start }),
        _ => None,
    }
}

/// `location` of `/.well-known` as a whole or of its ACME part, as prefix, exact match or expression.
fn is_challenge(statement: &Statement) -> bool {
    if statement.name() != "location" || statement.opens.is_none() {
        return false;
    }
    let Some(pattern) = statement.words.last() else { return false };
    let path = pattern.text.replace('\\', "");
    let path = path.trim_start_matches('^');
    path.starts_with("/.well-known")
        && (path.contains("acme-challenge") || matches!(path.trim_end_matches(['/', '*', '.', '$']), "/.well-known"))
}

/// The first `root`, and the first `root` or `alias`, of each block; looked up once, for a text may hold very many.
struct Roots<'a> {
    inherited: BTreeMap<Option<usize>, &'a Statement>,
    own: BTreeMap<Option<usize>, &'a Statement>,
}

impl<'a> Roots<'a> {
    fn of(all: &'a [Statement]) -> Roots<'a> {
        let mut roots = Roots { inherited: BTreeMap::new(), own: BTreeMap::new() };
        for statement in all.iter().filter(|s| matches!(s.name(), "root" | "alias")) {
            roots.own.entry(statement.block).or_insert(statement);
            if statement.name() == "root" {
                roots.inherited.entry(statement.block).or_insert(statement);
            }
        }
        roots
    }
}

fn challenge(location: &Statement, all: &[Statement], roots: &Roots<'_>) -> Option<Challenge> {
    let Block { id, body } = location.opens?;
    if let Some(own) = roots.own.get(&Some(id)) {
        let place = Place::Replace { start: own.start, end: own.end };
        let value = own.words.get(1).map(|word| word.text.clone());
        // An alias names the challenge folder itself, so it is right under no root; it becomes one.
        let root = value.filter(|_| own.name() == "root");
        return Some(Challenge { root: Some(root.unwrap_or_else(|| "(alias)".into())), place });
    }
    let mut at = location.parent(all);
    while let Some(block) = at {
        let inherited = roots.inherited.get(&block.opens.map(|opened| opened.id));
        if let Some(root) = inherited.and_then(|s| s.words.get(1)) {
            return Some(Challenge { root: Some(root.text.clone()), place: Place::Insert { at: body } });
        }
        at = block.parent(all);
    }
    Some(Challenge { root: None, place: Place::Insert { at: body } })
}
