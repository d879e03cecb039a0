//! Certificates of a Ploi site.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use crate::provider::{Answer, Certificates, SiteRef};
use crate::resource::certificate::Certificate;
use crate::resource::name::{HostName, RemoteId};
use crate::resource::reading::Live;

use super::{Ploi, segment, site_path, unavailable, wire};

/// contracts/ploi.md 6.10
#[async_trait]
impl Certificates for Ploi {
    async fn certificates(&self, site: &SiteRef) -> Answer<Vec<Live<Certificate>>> {
        let path = format!("{}/certificates", site_path(site)?);
        let items = self.list(&path).await?;
        items.iter().map(|item| wire::certificate(item).map_err(|flaw| unavailable(&path, flaw))).collect()
    }

    /// The root goes first: the lineage is named after it, and a subset would replace the certificate of the others.
    async fn order(&self, site: &SiteRef, root: &HostName, names: &BTreeSet<HostName>) -> Answer<Option<RemoteId>> {
        let path = format!("{}/certificates", site_path(site)?);
        let others = names.iter().filter(|name| *name != root);
        let union = std::iter::once(root).chain(others).map(HostName::as_str).collect::<Vec<_>>().join(",");
        let body = json!({ "type": "letsencrypt", "certificate": union, "force": true });
        let value = self.write(Method::POST, &path, Some(&body)).await?;
        Ok(wire::id(wire::single(&value)))
    }

    async fn delete_certificate(&self, site: &SiteRef, certificate: &RemoteId) -> Answer<()> {
        self.delete(&format!("{}/certificates/{}", site_path(site)?, segment(certificate.as_str())?)).await
    }
}
