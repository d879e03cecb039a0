//! The socket: takes the address, serves connections within limits of time and number, ends them at a stop.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt as _;

use crate::api::{Api, router};

/// Connections at once: the streams, and room for people and monitors. Further ones wait.
const CONNECTIONS_MAX: usize = 128;
/// The longest that the head of a request may take, also of the next one on the same connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// The largest head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// A connection whose other side takes nothing for this long is cut.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// The longest that open connections are waited for at a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// After a connection that could not be taken (the process has too many files open).
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// Takes the address.
///
/// # Errors
/// It is taken already; it is not loopback and there is no token.
pub async fn listen(address: SocketAddr, api: &Api) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() && api.token.is_none() {
        bail!(
            "listen {address}: without apiToken the API is served on loopback alone; set apiToken, or listen on 127.0.0.1"
        );
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen {address}: the address cannot be taken; name another one, or `off`"))
}

/// Serves until `stop` turns true.
///
/// # Errors
/// The address cannot be asked for.
pub async fn serve(listener: TcpListener, api: Api, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let router = router(api.clone());
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let taken = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break, // a dropped sender means stop as well
            taken = take(&listener, &seats) => taken?,
        };
        if let Some((stream, peer, seat)) = taken {
            connections.spawn(connection(stream, peer, router.clone(), stop.clone(), seat));
        }
        while connections.try_join_next().is_some() {} // what ended is let go of
    }
    drop(listener);
    api.hub.close();
    // A connection that somebody keeps open holds no stop up.
    let _ = timeout(STOP_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn take(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> anyhow::Result<Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)>> {
    let seat = seats.clone().acquire_owned().await?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            stream.set_nodelay(true).ok(); // events are small, and wanted at once
            Ok(Some((stream, peer, seat)))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection to the API could not be taken");
            sleep(ACCEPT_RETRY).await;
            Ok(None)
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient { stream, blocked: None }), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection to the API broke off");
    }
}

/// A connection that is cut when its other side takes nothing for [`READER_PATIENCE`].
struct Patient {
    stream: TcpStream,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn within<T>(&mut self, cx: &mut TaskContext<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.blocked = None;
            return outcome;
        }
        let end = self.blocked.get_or_insert_with(|| Box::pin(sleep(READER_PATIENCE)));
        end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.within(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.within(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
