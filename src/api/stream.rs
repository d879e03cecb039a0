//! `GET /api/v1/events`: what happens, as server-sent events, and what happened since the number that a reader names.
//!
//! Expected flow: a reader takes one of [`STREAMS_MAX`] places; reads the table page by page, at its own pace; sits down at
//! the hub; reads what came meanwhile; and then lives on what the hub tells. `id` is the event's number, so that
//! `Last-Event-ID` continues exactly there. Guarantee: no event is lost or told twice across any number of connections,
//! except those that the table did not keep, and these are told as a `gap`.
//!
//! Besides the plain events, which carry an event of the table as JSON, there are `gap` (events that were asked for are not
//! there any more) and `lagged` (this reader was too slow and is dropped; it continues from the number told).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::sse::{Event as Message, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use crate::api::Api;
use crate::api::clients::{EventView, behind};
use crate::api::hub::{Hub, Seat};
use crate::api::input::{Asked, unfit};
use crate::api::problem::Problem;
use crate::resource::name::ClientName;
use crate::store::{Store, Stored};

/// Streams at once.
pub const STREAMS_MAX: usize = 16;
/// A stream without news says so this often: middle boxes cut silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(2);
/// Events read at once from the table.
const PAGE: usize = 250;
/// The number a reader got last, as browsers send it when they connect again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which events.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// First the kept events behind this number; else only what happens from now on. `Last-Event-ID` wins over it.
    #[schemars(range(min = 0))]
    after: Option<i64>,
    /// Only events of this client.
    client: Option<String>,
}

/// The data of `gap` and `lagged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamNotice {
    /// The stream goes on, or is to be asked for again, behind this number.
    pub after: i64,
    /// What is the matter, and what to do.
    pub message: String,
}

