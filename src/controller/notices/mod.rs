//! Notices: who has to know what, by mail and by webhook. A pass says how its client stands; this room decides whether that
//! is news, writes it down, and sends it until somebody took it.

pub mod book;
mod digest;
mod problems;
mod welcome;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::controller::absence::Absences;
use crate::controller::clock::Clock;
use crate::controller::fleet::{DIRECTORY, FILES};
use crate::controller::notices::book::{Book, Notice, Way, Ways};
use crate::controller::notices::problems::{of_client, of_installation};
use crate::controller::notices::welcome::Welcome;
use crate::controller::recovery::Recovery;
use crate::provider::{Answer, Hook, Mail};
use crate::resource::letter::{Letter, LetterEvent};
use crate::resource::name::{ClientName, HostName, Instance};
use crate::resource::secret::Secret;
use crate::spec::client_spec::ClientSpec;
use crate::status::Phase;
use crate::store::{ClientRecord, Event, EventKind, Store, Stored};

/// The document of the book.
pub const NOTICES: &str = "notices";
/// How often the book is looked through.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who is told, and by what.
#[derive(Clone, Default)]
pub struct Channels {
    /// Sends mail.
    pub mail: Option<Arc<dyn Mail>>,
    /// Takes a text.
    pub hook: Option<Arc<dyn Hook>>,
    /// Operators.
    pub operators: Vec<String>,
    /// When, in UTC, the daily digest is written; `None`: never.
    pub digest_at: Option<jiff::civil::Time>,
}

/// The room.
pub struct Notices {
    channels: Channels,
    instance: Instance,
    store: Arc<dyn Store>,
    clock: Clock,
    book: Mutex<Option<Book>>,
    welcomes: parking_lot::Mutex<BTreeSet<Welcome>>,
}

impl Notices {
    /// Over the state.
    pub fn new(channels: Channels, instance: Instance, store: Arc<dyn Store>, clock: Clock) -> Self {
        Notices { channels, instance, store, clock, book: Mutex::default(), welcomes: parking_lot::Mutex::default() }
    }

    fn ways(&self) -> Ways {
        Ways { mail: self.channels.mail.is_some(), webhook: self.channels.hook.is_some() }
    }

    fn is_silent(&self) -> bool {
        self.ways() == Ways::default()
    }

