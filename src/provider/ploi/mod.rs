//! Ploi as a host: sites, environments, repositories, deploys, virtual hosts, aliases, certificates and scripts.
//!
//! Contract: contracts/ploi.md. Everything that touches a server is queued there: a 2xx means accepted, and no method here
//! waits for the end. The pieces are one file each; this one holds the client, the calls they share, and sites.

mod certificates;
mod pieces;
mod redact;
mod releases;
pub mod scripts;
pub mod sim;
pub mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::{HttpAnswer, HttpClient, HttpRefusal};
use crate::provider::{Answer, Host, NewSite, SiteRef, Sites};
use crate::resource::name::{RemoteId, ServerId};
use crate::resource::reading::Live;
use crate::resource::site::{Piece, Server, Site};
pub use redact::Redact;

/// The provider's name in errors, plans and budgets.
pub const NAME: &str = "ploi";
/// The address of the real API (contracts/ploi.md 1).
pub const API_URL: &str = "https://ploi.io/api";
/// Most items of a page; Ploi silently answers 15 to more (contracts/ploi.md 4).
pub const PER_PAGE: u64 = 50;
/// More pages than any account has (20,000 sites); a listing that goes on beyond is broken.
const PAGES_MAX: u64 = 400;
/// Longest id that is put into a path: Ploi's are numbers and UUIDs.
const ID_CHARS_MAX: usize = 64;

/// The client of one Ploi account.
pub struct Ploi {
    http: HttpClient,
    source_provider: Option<String>,
    redact: Redact,
    /// Held for writing while sites are listed: a create of ours between two pages would spoil the listing for everybody
    /// who waits for it, again and again while a fleet comes up.
    listing: RwLock<()>,
}

impl Ploi {
    /// A client over the account's HTTP client. `source_provider` is the id, name or label of the linked Git account
    /// (decisions 34; `None`: the only one); `redact` masks what logs must not show.
    pub fn new(http: HttpClient, source_provider: Option<String>, redact: Redact) -> Self {
        Ploi { http, source_provider, redact, listing: RwLock::new(()) }
    }

    /// Whether the token is accepted, and the name of the account's plan (contracts/ploi.md 6.1); one read.
    pub async fn account_plan(&self) -> Answer<Option<String>> {
        let value = self.read_json("user").await?;
        Ok(wire::text(wire::single(&value).get("plan")))
    }
}

/// The host with all pieces that Ploi has.
pub fn host(client: Ploi) -> Host {
    let client = Arc::new(client);
    Host {
        name: NAME,
        pieces: BTreeSet::from([
            Piece::Placeholder,
            Piece::Repository,
            Piece::Environment,
            Piece::DeployScript,
            Piece::VirtualHost,
            Piece::Alias,
            Piece::Process,
            Piece::Certificate,
            Piece::ServerCheck,
        ]),
        sites: client.clone(),
        environments: client.clone(),
        releases: client.clone(),
        repositories: Some(client.clone()),
        virtual_hosts: Some(client.clone()),
        aliases: Some(client.clone()),
        certificates: Some(client.clone()),
        scripts: Some(client),
    }
}

/// `GET servers/1/sites`, for errors.
fn label(method: &Method, path: &str) -> String {
    format!("{method} {path}")
}

fn unavailable(path: &str, flaw: impl Into<String>) -> ProviderError {
    ProviderError::new(NAME, label(&Method::GET, path), ErrorClass::Unavailable(flaw.into()))
}

/// What a 4xx means (contracts/ploi.md 3).
fn refused(method: &Method, path: &str, refusal: &HttpRefusal) -> ProviderError {
    let words = wire::words(&refusal.body);
    let class = match refusal.status {
        StatusCode::UNAUTHORIZED => ErrorClass::Unauthorized(words),
        StatusCode::FORBIDDEN => ErrorClass::Forbidden(words),
        StatusCode::NOT_FOUND => ErrorClass::NotFound,
        StatusCode::CONFLICT | StatusCode::LOCKED => ErrorClass::Busy(words),
        // A 422 that names no field is about the state of the site, not about what we sent (contracts/ploi.md 7).
        StatusCode::UNPROCESSABLE_ENTITY if !wire::names_fields(&refusal.body) => ErrorClass::Busy(words),
        _ => ErrorClass::Invalid(words),
    };
    ProviderError::new(NAME, label(method, path), class)
}

