//! The CMS of a site: its first administrator, over the site's own public address (decisions 24, seed-system.md 4 and 11).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::{Method, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::outside::connection::{Ask, Connector, Failure, Reply, Shown};
use crate::provider::{Answer, Cms};
use crate::resource::name::HostName;
use crate::resource::secret::Secret;

/// Makes the first user; answers 403 once there is one. With the slash, as the CMS documents it.
const FIRST_REGISTER: &str = "/api/users/first-register/";
/// Logs in; answers 401 for a wrong login.
const LOG_IN: &str = "/api/users/login/";
/// How long a call may take: a cold start renders for seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long we stay away after a 429 without a time.
const THROTTLED: Duration = Duration::from_secs(60);

/// Talks to the CMS of sites, always over verified TLS: a password travels.
pub struct SiteCms {
    connector: Arc<Connector>,
}

impl SiteCms {
    /// Talks over this connector.
    pub fn new(connector: Arc<Connector>) -> Self {
        SiteCms { connector }
    }

    async fn post(&self, domain: &HostName, path: &str, body: &Value) -> Result<Reply, Failure> {
        let reply = self.send(domain, path, body).await?;
        // A site built with the other habit about trailing slashes redirects before its handler runs: nothing happened yet.
        let other = path.trim_end_matches('/');
        let moved = matches!(reply.status, StatusCode::PERMANENT_REDIRECT | StatusCode::TEMPORARY_REDIRECT);
        if moved && leads_to(&reply, domain, other) {
            return self.send(domain, other, body).await;
        }
        Ok(reply)
    }

    async fn send(&self, domain: &HostName, path: &str, body: &Value) -> Result<Reply, Failure> {
        let ask = Ask {
            domain,
            https: true,
            method: Method::POST,
            path,
            body: Some(body.to_string().into_bytes()),
            timeout: TIMEOUT,
            body_bytes_max: BODY_BYTES_MAX,
        };
        self.connector.ask(&ask, &Mutex::new(Shown::default())).await
    }
}

#[async_trait]
impl Cms for SiteCms {
    async fn first_register(&self, domain: &HostName, email: &str, name: &str, password: &Secret) -> Answer<bool> {
        let fail = |class| ProviderError::new("cms", format!("POST {domain}{FIRST_REGISTER}"), class);
        let body = json!({ "email": email, "name": name, "password": password.expose() });
        let reply = match self.post(domain, FIRST_REGISTER, &body).await {
            Ok(reply) => reply,
            Err(Failure::NotConnected(text) | Failure::Tls(text)) => return Err(fail(ErrorClass::Unavailable(text))),
            Err(Failure::Lost(text)) => return Err(fail(ErrorClass::Unanswered(text))),
        };
        match reply.status.as_u16() {
            200..=299 if says_user(&reply) => Ok(true),
            200..=299 => Err(fail(ErrorClass::Unanswered("a good answer that names no user".into()))),
            403 => Ok(false),
            // A front server without its process: the CMS never saw the call.
            502 | 503 => Err(fail(ErrorClass::Unavailable(format!("the site answers {}", reply.status.as_u16())))),
            code => Err(fail(other_answer(code, ErrorClass::Unanswered))),
        }
    }

    async fn log_in(&self, domain: &HostName, email: &str, password: &Secret) -> Answer<bool> {
        let fail = |class| ProviderError::new("cms", format!("POST {domain}{LOG_IN}"), class);
        let body = json!({ "email": email, "password": password.expose() });
        let reply = self.post(domain, LOG_IN, &body).await;
        // A login changes nothing: whatever was lost, it may be asked again.
        let reply = reply.map_err(|failure| match failure {
            Failure::NotConnected(text) | Failure::Tls(text) | Failure::Lost(text) => {
                fail(ErrorClass::Unavailable(text))
            }
        })?;
        match reply.status.as_u16() {
            200..=299 if says_user(&reply) => Ok(true),
            200..=299 => Err(fail(ErrorClass::Unavailable("a good answer that names no user".into()))),
            401 | 403 => Ok(false),
            code => Err(fail(other_answer(code, ErrorClass::Unavailable))),
        }
    }
}

/// What other answers mean; `unclear` is the class for those that leave the outcome open.
fn other_answer(code: u16, unclear: fn(String) -> ErrorClass) -> ErrorClass {
    match code {
        404 | 405 => ErrorClass::NotFound,
        429 => ErrorClass::Throttled { after: THROTTLED },
        400..=499 => ErrorClass::Invalid(format!("the site answers {code}; look at its log")),
        _ => unclear(format!("the site answers {code}")),
    }
}

/// Whether an answer is the CMS's own: it names the user. A cached page or a placeholder does not.
pub fn says_user(reply: &Reply) -> bool {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    body.is_some_and(|body| body.get("user").is_some_and(Value::is_object))
}

/// Whether a redirect leads to this very path of this very site.
fn leads_to(reply: &Reply, domain: &HostName, path: &str) -> bool {
    let location = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    location == path || location == format!("https://{domain}{path}")
}
