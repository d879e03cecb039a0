//! Names and ids as types, so that one cannot stand where another belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest client name (interface 1): a DNS label of at most 40 characters.
pub const CLIENT_NAME_CHARS_MAX: usize = 40;
/// Longest host name in its text form (RFC 1035, without the root dot).
pub const HOST_NAME_CHARS_MAX: usize = 253;
/// PostgreSQL truncates identifiers beyond this many bytes with only a notice (contracts/postgres.md 2).
pub const SQL_NAME_BYTES_MAX: usize = 63;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);
        impl $name {
            /// Takes a text that is already known to be one (an id a provider answered, a value read from our state).
            pub fn trusted(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// `metadata.name`: the identity of a client.
    ClientName
);
text_newtype!(
    /// One incarnation of a client: 26 characters, made once and kept in the state.
    Uid
);
text_newtype!(
    /// This installation, in every ownership mark: `[a-z0-9][a-z0-9-]{0,31}`.
    Instance
);
text_newtype!(
    /// An id as the provider gave it.
    RemoteId
);
text_newtype!(
    /// A server of a host (Ploi's server id).
    ServerId
);
text_newtype!(
    /// A DNS zone's id.
    ZoneId
);
text_newtype!(
    /// A host name in canonical form: ASCII (IDNA), lower-case, no trailing dot.
    HostName
);
text_newtype!(
    /// `owner/name` of a Git repository.
    RepositorySlug
);
text_newtype!(
    /// A full Git commit id or an abbreviation that a person pinned.
    Commit
);
text_newtype!(
    /// A PostgreSQL database or role name that needs no truncation.
    SqlName
);

/// Why a text is not the name it should be; `Display` is the expectation in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

impl ClientName {
    /// `[a-z]([a-z0-9-]{0,38}[a-z0-9])?`
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let good = !bytes.is_empty()
            && bytes.len() <= CLIENT_NAME_CHARS_MAX
            && bytes[0].is_ascii_lowercase()
            && bytes[bytes.len() - 1] != b'-'
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            NameError(format!(
                "a client name is 1 to {CLIENT_NAME_CHARS_MAX} lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen"
            ))
        })
    }
}

impl Instance {
    /// `[a-z0-9][a-z0-9-]{0,31}`
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let good = (1..=32).contains(&bytes.len())
            && bytes[0] != b'-'
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            NameError(
                "an instance is 1 to 32 lower-case letters, digits and hyphens and does not begin with a hyphen".into(),
            )
        })
    }
}

impl HostName {
    /// Canonical form of what a person wrote. Refuses wildcards, addresses, single labels and anything that IDNA refuses.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bare = text.trim().trim_end_matches('.');
        if bare.contains('*') {
            return Err(NameError("a wildcard host is not allowed here; name each host".into()));
        }
        let host = url::Host::parse(bare).map_err(|_| NameError(format!("`{bare}` is not a host name")))?;
        let url::Host::Domain(ascii) = host else {
            return Err(NameError(format!("`{bare}` is an address; a host name is expected")));
        };
        let ascii = ascii.to_ascii_lowercase();
        let labels: Vec<&str> = ascii.split('.').collect();
        let label_ok = |l: &&str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if ascii.len() > HOST_NAME_CHARS_MAX || labels.len() < 2 || !labels.iter().all(label_ok) {
            return Err(NameError(format!(
                "`{bare}` is not a host name: at least two labels of letters, digits and inner hyphens, at most {HOST_NAME_CHARS_MAX} characters in all"
            )));
        }
        Ok(Self(ascii))
    }

    /// True when `self` is `zone` or below it.
    pub fn is_within(&self, zone: &str) -> bool {
        self.0 == zone || self.0.strip_suffix(zone).is_some_and(|head| head.ends_with('.'))
    }
}

impl RepositorySlug {
    /// `owner/name` of letters, digits, `.`, `_` and `-`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let part_ok = |p: &str| {
            !p.is_empty()
                && p.len() <= 100
                && !p.starts_with('-')
                && p != "."
                && p != ".."
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        match text.split_once('/') {
            Some((owner, name)) if part_ok(owner) && part_ok(name) => Ok(Self(text.to_owned())),
            _ => Err(NameError("a repository is `owner/name`".into())),
        }
    }
}

impl Commit {
    /// 7 to 40 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let good = (7..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self(text.to_ascii_lowercase()))
            .ok_or_else(|| NameError("a commit is 7 to 40 hexadecimal digits".into()))
    }

    /// Its first 12 digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl SqlName {
    /// `[a-z_][a-z0-9_]*`, at most 63 bytes, not one of PostgreSQL's own names.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let shape = !bytes.is_empty()
            && bytes.len() <= SQL_NAME_BYTES_MAX
            && (bytes[0].is_ascii_lowercase() || bytes[0] == b'_')
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        if !shape {
            return Err(NameError(format!(
                "a database name is 1 to {SQL_NAME_BYTES_MAX} lower-case letters, digits and underscores and does not begin with a digit"
            )));
        }
        if text == "postgres" || text.starts_with("template") || text.starts_with("pg_") {
            return Err(NameError(format!("`{text}` is reserved by PostgreSQL")));
        }
        Ok(Self(text.to_owned()))
    }
}