/// An `error` inside a 2xx (contracts/ploi.md 1, 3).
fn error_class(words: String) -> ErrorClass {
    if words.to_ascii_lowercase().contains("free plan") {
        ErrorClass::Forbidden(words)
    } else {
        ErrorClass::Invalid(words)
    }
}

/// `Ok(None)` where the thing is not there.
fn absent_is_none<T>(result: Answer<T>) -> Answer<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.class == ErrorClass::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An id as part of a path; ids from outside must not lead elsewhere.
fn segment(id: &str) -> Answer<&str> {
    let good = !id.is_empty() && id.len() <= ID_CHARS_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    good.then_some(id).ok_or_else(|| {
        ProviderError::new(
            NAME,
            "path",
            ErrorClass::Invalid("an id holds other characters than letters, digits and `-`".into()),
        )
    })
}

/// `servers/S/sites/I`
fn site_path(site: &SiteRef) -> Answer<String> {
    Ok(format!("servers/{}/sites/{}", segment(site.server.as_str())?, segment(site.id.as_str())?))
}

impl Ploi {
    /// A read's answer; every refusal has its class.
    async fn read(&self, path: &str, query: &[(&str, String)]) -> Answer<HttpAnswer> {
        self.http.get(path, query).await?.map_err(|refusal| refused(&Method::GET, path, &refusal))
    }

    /// A read's JSON, never with an `error` in it.
    async fn read_json(&self, path: &str) -> Answer<Value> {
        let answer = self.read(path, &[]).await?;
        let value = wire::json(&answer.body).map_err(|flaw| unavailable(path, flaw))?;
        match wire::error_inside(&value) {
            Some(words) => match error_class(words) {
                class @ ErrorClass::Forbidden(_) => Err(ProviderError::new(NAME, label(&Method::GET, path), class)),
                class => Err(unavailable(path, class.to_string())),
            },
            None => Ok(value),
        }
    }

    /// A whole file in any envelope; `None` when there is none.
    async fn read_file(&self, path: &str, keys: &[&str]) -> Answer<Option<String>> {
        let Some(answer) = absent_is_none(self.read(path, &[]).await)? else { return Ok(None) };
        wire::file(&answer.body, keys).map_err(|flaw| unavailable(path, flaw))
    }

    /// A write. A 2xx may be empty or no JSON (contracts/ploi.md 9.10): `Null` then.
    async fn write(&self, method: Method, path: &str, body: Option<&Value>) -> Answer<Value> {
        let answer = self.http.send(method.clone(), path, body).await?;
        let answer = answer.map_err(|refusal| refused(&method, path, &refusal))?;
        let value = wire::json(&answer.body).unwrap_or(Value::Null);
        match wire::error_inside(&value) {
            Some(words) => Err(ProviderError::new(NAME, label(&method, path), error_class(words))),
            None => Ok(value),
        }
    }

    /// A delete; gone already is done.
    async fn delete(&self, path: &str) -> Answer<()> {
        absent_is_none(self.write(Method::DELETE, path, None).await).map(|_| ())
    }

    /// Every item of a list. A list that changed between two pages, repeats an id or counts otherwise is no list.
    async fn list(&self, path: &str) -> Answer<Vec<Value>> {
        let mut items: Vec<Value> = Vec::new();
        let mut total = None;
        for number in 1..=PAGES_MAX {
            let page = self.page(path, number).await?;
            if page.current != number || *total.get_or_insert(page.total) != page.total {
                return Err(unavailable(path, "the listing changed while it was read"));
            }
            items.extend(page.items);
            if number >= page.last {
                let ids: BTreeSet<String> = items.iter().filter_map(|item| wire::text(item.get("id"))).collect();
                if items.len() as u64 != page.total || ids.len() != items.len() {
                    let found = ids.len();
                    return Err(unavailable(path, format!("the listing is incomplete: {found} of {}", page.total)));
                }
                return Ok(items);
            }
        }
        Err(unavailable(path, format!("the listing has more than {PAGES_MAX} pages")))
    }

