//! Looks at sites as a visitor does, and at names as their name servers tell them.

pub mod address;
pub mod cms;
pub mod connection;
mod names;

use std::sync::Arc;

use async_trait::async_trait;
use hyper::Method;
use parking_lot::Mutex;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Answer, Outside};
use crate::resource::desired::DesiredHealth;
use crate::resource::name::HostName;
use crate::resource::owned::{Probe, ProbeOutcome, Published};
use connection::{Ask, Connector, Failure, Reply, Shown};

/// Bytes of a health answer that are read (reliability.md X8).
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The header by which a site names its client (interface 1, `spec.health.identity`).
const CLIENT_HEADER: &str = "x-client-id";
/// The JSON member that says the same.
const CLIENT_MEMBER: &str = "client";
/// Longest name of a stranger that is shown.
const STRANGER_CHARS_MAX: usize = 60;

/// Looks from outside.
pub struct Prober {
    connector: Arc<Connector>,
}

impl Prober {
    /// Looks over this connector.
    pub fn new(connector: Arc<Connector>) -> Self {
        Prober { connector }
    }
}

#[async_trait]
impl Outside for Prober {
    async fn probe(&self, domain: &HostName, https: bool, health: &DesiredHealth, client: &str) -> Probe {
        let shown = Mutex::new(Shown::default());
        let ask = Ask {
            domain,
            https,
            method: Method::GET,
            path: &health.path,
            body: None,
            timeout: health.timeout,
            body_bytes_max: BODY_BYTES_MAX,
        };
        let outcome = match self.connector.ask(&ask, &shown).await {
            Ok(reply) => judge(&reply, health, client),
            Err(Failure::Tls(text)) => ProbeOutcome::Tls(text),
            Err(Failure::NotConnected(text)) => ProbeOutcome::Unreachable(text),
            Err(Failure::Lost(text)) => ProbeOutcome::Unreachable(text),
        };
        let Shown { names, expires_at } = shown.into_inner();
        Probe { https, outcome, certificate_expires_at: expires_at, certificate_names: names }
    }

    async fn published(&self, host: &HostName) -> Answer<Published> {
        let fail = |text| ProviderError::new("dns", format!("ask for {host}"), ErrorClass::Unavailable(text));
        names::published(&self.connector.source(), host.as_str()).await.map_err(fail)
    }
}

/// Healthy is a 2xx and, where asked for, this client's identity.
pub fn judge(reply: &Reply, health: &DesiredHealth, client: &str) -> ProbeOutcome {
    let identity = if health.identity { identity(reply) } else { None };
    if let Some(other) = identity.as_ref().filter(|found| *found != client) {
        let clean = other.chars().filter(|c| !c.is_control()).take(STRANGER_CHARS_MAX).collect();
        return ProbeOutcome::WrongSite(clean);
    }
    let code = reply.status.as_u16();
    if reply.status.is_redirection() {
        return ProbeOutcome::Unhealthy(format!("{} answers {code}, a redirect", health.path));
    }
    if !reply.status.is_success() {
        return ProbeOutcome::Unhealthy(format!("{} answers {code}", health.path));
    }
    if health.identity && identity.is_none() {
        return ProbeOutcome::Unhealthy(format!("{} answers {code} but names no client", health.path));
    }
    ProbeOutcome::Healthy
}

/// Whom an answer names: the header, else the JSON member.
fn identity(reply: &Reply) -> Option<String> {
    let header = reply.headers.get(CLIENT_HEADER).and_then(|value| value.to_str().ok());
    header.map(str::to_owned).or_else(|| {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        body.get(CLIENT_MEMBER)?.as_str().map(str::to_owned)
    })
}
