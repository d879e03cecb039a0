//! Mail by Resend (contracts/resend.md).

pub mod sim;

use async_trait::async_trait;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::provider::error::{ErrorClass, ProviderError, one_line};
use crate::provider::http::{HttpClient, HttpRefusal};
use crate::provider::{Answer, Mail, Posted};
use crate::resource::letter::Letter;

/// The provider's name.
pub const NAME: &str = "resend";
/// Most of a refusal's words that an error carries, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// Sends mail from one address.
pub struct Resend {
    http: HttpClient,
    from: String,
}

impl Resend {
    /// Over an HTTP client whose base is `RESEND_API_URL`; `from` as `Agency <notices@agency.example>`.
    pub fn new(http: HttpClient, from: String) -> Self {
        Resend { http, from }
    }
}

#[async_trait]
impl Mail for Resend {
    async fn post(&self, letter: &Letter) -> Answer<Posted> {
        let body = json!({
            "from": self.from,
            "to": letter.to,
            "subject": letter.subject,
            "text": letter.text.expose(),
            "tags": [{ "name": "event", "value": letter.event.word() }],
        });
        let key = [(header::HeaderName::from_static("idempotency-key"), letter.key.clone())];
        match self.http.send_with(Method::POST, "emails", &key, Some(&body)).await? {
            Ok(answer) => {
                let value: Value = answer.json(&Method::POST).map_err(|class| self.error(class))?;
                let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(Posted::Accepted(id))
            }
            Err(refusal) => self.refused(&refusal),
        }
    }
}

impl Resend {
    fn error(&self, class: ErrorClass) -> ProviderError {
        self.http.error(&Method::POST, "emails", class)
    }

    fn refused(&self, refusal: &HttpRefusal) -> Answer<Posted> {
        let value: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
        let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
        let words = one_line(&format!("{}: {}", text("name"), text("message")), WORDS_CHARS_MAX);
        match (refusal.status, text("name")) {
            // The same key with another body: the first one went out.
            (StatusCode::CONFLICT, "invalid_idempotent_request") => Ok(Posted::Before),
            (StatusCode::CONFLICT, _) => Err(self.error(ErrorClass::Busy(words))),
            (
                StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY,
                _,
            ) => Err(self.error(ErrorClass::Invalid(words))),
            _ => Err(self.error(refusal.class())),
        }
    }
}