    async fn page(&self, path: &str, number: u64) -> Answer<wire::Page> {
        let query = [("page", number.to_string()), ("per_page", PER_PAGE.to_string())];
        let answer = self.read(path, &query).await?;
        wire::page(&answer.body).map_err(|flaw| unavailable(path, flaw))
    }

    /// The site as it stands, read on its own.
    async fn site(&self, site: &SiteRef) -> Answer<Live<Site>> {
        let path = site_path(site)?;
        let value = self.read_json(&path).await?;
        wire::site(wire::single(&value), &site.server).map_err(|flaw| unavailable(&path, flaw))
    }

    /// Before what cannot be taken back: the id must still stand for the domain we mean. `false`: it is gone.
    async fn is_meant(&self, site: &SiteRef) -> Answer<bool> {
        let Some(found) = absent_is_none(self.site(site).await)? else { return Ok(false) };
        if found.value.domain == site.domain {
            return Ok(true);
        }
        let words = format!("site {} is {}, not {}; nothing was done", site.id, found.value.domain, site.domain);
        Err(ProviderError::new(NAME, label(&Method::GET, &site_path(site)?), ErrorClass::Invalid(words)))
    }
}

#[async_trait]
impl Sites for Ploi {
    async fn server(&self, server: &ServerId) -> Answer<Server> {
        let path = format!("servers/{}", segment(server.as_str())?);
        let value = self.read_json(&path).await?;
        wire::server(&value, server).map_err(|flaw| unavailable(&path, flaw))
    }

    async fn sites(&self, server: &ServerId) -> Answer<Vec<Live<Site>>> {
        let path = format!("servers/{}/sites", segment(server.as_str())?);
        let items = {
            let _alone = self.listing.write().await;
            self.list(&path).await?
        };
        items.iter().map(|item| wire::site(item, server).map_err(|flaw| unavailable(&path, flaw))).collect()
    }

    /// contracts/ploi.md 6.3: only the id of the answer can be trusted; the port cannot be asked for here.
    async fn create_site(&self, site: &NewSite) -> Answer<RemoteId> {
        let path = format!("servers/{}/sites", segment(site.server.as_str())?);
        let body = json!({
            "root_domain": site.domain,
            "project_type": "nodejs",
            "project_root": "/",
            "web_directory": "/",
            "system_user": site.system_user,
        });
        let error = |class| ProviderError::new(NAME, label(&Method::POST, &path), class);
        let sent = {
            let _between_listings = self.listing.read().await;
            self.http.send(Method::POST, &path, Some(&body)).await?
        };
        let answer = match sent {
            Ok(answer) => answer,
            Err(refusal) if wire::is_taken(&refusal.body) => {
                return Err(error(ErrorClass::Exists(format!("{} is taken on this server", site.domain))));
            }
            Err(refusal) => return Err(refused(&Method::POST, &path, &refusal)),
        };
        let value = wire::json(&answer.body).unwrap_or(Value::Null);
        if let Some(words) = wire::error_inside(&value) {
            return Err(error(error_class(words)));
        }
        wire::id(wire::single(&value))
            .ok_or_else(|| error(ErrorClass::Unanswered("the answer to the create holds no id".into())))
    }

    async fn suspend(&self, site: &SiteRef) -> Answer<()> {
        let path = format!("{}/suspend", site_path(site)?);
        self.write(Method::POST, &path, Some(&json!({}))).await.map(|_| ())
    }

    async fn resume(&self, site: &SiteRef) -> Answer<()> {
        let path = format!("{}/resume", site_path(site)?);
        self.write(Method::POST, &path, Some(&json!({}))).await.map(|_| ())
    }

    async fn delete_site(&self, site: &SiteRef) -> Answer<()> {
        if !self.is_meant(site).await? {
            return Ok(());
        }
        self.delete(&site_path(site)?).await
    }
}
