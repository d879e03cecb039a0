//! Answers of a provider made from any bytes, given by the real client over a line without a network, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use sitewright::provider::error::ProviderError;
use sitewright::provider::http::line::Line;
use sitewright::provider::http::{Budget, HttpClient};
use sitewright::resource::secret::Secret;

use super::pieces;

/// The credential of the account: no error may show it.
pub const TOKEN: &str = "token-of-the-account";
/// Calls and window of the account.
pub const LIMIT: (u32, Duration) = (60, Duration::from_secs(60));

/// Gives one answer after the other, the last one again and again.
struct Canned(Mutex<Vec<Vec<u8>>>);

#[async_trait]
impl Line for Canned {
    async fn carry(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let mut left = self.0.lock();
        let next = if left.len() > 1 { left.remove(0) } else { left.first().cloned().unwrap_or_default() };
        answer(&next).ok_or_else(|| "connection reset".to_owned())
    }
}

/// `429`, header lines, an empty line, the body; `None`, a lost connection, where there is no status.
pub fn answer(text: &[u8]) -> Option<Response<Bytes>> {
    let cut = text.windows(2).position(|two| two == b"\n\n");
    let (head, body) = cut.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    *answer.status_mut() = StatusCode::from_bytes(lines.next()?).ok()?;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().append(name, value);
        }
    }
    Some(answer)
}

/// The client of an account whose provider answers so.
pub fn client(data: &[u8]) -> HttpClient {
    let answers = pieces::bytes(data).map(<[u8]>::to_vec).collect();
    let base = url::Url::parse("http://127.0.0.1/v1").expect("an address");
    let budget = Arc::new(Budget::new(LIMIT.0, LIMIT.1));
    let client = HttpClient::new("provider", base, Secret::new(TOKEN), budget).expect("a client");
    client.over(Arc::new(Canned(Mutex::new(answers))))
}

/// Runs to the end without waiting: every sleep is over at once.
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

/// An error is one line and does not show the credential.
pub fn is_presentable(error: &ProviderError) {
    let text = error.to_string();
    assert!(!text.contains(|c: char| c.is_control()), "an error with a control character: {text:?}");
    // A good answer that cannot be read is told by the name of its member, whatever that is.
    let of_a_member = text.contains("with a body of another shape at");
    assert!(of_a_member || !text.contains(TOKEN), "an error shows the credential: {text}");
    assert!(text.len() < 4096, "an error as long as an answer: {} bytes", text.len());
}
