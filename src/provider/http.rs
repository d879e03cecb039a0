//! The one HTTP client: authorisation, time-outs, budget with lanes, Retry-After, classification, redaction.
//!
//! A read is tried up to three times with growing delay; a write exactly once. Redirects are not followed.

pub mod answer;
pub mod budget;
pub mod lane;
pub mod leave;
pub mod line;

use std::sync::Arc;
use std::time::Duration;

use backoff::{ExponentialBuilder, Retryable};
use bytes::BytesMut;
use reqwest::{Method, header};

pub use crate::provider::http::answer::{HttpAnswer, HttpRefusal};
pub use crate::provider::http::budget::Budget;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::answer::{Verdict, is_read, is_throttle, learn, retry_after, unclear, verdict};
use crate::provider::http::leave::may_leave;
use crate::provider::http::line::{Exchanged, Line, Way};
use crate::provider::tally::Tally;
use crate::resource::secret::Secret;

/// Who asks; Ploi and GitHub refuse calls without one.
const USER_AGENT: &str = concat!("sitewright/", env!("CARGO_PKG_VERSION"));
/// Largest answer that is read: a listing of 5,000 records is about 3 MB.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a read may take; environment and virtual host reads go over SSH at Ploi (contracts/ploi.md 1).
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a write may take.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to come about (reliability.md R9).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a read is repeated after its first failure: three tries at this one layer (reliability.md R9).
const READ_REPEATS_MAX: usize = 2;
/// First delay before a repeated read; jitter may double it.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(250);
/// Longest delay before a repeated read, without jitter.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// A provider's account as the HTTP client needs it.
pub struct HttpClient {
    provider: &'static str,
    base: url::Url,
    token: Secret,
    /// Builds the requests, and sends them where the way is the network.
    client: reqwest::Client,
    way: Way,
    limits: HttpLimits,
    /// The account's budget, shared by everybody who calls it.
    pub budget: Arc<Budget>,
    tally: Arc<Tally>,
}

/// How far one call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// For one try of a read.
    pub read_timeout: Duration,
    /// For a write.
    pub write_timeout: Duration,
    /// Largest body, in bytes after decompression.
    pub body_bytes_max: usize,
    /// First delay before a read is repeated.
    pub retry_delay: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            body_bytes_max: BODY_BYTES_MAX,
            retry_delay: RETRY_DELAY_MIN,
        }
    }
}

/// One request, before it is sent.
struct Request<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, String)],
    headers: &'a [(header::HeaderName, String)],
    body: Option<&'a serde_json::Value>,
}

type Outcome = Result<Result<HttpAnswer, HttpRefusal>, ProviderError>;

