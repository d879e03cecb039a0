//! How a request reaches its provider: over the network, or over a line within this process.
//!
//! A line leads to a simulator's router. Whole lives pass over it in virtual time, with the real client and the real wire
//! types, and with every loss that a network knows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;

/// Status, headers and the whole body of an answer.
pub(in crate::provider::http) type Exchanged = (StatusCode, HeaderMap, Bytes);

/// Carries requests without a network.
#[async_trait]
pub trait Line: Send + Sync {
    /// Carries one request there and its answer back; whoever waits gives up after the call's time-out. The error is a
    /// connection that was lost after the bytes left, as one clause.
    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String>;
}

/// The way of one client.
pub(in crate::provider::http) enum Way {
    Network,
    Line(Arc<dyn Line>),
}

/// One exchange over a line; the error says how it was lost.
pub(in crate::provider::http) async fn carry(
    line: &dyn Line,
    request: reqwest::Request,
    timeout: Duration,
) -> Result<Exchanged, String> {
    let request = Request::try_from(request).map_err(|_| "the request cannot be carried".to_owned())?;
    let request = request.map(|body| body.as_bytes().map(Bytes::copy_from_slice).unwrap_or_default());
    match tokio::time::timeout(timeout, line.carry(request)).await {
        Ok(answer) => {
            let (parts, body) = answer?.into_parts();
            Ok((parts.status, parts.headers, body))
        }
        Err(_) => Err("time-out".to_owned()),
    }
}
