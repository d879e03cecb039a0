//! What a client's page is about: read once, shown by its parts.

use crate::api::view::ClientView;
use crate::resource::release::Pin;
use crate::store::Event;
use crate::store::history::{Deployment, Write};

/// Everything that the page shows.
#[derive(Debug)]
pub struct Subject {
    /// As `status` shows it.
    pub client: ClientView,
    /// The server that its site is on.
    pub server: Option<String>,
    /// The rollback in force.
    pub pin: Option<Pin>,
    /// Newest first.
    pub deployments: Vec<Deployment>,
    /// What the deploy under way has printed, or the newest one that failed.
    pub log: Option<String>,
    /// Newest first.
    pub events: Vec<Event>,
    /// Writes of the newest pass that wrote or told something, oldest first.
    pub writes: Vec<Write>,
    /// Whether anything can be asked for through this interface.
    pub acts: bool,
}