    /// How a client stands after a pass.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn see(&self, record: &ClientRecord, spec: &ClientSpec, domain: Option<&HostName>) -> Stored<()> {
        let is_left_alone = matches!(record.status.phase, Phase::Paused | Phase::Suspended);
        if is_left_alone || record.owned.removal.is_some() {
            return self.forget(&record.name).await; // on purpose: neither a problem nor its end
        }
        let now = self.clock.now();
        if let Some(domain) = domain {
            self.expect_welcome(record, domain).await;
        }
        let problems = of_client(record, now);
        if problems.is_empty() && !self.concerns(&record.name).await? {
            return Ok(()); // well, as before
        }
        let further = spec.spec.notify.email.iter().map(ToString::to_string);
        let mut to = self.channels.operators.clone();
        to.extend(further.filter(|address| !self.channels.operators.contains(address)));
        self.change(|book, ways| {
            book.see(Some(&record.name), &problems, &to, now);
            book.settle(Some(&record.name), &problems, ways, now);
        })
        .await
    }

    /// A client is gone.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn forget(&self, client: &ClientName) -> Stored<()> {
        if !self.concerns(client).await? {
            return Ok(());
        }
        self.change(|book, _| book.forget(client)).await
    }

    async fn concerns(&self, client: &ClientName) -> Stored<bool> {
        if self.is_silent() {
            return Ok(false);
        }
        let mut held = self.book.lock().await;
        if held.is_none() {
            *held = Some(self.stored().await?);
        }
        Ok(held.as_ref().is_some_and(|book| book.concerns(Some(client))))
    }

    /// Changes the book and writes it down where it changed.
    async fn change(&self, change: impl FnOnce(&mut Book, &Ways)) -> Stored<()> {
        if self.is_silent() {
            return Ok(());
        }
        let mut held = self.book.lock().await;
        let before = match held.take() {
            Some(book) => book,
            None => self.stored().await?,
        };
        let mut book = before.clone();
        change(&mut book, &self.ways());
        if book != before {
            self.store.put_document(NOTICES, serde_json::to_value(&book).ok().as_ref()).await?;
        }
        *held = Some(book);
        Ok(())
    }

    async fn stored(&self) -> Stored<Book> {
        let value = self.store.document(NOTICES).await?;
        Ok(value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// Looks the book through again and again. Ends never by itself.
    pub async fn serve(&self) {
        if self.is_silent() {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.turn().await {
                tracing::error!(%error, "notices cannot be written down; they are looked through again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// One turn: the installation is looked at, what is due is written, what is written is sent.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn turn(&self) -> Stored<()> {
        if self.is_silent() {
            return Ok(());
        }
        let now = self.clock.now();
        let installation = self.installation().await?;
        let to = &self.channels.operators;
        self.change(|book, ways| {
            book.see(None, &installation, to, now);
            book.settle(None, &installation, ways, now);
            book.tell(ways, now);
        })
        .await?;
        self.write_digest(now).await?;
        self.welcome(now).await?;
        let outgoing = self.book.lock().await.as_ref().map(|book| book.outgoing(now)).unwrap_or_default();
        for notice in outgoing {
            self.send(&notice).await?;
        }
        Ok(())
    }

    async fn installation(&self) -> Stored<Vec<book::Problem>> {
        let directory: Option<String> = self.document(DIRECTORY).await?;
        let files: Vec<serde_json::Value> = self.document(FILES).await?.unwrap_or_default();
        let recovery = Recovery::load(&*self.store).await?;
        let held = Absences::load(&*self.store).await?.held;
        Ok(of_installation(directory.as_deref(), files.len(), recovery.as_ref(), held.as_ref()))
    }

    async fn document<T: serde::de::DeserializeOwned>(&self, key: &str) -> Stored<Option<T>> {
        Ok(self.store.document(key).await?.and_then(|value| serde_json::from_value(value).ok()))
    }

    async fn send(&self, notice: &Notice) -> Stored<()> {
        let sent = match &notice.way {
            Way::Mail(to) => {
                self.mail(&Letter {
                    // With its time: after a lost state the numbers begin anew.
                    key: format!("{}/{}/{}/{}", notice.event.word(), self.instance, notice.id, notice.at.as_second()),
                    to: to.clone(),
                    subject: notice.subject.clone(),
                    text: Secret::new(notice.text.clone()),
                    event: notice.event,
                })
                .await
            }
            Way::Webhook => match &self.channels.hook {
                Some(hook) => hook.post(&format!("*{}*\n{}", notice.subject, notice.text)).await,
                None => Ok(()),
            },
        };
        let now = self.clock.now();
        match sent {
            Ok(()) => self.change(|book, _| book.done(notice.id)).await,
            Err(error) => {
                tracing::warn!(subject = notice.subject, %error, "a notice did not go out; it is sent again");
                let mut dropped = error.is_permanent() && notice.event == LetterEvent::Digest;
                self.change(|book, _| dropped |= book.failed(notice.id, now)).await?;
                if dropped {
                    self.change(|book, _| book.done(notice.id)).await?;
                    self.event(now, None, "NoticeDropped", &format!("`{}` did not go out: {error}", notice.subject))
                        .await?;
                }
                Ok(())
            }
        }
    }

    async fn mail(&self, letter: &Letter) -> Answer<()> {
        match &self.channels.mail {
            Some(mail) => mail.post(letter).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn event(&self, now: Timestamp, client: Option<&ClientName>, reason: &str, message: &str) -> Stored<()> {
        let kind = if reason == "WelcomeSent" { EventKind::Normal } else { EventKind::Warning };
        let event = Event {
            id: 0,
            at: now,
            client: client.cloned(),
            kind,
            reason: reason.into(),
            message: message.into(),
            reconcile: None,
        };
        self.store.append_event(&event).await.map(|_| ())
    }
}
