//! Secrets as a type, and keyed digests that stand for them where a value must be compared without being kept.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::resource::hex::hex;

/// A text that must reach its one addressee and nothing else. `Debug` and `Display` do not show it; there is no `Serialize`.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text, for the one call that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.expose().as_bytes(), other.expose().as_bytes()).is_ok()
    }
}
impl Eq for Secret {}

/// Shorter values are not masked: they stand in ordinary words, and no secret is that short.
const SECRET_CHARS_MIN: usize = 6;
/// What stands in the place of a secret.
const MASK: &str = "(secret)";

/// A text of somebody else's without these secrets, and without passwords in addresses.
pub fn mask(text: &str, mut secrets: Vec<Secret>) -> String {
    // The longest first: a secret may hold another one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= SECRET_CHARS_MIN) {
        text = text.replace(secret.expose(), MASK);
    }
    mask_addresses(&text)
}

/// `scheme://user:password@` keeps its user only.
fn mask_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"' | '`')).unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        match authority.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?.0, host))) {
            Some((user, host)) => out.push_str(&format!("{user}:{MASK}@{host}")),
            None => out.push_str(authority),
        }
        rest = after;
    }
    out + rest
}

/// HMAC-SHA-256 of a text under the installation's key, as 64 hexadecimal digits. Safe to keep in the clear.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes digests. One per installation, derived from the state key.
#[derive(Clone)]
pub struct DigestKey(Arc<hmac::Key>);

impl PartialEq for DigestKey {
    /// The very same key.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl DigestKey {
    /// A key from 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The digest of some bytes.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        let tag = hmac::sign(&self.0, bytes);
        Digest(hex(tag.as_ref()))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}
