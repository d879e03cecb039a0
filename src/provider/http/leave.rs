//! Whether a write may still leave: asked when its turn in the account's budget has come, which may be long after it was
//! decided. Set around work by whoever knows what it is meant for.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

/// What a write is meant for.
#[async_trait]
pub trait Standing: Send + Sync {
    /// Whether it still counts. What cannot be found out does not.
    async fn holds(&self) -> bool;
}

tokio::task_local! {
    static STANDING: Arc<dyn Standing>;
}

/// Runs a future whose writes leave only while this holds. Tasks spawned inside do not inherit it.
pub async fn while_it_holds<F: Future>(standing: Arc<dyn Standing>, future: F) -> F::Output {
    STANDING.scope(standing, future).await
}

/// Whether a write may leave here and now; always where nothing was set.
pub async fn may_leave() -> bool {
    match STANDING.try_with(Arc::clone) {
        Ok(standing) => standing.holds().await,
        Err(_) => true,
    }
}
