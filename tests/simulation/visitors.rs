//! Visitors of the simulated edge, without sockets: probes, name servers, and the CMS behind a site.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use sitewright::provider::error::{ErrorClass, ProviderError};
use sitewright::provider::world::dns::{DnsTable, Found};
use sitewright::provider::world::{World, edge};
use sitewright::provider::{Answer, Cms, Outside};
use sitewright::resource::desired::DesiredHealth;
use sitewright::resource::name::HostName;
use sitewright::resource::owned::{Probe, ProbeOutcome, Published};
use sitewright::resource::secret::Secret;

use crate::fate::{Gate, Moment, Place, Turn};

/// What one process sees of the outside.
pub struct Visitors {
    pub world: Arc<World>,
    pub dns: Arc<DnsTable>,
    pub gate: Arc<Gate>,
}

impl Visitors {
    fn certificate(&self, domain: &HostName) -> Result<Option<jiff::Timestamp>, String> {
        let Some(leaf) = edge::certificate(&self.world, domain.as_str()) else { return Err("no certificate".into()) };
        match leaf.names.iter().any(|name| name == domain.as_str()) && leaf.not_after > self.world.now() {
            true => Ok(Some(leaf.not_after)),
            false => Err("the certificate does not fit".into()),
        }
    }

    async fn visit(
        &self,
        domain: &HostName,
        tls: bool,
        call: (&str, &str),
        body: &[u8],
    ) -> (u16, Option<String>, Value) {
        let answer = edge::answer(&self.world, domain.as_str(), tls, call, body).await;
        let client = answer.headers().get("x-client-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
        (status, client, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&self, domain: &HostName, path: &str, body: Value, creates: bool) -> Answer<(u16, Value)> {
        let call = format!("POST {domain}{path}");
        let fail = |class| Err(ProviderError::new("cms", call.clone(), class));
        if let Err(problem) = self.certificate(domain) {
            return fail(ErrorClass::Unavailable(problem));
        }
        let body = body.to_string().into_bytes();
        let turn = self.gate.turn(Place::Write { creates }, &format!("cms {call}")).await;
        match turn {
            Turn::Crash(Moment::Before) => self.gate.die().await,
            Turn::LostBefore | Turn::Late(_) | Turn::Status(_) => {
                return fail(ErrorClass::Unanswered("connection reset".into()));
            }
            _ => {}
        }
        let (status, _, said) = self.visit(domain, true, ("POST", path), &body).await;
        match turn {
            Turn::Crash(Moment::After) => self.gate.die().await,
            Turn::LostAfter | Turn::StatusAfter(_) | Turn::Garbage | Turn::Cut => {
                return fail(ErrorClass::Unanswered("connection reset".into()));
            }
            _ => {}
        }
        if matches!(status, 502 | 503) {
            return fail(ErrorClass::Unavailable(format!("the site answers {status}")));
        }
        Ok((status, said))
    }
}

#[async_trait]
impl Outside for Visitors {
    async fn probe(&self, domain: &HostName, https: bool, health: &DesiredHealth, client: &str) -> Probe {
        let mut probe = Probe {
            https,
            outcome: ProbeOutcome::Unreachable("connection reset".into()),
            certificate_expires_at: None,
            certificate_names: Default::default(),
        };
        if self.gate.turn(Place::Read, "probe").await != Turn::Pass {
            return probe;
        }
        if https {
            match self.certificate(domain) {
                Ok(until) => probe.certificate_expires_at = until,
                Err(problem) => return Probe { outcome: ProbeOutcome::Tls(problem), ..probe },
            }
        }
        let (status, identity, _) = self.visit(domain, https, ("GET", &health.path), &[]).await;
        probe.outcome = match (status, identity) {
            (_, Some(other)) if health.identity && other != client => ProbeOutcome::WrongSite(other),
            (200, _) => ProbeOutcome::Healthy,
            (status, _) => ProbeOutcome::Unhealthy(format!("answers {status}")),
        };
        probe
    }

    async fn published(&self, host: &HostName) -> Answer<Published> {
        if self.gate.turn(Place::Read, "dns").await != Turn::Pass {
            let class = ErrorClass::Unavailable("no name server answers".into());
            return Err(ProviderError::new("dns", format!("ask for {host}"), class));
        }
        let addresses = match self.dns.find(host.as_str(), "A") {
            Found::Entries { entries, .. } => {
                entries.iter().filter(|e| e.kind == "A").filter_map(|e| e.content.parse().ok()).collect()
            }
            _ => Default::default(),
        };
        Ok(Published::Addresses(addresses))
    }
}

#[async_trait]
impl Cms for Visitors {
    async fn first_register(&self, domain: &HostName, email: &str, name: &str, password: &Secret) -> Answer<bool> {
        let body = json!({ "email": email, "name": name, "password": password.expose() });
        match self.post(domain, "/api/users/first-register", body, true).await? {
            (200, said) if said["user"].is_object() => Ok(true),
            (403, _) => Ok(false),
            (code, _) => {
                let class = ErrorClass::Unanswered(format!("the site answers {code}"));
                Err(ProviderError::new("cms", "first-register", class))
            }
        }
    }

    async fn log_in(&self, domain: &HostName, email: &str, password: &Secret) -> Answer<bool> {
        let body = json!({ "email": email, "password": password.expose() });
        let (status, _) = self.post(domain, "/api/users/login", body, false).await?;
        Ok(status == 200)
    }
}
