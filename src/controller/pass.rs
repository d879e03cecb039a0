//! The name of the pass under way: one id in log records, events, the audit and the history.

use std::future::Future;

use tracing::Instrument as _;

use crate::resource::name::ClientName;

tokio::task_local! {
    static PASS: String;
}

/// Runs a pass under a new id, in a span with it and the client's name.
pub async fn in_pass<T>(client: &ClientName, pass: impl Future<Output = T>) -> T {
    let id = ulid::Ulid::new().to_string();
    let span = tracing::info_span!("pass", client = client.as_str(), reconcile = id);
    PASS.scope(id, pass.instrument(span)).await
}

/// The id of the pass under way; `None` outside of any.
pub fn pass_id() -> Option<String> {
    PASS.try_with(String::clone).ok()
}
