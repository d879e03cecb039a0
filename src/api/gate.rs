//! Who is let in, and the headers of caution on every answer (reliability.md S22, X12 to X17).
//!
//! ```text
//!            Host                    Origin, where there is one     token
//!  read      loopback, from loopback on the list                    none needed
//!            any other               on the list                    needed; without apiToken: refused
//!  write     on the list             on the list                    needed; without apiToken: refused
//! ```
//!
//! On the list are the names of loopback and those of `api.hosts`. A page elsewhere that made its own name point here (DNS
//! rebinding) has a foreign Host; one that sends a form or a `fetch` here has a foreign Origin. No header ever allows
//! another origin to read an answer.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, digest};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::api::{Api, provisioning};
use crate::resource::secret::Secret;

/// Nothing is loaded but our own style sheet; nothing runs; nobody frames the page.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Load balancers know no token and no name of ours, and these say nothing of a client.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// A host as a request names it, or as the list of hosts does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// `ops.example`, `ops.example:8443`, `[::1]:7117`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Host> {
        let authority: Authority = text.parse().ok()?;
        let bare = authority.as_str();
        let name = authority.host();
        let port = match bare.strip_prefix(name)? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        Some(Host { name: name.to_ascii_lowercase(), port })
    }

    /// `localhost`, or an address of this machine alone.
    fn is_loopback(&self) -> bool {
        let bare = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&self.name);
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// An entry without a port allows every port.
    fn is_on(&self, list: &[Host]) -> bool {
        let is = |entry: &Host| entry.name == self.name && (entry.port.is_none() || entry.port == self.port);
        self.is_loopback() || list.iter().any(is)
    }
}

/// Lets nobody in whom the rules of the module do not allow.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match admit(&api, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admit(api: &Api, request: &Request) -> Result<(), Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && OPEN_PATHS.contains(&request.uri().path()) {
        return Ok(());
    }
    let host = host(request)?;
    if reads {
        let from_here = peer(request).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let is_local = from_here && host.as_ref().is_some_and(Host::is_loopback);
        if !is_local && api.token.is_none() {
            let detail = "without apiToken this answers on loopback alone, to the names localhost, 127.0.0.1 and [::1]; set apiToken to reach it otherwise";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        origin(api, request.headers())?;
        return if is_local { Ok(()) } else { token(api, request) };
    }
    if !host.is_some_and(|host| host.is_on(&api.hosts)) {
        let detail = "nothing is written under this Host; use localhost, or add the name to api.hosts";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    origin(api, request.headers())?;
    token(api, request)
}

fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// The one host that a request names; `None` where it names none, or no host.
fn host(request: &Request) -> Result<Option<Host>, Problem> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let header = named.next();
    if named.next().is_some() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "a request names one Host; send that header once"));
    }
    let target = request.uri().authority().map(Authority::as_str);
    Ok(target.or_else(|| header?.to_str().ok()).and_then(Host::parse))
}

/// Programs send no Origin; browsers send one wherever another page could be behind the request.
fn origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let foreign = |what: &str| {
        let detail = format!("{what}; only pages of this interface may call it, and those of api.hosts");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    for origin in headers.get_all(header::ORIGIN) {
        let text = origin.to_str().unwrap_or_default();
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).and_then(Host::parse);
        if !host.is_some_and(|host| host.is_on(&api.hosts)) {
            return foreign("the Origin is a foreign one");
        }
    }
    let fetched = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let shown = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate"); // a person followed a link to a page
    if fetched && !shown { foreign("the request comes from another site") } else { Ok(()) }
}

fn token(api: &Api, request: &Request) -> Result<(), Problem> {
    let Some(token) = &api.token else {
        let detail = "this interface only reads: no apiToken is set; set apiToken (or SITEWRIGHT_API_TOKEN) and start the daemon again, or use the commands on its machine";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    };
    let text = |name: &str| request.headers().get(name).and_then(|given| given.to_str().ok());
    let bearer = text("authorization").and_then(|given| given.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).map(|(_, given)| given.trim());
    let takes_secret = provisioning::PATHS.contains(&request.uri().path());
    let given = bearer.or_else(|| text(provisioning::SECRET_HEADER).filter(|_| takes_secret));
    if given.is_some_and(|given| is_equal(given, token)) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer` with the apiToken"))
}

/// Takes as long for a wrong token as for the right one, of whatever length.
fn is_equal(given: &str, token: &Secret) -> bool {
    let sum = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    constant_time::verify_slices_are_equal(sum(given).as_ref(), sum(token.expose()).as_ref()).is_ok()
}
