//! The executor's steps on a site's certificates.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::controller::failure::Failure;
use crate::controller::ledger::{close_intent, open_intent};
use crate::controller::site_steps::SiteSteps;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Host, SiteRef};
use crate::resource::kind::ResourceKind;
use crate::resource::name::{HostName, RemoteId};
use crate::resource::owned::{CertificateOrder, OwnedResource};

impl SiteSteps<'_> {
    /// Names must lead here at the moment of the order: a validation that fails counts at the authority (decisions 9).
    pub(super) async fn order_certificate(
        &self,
        host: &Host,
        site: &SiteRef,
        root: &HostName,
        names: &BTreeSet<HostName>,
    ) -> Result<(), Failure> {
        let Some(certificates) = &host.certificates else { return Ok(()) };
        let ledger = self.bench.ledger;
        self.look_at_names(host, names).await?;
        let at = self.bench.clock.now();
        let key = root.to_string();
        ledger
            .update(|r| {
                open_intent(r, ResourceKind::Certificate, &key, at);
                r.owned.order = Some(CertificateOrder { names: names.clone(), at, id: None });
                r.owned.details.certificates = None;
            })
            .await?;
        let result = certificates.order(site, root, names).await;
        ledger
            .update(|r| match &result {
                Ok(id) => {
                    close_intent(r, ResourceKind::Certificate, &key);
                    if let Some(order) = r.owned.order.as_mut() {
                        order.id.clone_from(id);
                    }
                }
                Err(error) if error.is_ambiguous() => {}
                Err(_) => {
                    close_intent(r, ResourceKind::Certificate, &key);
                    r.owned.order = None;
                }
            })
            .await?;
        result.map(|_| ()).map_err(Failure::from)
    }

    pub(super) async fn delete_certificate(&self, host: &Host, site: &SiteRef, id: &RemoteId) -> Result<(), Failure> {
        let Some(certificates) = &host.certificates else { return Ok(()) };
        self.forget_before(|details| {
            details.certificates = None;
            details.vhost = None;
        })
        .await?;
        certificates.delete_certificate(site, id).await?;
        let is_it = |known: &OwnedResource| known.kind == ResourceKind::Certificate && known.id == *id;
        Ok(self.bench.ledger.update(|r| r.owned.resources.retain(|known| !is_it(known))).await?)
    }

    /// The name servers once more, since the plan may live on an answer that is minutes old. Nothing is ordered when they
    /// say anything else than then: the next pass plans with what they say now.
    async fn look_at_names(&self, host: &Host, names: &BTreeSet<HostName>) -> Result<(), Failure> {
        let outside = &self.bench.providers.outside;
        let said = join_all(names.iter().map(|name| async move { (name, outside.published(name).await) })).await;
        let mut now = Vec::new();
        for (name, answer) in said {
            now.push((name, answer?));
        }
        let changed = self
            .bench
            .ledger
            .update(|r| {
                let Some(seen) = r.owned.details.published.as_mut() else { return true };
                let mut changed = false;
                for (name, said) in now {
                    changed |= seen.value.insert(name.clone(), said.clone()).as_ref() != Some(&said);
                }
                changed
            })
            .await?;
        match changed {
            true => {
                let call = "certificate order".to_owned();
                Err(ProviderError::new(host.name, call, ErrorClass::Withdrawn).into())
            }
            false => Ok(()),
        }
    }
}