/// The stream.
pub async fn events(
    State(api): State<Api>,
    headers: HeaderMap,
    Asked(query): Asked<StreamQuery>,
) -> Result<Response, Problem> {
    let client = query
        .client
        .as_deref()
        .map(ClientName::parse)
        .transpose()
        .map_err(|error| unfit(format!("client: {error}")))?;
    let asked = last_event_id(&headers)?.or(behind(query.after)?);
    let busy = || Problem::busy(format!("{STREAMS_MAX} streams are open already; close one"), RECONNECT);
    let place = api.streams.clone().try_acquire_owned().map_err(|_| busy())?;
    let reader = Reader::begin(&api, client, asked, place).await?;
    let messages = unfold(reader, |mut reader| async move {
        let message = reader.next().await?;
        Some((Ok::<_, Infallible>(message), reader))
    });
    // A proxy that collects an answer before it passes it on would hold every event back.
    let headers = [(HeaderName::from_static("x-accel-buffering"), "no"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Sse::new(messages)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(text) = headers.get(LAST_EVENT_ID).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.to_str().ok().and_then(|text| text.parse::<i64>().ok()).filter(|number| *number >= 0);
    number.map(Some).ok_or_else(|| unfit("Last-Event-ID: the number of an event is expected"))
}

/// One stream.
struct Reader {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    client: Option<ClientName>,
    /// Everything up to this number was told, or is of no concern.
    seen: i64,
    ready: VecDeque<Message>,
    phase: Phase,
    closed: watch::Receiver<bool>,
    /// When it has been silent for too long; what does not concern it is silence.
    beat_at: Instant,
    _place: OwnedSemaphorePermit,
}

enum Phase {
    /// Reads the table.
    Replay,
    /// Sat down, and reads what came into the table until then.
    Close(Seat),
    /// Lives on what the hub tells.
    Live(Seat),
    /// Nothing follows.
    Ended,
}

impl Reader {
    async fn begin(
        api: &Api,
        client: Option<ClientName>,
        asked: Option<i64>,
        place: OwnedSemaphorePermit,
    ) -> Result<Reader, Problem> {
        let mut reader = Reader {
            store: api.store.clone(),
            hub: api.hub.clone(),
            client,
            seen: 0,
            ready: [Message::default().retry(RECONNECT).comment("events of sitewright")].into(),
            phase: Phase::Replay,
            closed: api.hub.closed(),
            beat_at: Instant::now() + HEARTBEAT,
            _place: place,
        };
        let newest = api.store.kept_events().await?.map_or(0, |(_, newest)| newest);
        reader.seen = asked.map_or(newest, |asked| asked.min(newest));
        if let Some(asked) = asked.filter(|asked| *asked > newest) {
            let message = format!(
                "the newest event is {newest}, so {asked} is of another state; this goes on from here, look at everything anew"
            );
            reader.ready.push_back(notice("gap", newest, message));
        }
        Ok(reader)
    }

    /// The next message; `None` ends the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if *self.closed.borrow() {
                return None;
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Replay => match self.replay().await {
                    Ok(true) => Phase::Replay,
                    Ok(false) => self.sit_down().await,
                    Err(()) => Phase::Ended,
                },
                Phase::Close(seat) => match self.replay().await {
                    Ok(true) => Phase::Close(seat),
                    Ok(false) => Phase::Live(seat),
                    Err(()) => Phase::Ended,
                },
                Phase::Live(seat) => self.live(seat).await,
                Phase::Ended => return None,
            };
        }
    }

    /// The hub tells what comes from here on; what came between the last page and this is read before that.
    async fn sit_down(&mut self) -> Phase {
        self.stored(self.hub.sit_down().await).map_or(Phase::Ended, Phase::Close)
    }

    /// A page of the table; gives whether there may be more.
    async fn replay(&mut self) -> Result<bool, ()> {
        let page = self.store.events(self.client.as_ref(), self.seen, PAGE).await;
        let page = self.stored(page).ok_or(())?;
        let kept = self.stored(self.store.kept_events().await).ok_or(())?;
        // Asked for after the page: what was let go before it was read is told, at worst of something that did not matter.
        let oldest = kept.map_or(1, |(oldest, _)| oldest).min(page.first().map_or(i64::MAX, |event| event.id));
        if oldest > self.seen + 1 {
            let message =
                format!("events {} to {} are not kept any more; look at everything anew", self.seen + 1, oldest - 1);
            self.seen = oldest - 1;
            self.ready.push_back(notice("gap", self.seen, message));
        }
        let has_more = page.len() == PAGE;
        for event in page {
            self.tell(&event.into());
        }
        Ok(has_more)
    }

    /// The next thing that happens.
    async fn live(&mut self, mut seat: Seat) -> Phase {
        let news = tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => return Phase::Ended,
            news = seat.live.recv() => news,
            () = sleep_until(self.beat_at) => {
                // The number goes along: whoever waits for a quiet client need not ask for all that was between.
                self.ready.push_back(Message::default().comment("beat").id(self.seen.to_string()));
                self.beat_at = Instant::now() + HEARTBEAT;
                return Phase::Live(seat);
            }
        };
        match news {
            Ok(event) if event.id <= self.seen => Phase::Live(seat),
            Ok(event) => {
                let concerns = self.client.as_ref().is_none_or(|name| event.client.as_deref() == Some(name.as_str()));
                if concerns {
                    self.tell(&event)
                } else {
                    self.seen = event.id
                }
                Phase::Live(seat)
            }
            Err(RecvError::Lagged(missed)) => {
                let message = format!(
                    "this reader was too slow, {missed} events and more did not fit its queue; connect again with Last-Event-ID {}, nothing is lost",
                    self.seen
                );
                self.ready.push_back(notice("lagged", self.seen, message));
                Phase::Ended
            }
            Err(RecvError::Closed) => Phase::Ended,
        }
    }

    fn tell(&mut self, event: &EventView) {
        self.seen = event.id;
        self.beat_at = Instant::now() + HEARTBEAT;
        let data = serde_json::to_string(event).unwrap_or_default(); // plain data: always text
        self.ready.push_back(Message::default().id(event.id.to_string()).data(data));
    }

    /// A state that cannot be read ends the stream: the reader connects again, and is told why it cannot be served then.
    fn stored<T>(&self, outcome: Stored<T>) -> Option<T> {
        outcome.inspect_err(|error| tracing::error!(%error, "events cannot be read")).ok()
    }
}

fn notice(name: &str, after: i64, message: String) -> Message {
    let data = serde_json::to_string(&StreamNotice { after, message }).unwrap_or_default(); // plain data: always text
    Message::default().event(name).id(after.to_string()).data(data)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::tests::{face, store};
    use crate::store::{Event, EventKind};

    fn event(message: &str) -> Event {
        Event {
            id: 0,
            at: Timestamp::UNIX_EPOCH,
            client: None,
            kind: EventKind::Normal,
            reason: "Told".into(),
            message: message.into(),
            reconcile: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_while_a_reader_sits_down_is_told_once() {
        let store = store(&[]).await;
        let api = face(store.clone(), None);
        let place = || api.streams.clone().try_acquire_owned().expect("a place");
        // Another one listens, so that the hub is ahead of whoever sits down.
        let mut other = api.hub.sit_down().await.expect("a seat");
        let mut reader = Reader::begin(&api, None, Some(0), place()).await.expect("a reader");
        reader.ready.clear();
        assert_eq!(reader.replay().await, Ok(false), "the table is empty");
        store.append_event(&event("meanwhile")).await.expect("told");
        assert_eq!(other.live.recv().await.map(|event| event.id), Ok(1), "the hub told it already");
        reader.phase = reader.sit_down().await;
        let told = reader.next().await.map(|message| format!("{message:?}")).expect("a message");
        assert!(told.contains("meanwhile"), "{told}");
        store.append_event(&event("after")).await.expect("told");
        let told = reader.next().await.map(|message| format!("{message:?}")).expect("a message");
        assert!(told.contains("after"), "{told}");
        assert_eq!(reader.seen, 2);
    }
}
