//! Lines into the simulators' routers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use sitewright::provider::http::line::Line;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::fate::{Gate, Moment, Place, Turn};
use crate::planted::{Bug, Planted};

/// Answers of listings as they were: a reader may be shown one that is this old.
#[derive(Default)]
pub struct Replica {
    lag: Mutex<Duration>,
    seen: Mutex<BTreeMap<String, (Instant, Response<Bytes>)>>,
}

impl Replica {
    /// Listings may be this much behind from now on.
    pub fn lag(&self, lag: Duration) {
        *self.lag.lock() = lag;
    }

    fn stale(&self, path: &str) -> Option<Response<Bytes>> {
        let lag = *self.lag.lock();
        let seen = self.seen.lock();
        let (at, answer) = seen.get(path)?;
        (at.elapsed() < lag).then(|| answer.clone())
    }

    fn note(&self, path: String, answer: &Response<Bytes>) {
        if !self.lag.lock().is_zero() {
            self.seen.lock().insert(path, (Instant::now(), answer.clone()));
        }
    }
}

/// A write (method, path, body) as the monitor sees it.
pub type CallMonitor = Arc<dyn Fn(&str, &str, &[u8]) + Send + Sync>;

/// The way of one process to one provider.
pub struct SimLine {
    pub provider: &'static str,
    pub gate: Arc<Gate>,
    pub router: Router,
    pub replica: Arc<Replica>,
    pub planted: Option<&'static Planted>,
    /// Called when a write reaches the provider, before it happens.
    pub monitor: CallMonitor,
}

/// Listings, which a provider may serve from a replica.
fn is_listing(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    ["/sites", "/dns_records", "/certificates"].iter().any(|end| path.ends_with(end))
}

/// Writes that make one more when they are sent twice.
fn creates(method: &Method, path: &str) -> bool {
    method == Method::POST && !path.ends_with("/suspend") && !path.ends_with("/resume")
}

impl SimLine {
    async fn arrive(&self, request: Request<Bytes>) -> Response<Bytes> {
        if request.method() != Method::GET {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            (self.monitor)(request.method().as_str(), &path, request.body());
        }
        arrive(self.router.clone(), request).await
    }
}

async fn arrive(router: Router, request: Request<Bytes>) -> Response<Bytes> {
    let answer = router.oneshot(request.map(Body::from)).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, body)
}

fn status(code: u16) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(b"{\"message\":\"Server Error\"}"));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    if code == 429 {
        answer.headers_mut().insert("retry-after", "7".parse().unwrap());
    }
    answer
}

#[async_trait]
impl Line for SimLine {
    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        if let Some(Planted { bug: Bug::Twice(which), .. }) = self.planted
            && which(method.as_str(), &path)
        {
            let again = request.clone();
            let _ = self.travel(again).await;
        }
        let answer = self.travel(request).await;
        match self.planted {
            Some(Planted { bug: Bug::Answer(change), .. }) => change(method.as_str(), &path, answer),
            _ => answer,
        }
    }
}

impl SimLine {
    async fn travel(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        *request.uri_mut() = path.parse().unwrap();
        let method = request.method().clone();
        let place = match method == Method::GET {
            true => Place::Read,
            false => Place::Write { creates: creates(&method, &path) },
        };
        let turn = self.gate.turn(place, &format!("{} {method} {path}", self.provider)).await;
        let lost = || Err("connection reset".to_owned());
        match turn {
            Turn::Pass | Turn::NoDisk if method == Method::GET && is_listing(&path) => {
                if let Some(stale) = self.replica.stale(&path) {
                    self.gate.fate.count_fault();
                    return Ok(stale);
                }
                let answer = self.arrive(request).await;
                self.replica.note(path, &answer);
                Ok(answer)
            }
            Turn::Pass | Turn::NoDisk => Ok(self.arrive(request).await),
            Turn::Crash(Moment::Before) => {
                self.gate.die().await;
                lost()
            }
            Turn::Crash(Moment::After) => {
                self.arrive(request).await;
                self.gate.die().await;
                lost()
            }
            Turn::LostBefore => lost(),
            Turn::LostAfter => {
                self.arrive(request).await;
                lost()
            }
            Turn::Late(after) => {
                (self.monitor)(method.as_str(), &path, request.body());
                let router = self.router.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    arrive(router, request).await;
                });
                std::future::pending().await
            }
            Turn::Status(code) => Ok(status(code)),
            Turn::StatusAfter(code) => {
                self.arrive(request).await;
                Ok(status(code))
            }
            Turn::Garbage => {
                let mut answer = self.arrive(request).await;
                *answer.body_mut() = Bytes::from_static(b"<html><body>One moment, please");
                Ok(answer)
            }
            Turn::Cut => {
                let mut answer = self.arrive(request).await;
                let half = answer.body().len() / 2;
                *answer.body_mut() = answer.body().slice(..half);
                Ok(answer)
            }
        }
    }
}
