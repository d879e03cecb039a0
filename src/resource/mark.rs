//! Ownership marks: the proof, at the provider, that a thing is this installation's (interface 7).

use serde::{Deserialize, Serialize};

use crate::resource::name::{Instance, Uid};

/// Prefix of every mark that is a comment.
pub const MARK_PREFIX: &str = "sitewright/v1";
/// The environment variable that carries the mark of a site.
pub const MARK_VARIABLE: &str = "SITEWRIGHT_OWNER";

/// Which installation and which incarnation of a client owns a thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The installation.
    pub instance: Instance,
    /// The incarnation of the client.
    pub uid: Uid,
}

impl Mark {
    /// `sitewright/v1 <instance> <uid>`: the comment of a DNS record (fits the 100 characters of the free plan).
    pub fn comment(&self) -> String {
        format!("{MARK_PREFIX} {} {}", self.instance, self.uid)
    }

    /// Reads [`Mark::comment`] back; `None` for any other text.
    pub fn from_comment(text: &str) -> Option<Mark> {
        let mut words = text.strip_prefix(MARK_PREFIX)?.strip_prefix(' ')?.split(' ');
        let (instance, uid) = (words.next()?, words.next()?);
        (words.next().is_none() && !uid.is_empty())
            .then(|| Some(Mark { instance: Instance::parse(instance).ok()?, uid: Uid::trusted(uid) }))
            .flatten()
    }

    /// `<instance>/<uid>`: the value of [`MARK_VARIABLE`].
    pub fn variable(&self) -> String {
        format!("{}/{}", self.instance, self.uid)
    }

    /// Reads [`Mark::variable`] back; `None` for any other text.
    pub fn from_variable(text: &str) -> Option<Mark> {
        let (instance, uid) = text.split_once('/')?;
        (!uid.is_empty() && !uid.contains('/'))
            .then(|| Some(Mark { instance: Instance::parse(instance).ok()?, uid: Uid::trusted(uid) }))
            .flatten()
    }
}
