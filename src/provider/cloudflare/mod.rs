//! Cloudflare: zones and DNS records (contracts/cloudflare.md).
//!
//! Listings are complete or fail; writes of one zone travel together in batches and are never sent twice.

mod batch;
mod text;
mod wire;

pub mod sim;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::{HttpAnswer, HttpClient};
use crate::provider::{Answer, Dns, RecordOutcome};
use crate::resource::mark::Mark;
use crate::resource::name::ZoneId;
use crate::resource::reading::Live;
use crate::resource::record::{Record, RecordChange, Zone};
use batch::Batcher;
use wire::{Envelope, RecordJson, ResultInfo, SettingJson, ZoneJson, class_of};

/// Zones on one page: the most that the API takes (contracts/cloudflare.md 1.3).
const ZONES_PER_PAGE: usize = 50;
/// Records on one page: the working maximum (contracts/cloudflare.md 1.4).
const RECORDS_PER_PAGE: usize = 5_000;
/// Pages of one listing: beyond it the listing runs in a circle (reliability.md B20).
const PAGES_MAX: usize = 1_000;
/// How long a zone's SSL mode is believed: it only feeds a message to people (decisions 16).
const SSL_MODE_AGE_MAX: Duration = Duration::from_secs(3600);

/// DNS over one Cloudflare credential.
pub struct Cloudflare {
    account: Arc<Account>,
    batcher: Batcher,
    zone_ids: Vec<ZoneId>,
    ssl_modes: Mutex<HashMap<ZoneId, (Instant, Option<String>)>>,
}

/// The HTTP client together with Cloudflare's envelope.
struct Account {
    http: HttpClient,
}

impl Cloudflare {
    /// DNS over an HTTP client whose base ends in `/client/v4`; only these zones, or all visible ones when none is named.
    pub fn new(http: HttpClient, zone_ids: Vec<ZoneId>) -> Self {
        let account = Arc::new(Account { http });
        Cloudflare { batcher: Batcher::new(account.clone()), account, zone_ids, ssl_modes: Mutex::default() }
    }

    async fn zone_documents(&self) -> Answer<Vec<ZoneJson>> {
        if self.zone_ids.is_empty() {
            return self.account.list("zones", ZONES_PER_PAGE, |zone: &ZoneJson| zone.id.clone()).await;
        }
        let mut zones = Vec::with_capacity(self.zone_ids.len());
        for id in &self.zone_ids {
            zones.push(self.account.read(&format!("zones/{id}")).await?);
        }
        Ok(zones)
    }

    /// The SSL mode, from memory while it is young; `None` when it cannot be read.
    async fn ssl_mode(&self, id: &ZoneId) -> Option<String> {
        let known = self.ssl_modes.lock().get(id).cloned();
        if let Some((at, mode)) = known
            && at.elapsed() < SSL_MODE_AGE_MAX
        {
            return mode;
        }
        let mode = match self.account.read::<SettingJson>(&format!("zones/{id}/settings/ssl")).await {
            Ok(setting) => Some(setting.value),
            Err(error) if error.is_permanent() || error.class == ErrorClass::NotFound => None,
            Err(_) => return None,
        };
        self.ssl_modes.lock().insert(id.clone(), (Instant::now(), mode.clone()));
        mode
    }
}

#[async_trait]
impl Dns for Cloudflare {
    fn name(&self) -> &'static str {
        "cloudflare"
    }

    async fn zones(&self) -> Answer<Vec<Zone>> {
        let mut zones = Vec::new();
        for document in self.zone_documents().await? {
            let mode = self.ssl_mode(&ZoneId::trusted(&document.id)).await;
            zones.push(document.into_zone(mode));
        }
        Ok(zones)
    }

    async fn records(&self, zone: &Zone) -> Answer<Vec<Live<Record>>> {
        let path = format!("zones/{}/dns_records", zone.id);
        let rows = self.account.list(&path, RECORDS_PER_PAGE, |row: &RecordJson| row.id.clone()).await?;
        Ok(rows.iter().filter_map(RecordJson::to_live).collect())
    }

    async fn apply(&self, zone: &Zone, mark: &Mark, changes: &[RecordChange]) -> Vec<RecordOutcome> {
        self.batcher.apply(zone, mark, changes).await
    }
}

impl Account {
    fn error(&self, method: &Method, path: &str, class: ErrorClass) -> ProviderError {
        self.http.error(method, path, class)
    }

    /// The result of a single read.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let envelope = self.page(path, &[]).await?;
        envelope.result.ok_or_else(|| self.incomplete(path, "an answer without a result"))
    }

    /// Every item of a listing; fails unless the pages add up to the stated total and no item comes twice.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        per_page: usize,
        id: impl Fn(&T) -> String,
    ) -> Answer<Vec<T>> {
        let mut items: Vec<T> = Vec::new();
        let mut seen = BTreeSet::new();
        for page in 1..=PAGES_MAX {
            let query = [("page", page.to_string()), ("per_page", per_page.to_string())];
            let envelope: Envelope<Vec<T>> = self.page(path, &query).await?;
            let rows = envelope.result.ok_or_else(|| self.incomplete(path, "a page without rows"))?;
            let info = envelope.result_info.ok_or_else(|| self.incomplete(path, "a page without its count"))?;
            let ResultInfo { count, total_count } = info;
            if rows.len() != count {
                return Err(self.incomplete(path, "a page whose count is not its number of rows"));
            }
            for row in rows {
                if !seen.insert(id(&row)) {
                    return Err(self.incomplete(path, "the same item on two pages"));
                }
                items.push(row);
            }
            if items.len() == total_count {
                return Ok(items);
            }
            if count < per_page || items.len() > total_count {
                return Err(self.incomplete(path, "pages that do not add up to the stated total"));
            }
        }
        Err(self.incomplete(path, "more pages than a listing may have"))
    }

    fn incomplete(&self, path: &str, what: &str) -> ProviderError {
        self.error(&Method::GET, path, ErrorClass::Unavailable(format!("incomplete listing: {what}")))
    }

    async fn page<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Answer<Envelope<T>> {
        let answer = self.http.get(path, query).await.map_err(with_zone_hint)?;
        self.opened(&Method::GET, path, answer)
    }

    /// One write; the refusal's class is this provider's.
    async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Answer<T> {
        let answer = self.http.send(method.clone(), path, body).await.map_err(with_zone_hint)?;
        let envelope = self.opened(&method, path, answer)?;
        let lost = || ErrorClass::Unanswered("an answer without a result".into());
        envelope.result.ok_or_else(|| self.error(&method, path, lost()))
    }

    fn opened<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        answer: Result<HttpAnswer, crate::provider::http::HttpRefusal>,
    ) -> Answer<Envelope<T>> {
        let fail = |class| self.error(method, path, class);
        let answer = answer.map_err(|refusal| fail(class_of(&refusal)))?;
        let envelope: Envelope<T> = answer.json(method).map_err(fail)?;
        if envelope.success {
            return Ok(envelope);
        }
        // A 2xx whose envelope says otherwise: read it as the refusal it is.
        let refusal = crate::provider::http::HttpRefusal { status: answer.status, body: answer.body };
        Err(fail(class_of(&refusal)))
    }
}

/// Code 10000 also comes for a zone id that is wrong or another account's (contracts/cloudflare.md 1.11).
fn with_zone_hint(error: ProviderError) -> ProviderError {
    match error.class {
        ErrorClass::Forbidden(text) if text.ends_with("code 10000") && error.call.contains("zones/") => ProviderError {
            class: ErrorClass::Forbidden(format!("{text}; check the zone id before the token")),
            ..error
        },
        _ => error,
    }
}
