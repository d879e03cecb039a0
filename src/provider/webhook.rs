//! A webhook that takes `{"text": …}`: Slack, Mattermost, and whatever else understands that.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use crate::provider::http::HttpClient;
use crate::provider::{Answer, Hook};

/// The provider's name.
pub const NAME: &str = "webhook";

/// Posts to one address.
pub struct Webhook {
    http: HttpClient,
}

impl Webhook {
    /// Over an HTTP client whose base is the whole address.
    pub fn new(http: HttpClient) -> Self {
        Webhook { http }
    }
}

#[async_trait]
impl Hook for Webhook {
    async fn post(&self, text: &str) -> Answer<()> {
        let body = json!({ "text": text });
        match self.http.send(Method::POST, "", Some(&body)).await? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.http.error(&Method::POST, "", refusal.class())),
        }
    }
}