impl HttpClient {
    /// A client for one account. An empty token sends no `Authorization`. Fails with [`ErrorClass::Invalid`] for a plain
    /// address that is not on this machine (reliability.md B37).
    pub fn new(
        provider: &'static str,
        base: url::Url,
        token: Secret,
        budget: Arc<Budget>,
    ) -> Result<Self, ProviderError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT);
        if base.scheme() == "http" {
            if !is_loopback(&base) {
                let text = format!("{base} would send the credential in the clear; give an https address");
                return Err(ProviderError::new(provider, "client", ErrorClass::Invalid(text)));
            }
            // Plain addresses are simulators on this machine: no proxy leads there, and no root store is needed.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let client = builder.build().map_err(|e| {
            ProviderError::new(
                provider,
                "client",
                ErrorClass::Unavailable(format!("TLS cannot be set up: {}", root(&e))),
            )
        })?;
        let (way, limits) = (Way::Network, HttpLimits::default());
        Ok(HttpClient { provider, base, token, client, way, limits, budget, tally: Arc::default() })
    }

    /// The same client over a line instead of the network.
    pub fn over(mut self, line: Arc<dyn Line>) -> Self {
        self.way = Way::Line(line);
        self
    }

    /// The same client with other limits.
    pub fn with_limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same client, counting its calls together with others'.
    pub fn counted(mut self, tally: Arc<Tally>) -> Self {
        self.tally = tally;
        self
    }

    /// The provider's name, as errors carry it.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// A read. `path` is relative to the base and already percent-encoded; the query never shows in errors.
    /// The outer error is already classified where the class does not depend on the provider (network, 3xx, 401, 403, 408,
    /// 429, 5xx, oversize); `Ok(Err(refusal))` is any other 4xx for the provider to read, 404 among them, because only the
    /// provider knows whether "not found" is an error, an absence or a success ([`HttpRefusal::class`] gives the usual class).
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Outcome {
        self.get_with(path, query, &[]).await
    }

    /// A read with further headers, for conditional requests (a 304 comes back as an answer) or another `Accept`.
    pub async fn get_with(
        &self,
        path: &str,
        query: &[(&str, String)],
        headers: &[(header::HeaderName, String)],
    ) -> Outcome {
        let request = Request { method: Method::GET, path, query, headers, body: None };
        let delays = ExponentialBuilder::new()
            .with_min_delay(self.limits.retry_delay)
            .with_max_delay(RETRY_DELAY_MAX)
            .with_max_times(READ_REPEATS_MAX)
            .with_jitter();
        (|| self.call(&request))
            .retry(delays)
            .when(|e| matches!(e.class, ErrorClass::Unavailable(_)))
            .notify(|e, after| {
                tracing::debug!(provider = self.provider, error = %e, ?after, "read failed, trying again");
            })
            .await
    }

    /// A write, sent once. Errors as [`HttpClient::get`], but anything after the bytes left is `Unanswered`.
    pub async fn send(&self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Outcome {
        self.send_with(method, path, &[], body).await
    }

    /// A write with further headers, as an idempotency key.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, String)],
        body: Option<&serde_json::Value>,
    ) -> Outcome {
        self.call(&Request { method, path, query: &[], headers, body }).await
    }

    /// An error of this provider about this call.
    pub fn error(&self, method: &Method, path: &str, class: ErrorClass) -> ProviderError {
        ProviderError::new(self.provider, format!("{method} {path}"), class)
    }

    async fn call(&self, request: &Request<'_>) -> Outcome {
        let fail = |class| self.error(&request.method, request.path, class);
        let url = self.url(request).map_err(fail)?;
        let permit =
            self.budget.acquire().await.map_err(|closed| fail(ErrorClass::Throttled { after: closed.after }))?;
        if !is_read(&request.method) && !may_leave().await {
            permit.give_back();
            return Err(fail(ErrorClass::Withdrawn));
        }
        self.tally.count();
        let answer = self.exchange(request, url).await;
        drop(permit);
        self.tally.answered(self.provider, answer.as_ref().ok().map(|(status, ..)| status.as_u16()));
        let (status, headers, body) = answer.map_err(fail)?;
        learn(&self.budget, &headers);
        if is_throttle(status, &headers) {
            self.budget.close_for(retry_after(&headers, self.budget.snapshot().window));
            return Err(fail(ErrorClass::Throttled { after: self.budget.snapshot().closed_for }));
        }
        let body = if status.is_success() { body } else { self.redacted(body) };
        match verdict(&request.method, status, &body) {
            Verdict::Usable => Ok(Ok(HttpAnswer { status, headers, body })),
            Verdict::Refused => Ok(Err(HttpRefusal { status, body })),
            Verdict::Failed(class) => Err(fail(class)),
        }
    }

    fn url(&self, request: &Request<'_>) -> Result<url::Url, ErrorClass> {
        if request.path.is_empty() {
            return Ok(self.base.clone()); // the address as a whole, with its query
        }
        let base = self.base.as_str().trim_end_matches('/');
        let mut url = url::Url::parse(&format!("{base}/{}", request.path.trim_start_matches('/')))
            .map_err(|e| ErrorClass::Invalid(format!("the path makes no address: {e}")))?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query.iter().map(|(k, v)| (k, v)));
        }
        Ok(url)
    }

    async fn exchange(&self, request: &Request<'_>, url: url::Url) -> Result<Exchanged, ErrorClass> {
        let timeout = if is_read(&request.method) { self.limits.read_timeout } else { self.limits.write_timeout };
        let mut builder = self.client.request(request.method.clone(), url).timeout(timeout);
        builder = builder.header(header::USER_AGENT, USER_AGENT);
        if !request.headers.iter().any(|(name, _)| name == header::ACCEPT) {
            builder = builder.header(header::ACCEPT, "application/json");
        }
        if !self.token.expose().is_empty() {
            builder = builder.bearer_auth(self.token.expose().trim());
        }
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        match &self.way {
            Way::Network => self.over_network(&request.method, builder).await,
            Way::Line(line) => {
                let built = builder.build().map_err(|e| network(&request.method, &e))?;
                line::carry(&**line, built, timeout).await.map_err(|lost| unclear(&request.method, lost))
            }
        }
    }

    async fn over_network(&self, method: &Method, builder: reqwest::RequestBuilder) -> Result<Exchanged, ErrorClass> {
        let mut response = builder.send().await.map_err(|e| network(method, &e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let too_large = || unclear(method, format!("{status} with more than {} bytes", self.limits.body_bytes_max));
        if response.content_length().is_some_and(|n| n > self.limits.body_bytes_max as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| network(method, &e))? {
            if body.len() + chunk.len() > self.limits.body_bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body.freeze()))
    }

    /// A provider that repeats our credential in its refusal must not bring it into a log.
    fn redacted(&self, body: bytes::Bytes) -> bytes::Bytes {
        let text = String::from_utf8_lossy(&body);
        match self.token.expose().trim() {
            token if !token.is_empty() && text.contains(token) => text.replace(token, "(secret)").into_bytes().into(),
            _ => body,
        }
    }
}

fn is_loopback(base: &url::Url) -> bool {
    match base.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A failure of the network. Before a connection stood, nothing was sent; after it, a write may have happened.
fn network(method: &Method, error: &reqwest::Error) -> ErrorClass {
    if error.is_builder() {
        return ErrorClass::Invalid(format!("the request cannot be made: {}", root(error)));
    }
    if error.is_connect() {
        let problem = if error.is_timeout() { "time-out".into() } else { root(error) };
        return ErrorClass::Unavailable(format!("no connection: {problem}"));
    }
    if error.is_timeout() {
        return unclear(method, "time-out".into());
    }
    unclear(method, format!("connection lost: {}", root(error)))
}

/// The innermost cause: outer ones repeat the address with its query.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // A `reqwest::Error` without a source shows the address; its words are then about our own request, not the network.
    if cause.is::<reqwest::Error>() { "no further cause".into() } else { cause.to_string() }
}
