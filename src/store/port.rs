//! Which port a client gets: the one decision that every engine makes inside its own transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::resource::name::{ServerId, Uid};
use crate::store::{StoreError, Stored};

/// What was found, and whether it has to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// This uid holds it already.
    Held(u16),
    /// Free until now.
    New(u16),
}

/// One request for a port.
pub(super) struct PortRequest<'a> {
    /// The server.
    pub server: &'a ServerId,
    /// Who asks.
    pub uid: &'a Uid,
    /// The port of the spec, when it names one.
    pub fixed: Option<u16>,
    /// Where to look otherwise.
    pub range: RangeInclusive<u16>,
    /// Ports in virtual hosts that are not in the store.
    pub taken: &'a BTreeSet<u16>,
}

impl PortRequest<'_> {
    /// Decides over the ports that the store holds for this server.
    pub fn choose(&self, held: &BTreeMap<u16, Uid>) -> Stored<Choice> {
        if let Some((port, _)) = held.iter().find(|(_, holder)| *holder == self.uid) {
            return Ok(Choice::Held(*port));
        }
        if let Some(port) = self.fixed {
            let holder = match held.get(&port) {
                Some(uid) => Some(uid.to_string()),
                None => self.taken.contains(&port).then(|| "a foreign site".to_owned()),
            };
            return match holder {
                Some(holder) => Err(StoreError::PortHeld { port, server: self.server.clone(), holder }),
                None => Ok(Choice::New(port)),
            };
        }
        self.range
            .clone()
            .find(|port| !held.contains_key(port) && !self.taken.contains(port))
            .map(Choice::New)
            .ok_or_else(|| StoreError::PortsExhausted { server: self.server.clone(), range: self.range.clone() })
    }
}
