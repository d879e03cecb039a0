//! The book of notices: what is open, since when, who was told, and what still has to be sent. It decides from the state of
//! things, not from their changes: a crash loses no notice, and whatever flaps within its delay is never told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::draft::{growing, later};
use crate::resource::letter::LetterEvent;
use crate::resource::name::{ClientName, Uid};

/// First pause before a reminder; it grows four-fold, up to a day.
const REMINDER_FIRST: Duration = Duration::from_secs(3600);
/// Longest pause between reminders.
const REMINDER_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Growth of the pause.
const REMINDER_GROWTH: u32 = 4;
/// First pause before a notice that could not be sent is sent again; it doubles.
const RESEND_FIRST: Duration = Duration::from_secs(10);
/// Longest pause between two tries: a used-up daily quota is asked about once an hour.
const RESEND_LONGEST: Duration = Duration::from_secs(3600);
/// A notice that could not be sent for so long is dropped: nobody needs it any more, and a mail's key protects a day.
const OUTBOX_AGE_MAX: Duration = Duration::from_secs(20 * 3600);
/// Notices that wait to be sent; beyond it the oldest go.
pub const OUTBOX_MAX: usize = 500;

/// Something that people have to know, while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The condition, or what of the installation: `Stalled`, `Directory`.
    pub condition: &'static str,
    /// CamelCase. Another reason is another problem.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// What ends sooner is not told.
    pub delay: Duration,
}

/// Whom and what it is about: the text is no part of it, or each new number in it would be news.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Topic {
    /// `None`: the installation.
    pub client: Option<ClientName>,
    /// The condition.
    pub condition: String,
    /// The reason.
    pub reason: String,
}

/// A problem that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    topic: Topic,
    since: Timestamp,
    message: String,
    due: Timestamp,
    told: u32,
    to: Vec<String>,
}

/// A notice on its way. What it says is fixed when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Number within the installation.
    pub id: u64,
    /// What it is about.
    pub event: LetterEvent,
    /// The way.
    pub way: Way,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// When it was written.
    pub at: Timestamp,
    /// When it is sent, or sent again.
    pub due: Timestamp,
    /// Tries that failed.
    pub failures: u32,
}

/// How a notice goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Mail to these.
    Mail(Vec<String>),
    /// The webhook.
    Webhook,
}

/// Which ways there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// Whether mail can be sent.
    pub mail: bool,
    /// Whether there is a webhook.
    pub webhook: bool,
}

/// The book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Book {
    next_id: u64,
    open: Vec<Open>,
    outbox: Vec<Notice>,
    /// Incarnations whose administrator was welcomed, or is left to a person.
    #[serde(default)]
    pub welcomed: BTreeSet<Uid>,
    /// The day, in UTC, whose digest was written last.
    pub digest_of: Option<jiff::civil::Date>,
}

impl Book {
    /// What is wrong now with one client, or with the installation; `to` are the addresses.
    pub fn see(&mut self, client: Option<&ClientName>, problems: &[Problem], to: &[String], now: Timestamp) {
        for problem in problems {
            let topic = Topic {
                client: client.cloned(),
                condition: problem.condition.to_owned(),
                reason: problem.reason.clone(),
            };
            match self.open.iter_mut().find(|open| open.topic == topic) {
                Some(open) => {
                    open.message.clone_from(&problem.message);
                    to.clone_into(&mut open.to);
                }
                None => self.open.push(Open {
                    topic,
                    since: now,
                    message: problem.message.clone(),
                    due: later(now, problem.delay),
                    told: 0,
                    to: to.to_vec(),
                }),
            }
        }
    }

    /// Ends what is over of one client, or of the installation; who was told of it is told that it is well again. A problem
    /// that only changed its reason is not over.
    pub fn settle(&mut self, client: Option<&ClientName>, problems: &[Problem], ways: &Ways, now: Timestamp) {
        let (mut ended, mut rest) = (Vec::new(), Vec::new());
        for open in self.open.drain(..) {
            let is_of = open.topic.client.as_ref() == client;
            let lasts = |p: &Problem| p.condition == open.topic.condition && p.reason == open.topic.reason;
            if is_of && !problems.iter().any(lasts) { ended.push(open) } else { rest.push(open) }
        }
        self.open = rest;
        for open in ended {
            let goes_on = problems.iter().any(|problem| problem.condition == open.topic.condition);
            if open.told > 0 && !goes_on {
                let lasted = humantime::format_duration(Duration::from_secs(
                    now.duration_since(open.since).as_secs().unsigned_abs(),
                ));
                let subject = format!("{}: {} is over", whom(&open.topic), open.topic.reason);
                let text = format!("It is well again after {lasted}. It was:\n\n{}\n", open.message);
                self.write(LetterEvent::Recovery, subject, text, &open.to, ways, now);
            }
        }
    }

    /// Whether anything is open of one client, or of the installation.
    pub fn concerns(&self, client: Option<&ClientName>) -> bool {
        self.open.iter().any(|open| open.topic.client.as_ref() == client)
    }

    /// Forgets a client that is gone.
    pub fn forget(&mut self, client: &ClientName) {
        self.open.retain(|open| open.topic.client.as_ref() != Some(client));
    }

    /// Writes what is due: first notices after their delay, reminders at growing pauses.
    pub fn tell(&mut self, ways: &Ways, now: Timestamp) {
        let mut due: Vec<Open> = self.open.iter().filter(|open| open.due <= now).cloned().collect();
        for open in &mut due {
            let again = if open.told > 0 { " (reminder)" } else { "" };
            let subject = format!("{}: {}{again}", whom(&open.topic), open.topic.reason);
            let text = format!("{}\n\nSince {:.0}. {}\n", open.message, open.since, way_out(&open.topic));
            self.write(LetterEvent::Problem, subject, text, &open.to, ways, now);
        }
        for open in self.open.iter_mut().filter(|open| open.due <= now) {
            let pause = REMINDER_FIRST.saturating_mul(REMINDER_GROWTH.saturating_pow(open.told)).min(REMINDER_LONGEST);
            open.due = later(now, pause);
            open.told = open.told.saturating_add(1);
        }
    }

    /// Writes one notice for each way there is.
    pub fn write(
        &mut self,
        event: LetterEvent,
        subject: String,
        text: String,
        to: &[String],
        ways: &Ways,
        now: Timestamp,
    ) {
        let mail = (ways.mail && !to.is_empty()).then(|| Way::Mail(to.to_vec()));
        let hook = ways.webhook.then_some(Way::Webhook);
        for way in mail.into_iter().chain(hook) {
            self.next_id += 1;
            let (id, subject, text) = (self.next_id, subject.clone(), text.clone());
            self.outbox.push(Notice { id, event, way, subject, text, at: now, due: now, failures: 0 });
        }
        self.outbox.drain(..self.outbox.len().saturating_sub(OUTBOX_MAX));
    }

    /// What is sent now, oldest first.
    pub fn outgoing(&self, now: Timestamp) -> Vec<Notice> {
        self.outbox.iter().filter(|notice| notice.due <= now).cloned().collect()
    }

    /// A notice went out, or nobody will ever take it.
    pub fn done(&mut self, id: u64) {
        self.outbox.retain(|notice| notice.id != id);
    }

    /// A notice did not go out; gives whether it was dropped for its age.
    pub fn failed(&mut self, id: u64, now: Timestamp) -> bool {
        let Some(notice) = self.outbox.iter_mut().find(|notice| notice.id == id) else { return false };
        notice.failures = notice.failures.saturating_add(1);
        notice.due = later(now, growing(RESEND_FIRST, notice.failures, RESEND_LONGEST));
        let is_old = later(notice.at, OUTBOX_AGE_MAX) <= now;
        if is_old {
            self.done(id);
        }
        is_old
    }

    /// Open problems by what they are about, for people: since when, and how often they were told.
    pub fn open(&self) -> BTreeMap<Topic, (Timestamp, u32)> {
        self.open.iter().map(|open| (open.topic.clone(), (open.since, open.told))).collect()
    }
}

fn whom(topic: &Topic) -> String {
    topic.client.as_ref().map_or_else(|| "Sitewright".to_owned(), ToString::to_string)
}

fn way_out(topic: &Topic) -> String {
    match &topic.client {
        Some(client) => format!("`sitewright describe {client}` shows all that is known."),
        None => "`sitewright status` shows all that is known.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const BOTH: Ways = Ways { mail: true, webhook: true };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minutes).unwrap()
    }

    fn shop() -> ClientName {
        ClientName::trusted("shop")
    }

    fn stalled(reason: &str, message: &str) -> Problem {
        Problem { condition: "Stalled", reason: reason.into(), message: message.into(), delay: MINUTE }
    }

    /// Looks each minute from the first to the last; gives the subjects of what was written, per way.
    fn look(book: &mut Book, problems: &[Problem], minutes: std::ops::RangeInclusive<i64>) -> Vec<String> {
        let to = ["ops@agency.example".to_owned()];
        let mut said = Vec::new();
        for minute in minutes {
            book.see(Some(&shop()), problems, &to, at(minute));
            book.settle(Some(&shop()), problems, &BOTH, at(minute));
            book.tell(&BOTH, at(minute));
            for notice in book.outgoing(at(minute)) {
                said.push(format!("{minute} {}", notice.subject));
                book.done(notice.id);
            }
        }
        said
    }

    #[test]
    fn a_problem_is_told_after_its_delay_reminded_of_at_growing_pauses_and_its_end_told() {
        let mut book = Book::default();
        let bad = [stalled("CredentialRefused", "the token was refused at 12:00")];
        let said = look(&mut book, &bad, 0..=1_000);
        let expected = [
            "1 shop: CredentialRefused",
            "61 shop: CredentialRefused (reminder)",
            "301 shop: CredentialRefused (reminder)",
        ];
        assert_eq!(
            said.iter().step_by(2).map(String::as_str).collect::<Vec<_>>(),
            expected,
            "once by mail, once by webhook"
        );
        let over = look(&mut book, &[], 1_001..=2_000);
        assert_eq!(over.iter().step_by(2).collect::<Vec<_>>(), ["1001 shop: CredentialRefused is over"]);
        assert!(book.open().is_empty());
    }

    #[test]
    fn what_flaps_within_its_delay_is_never_told_and_another_text_is_no_news() {
        let mut book = Book::default();
        for minute in 0..60 {
            let bad = [stalled("CredentialRefused", "gone")];
            let problems = if minute % 2 == 0 { &bad[..] } else { &[] };
            assert_eq!(look(&mut book, problems, minute..=minute), [""; 0]);
        }
        let mut told = 0;
        for minute in 60..120 {
            let bad = [stalled("Failed", &format!("tried {minute} times"))];
            told += look(&mut book, &bad, minute..=minute).len();
        }
        assert_eq!(told, 2, "one mail and one message of the webhook");
    }

    #[test]
    fn another_reason_is_told_and_the_change_is_no_recovery() {
        let mut book = Book::default();
        look(&mut book, &[stalled("Failed", "one")], 0..=2);
        let said = look(&mut book, &[stalled("TimedOut", "two")], 3..=10);
        assert_eq!(said.iter().step_by(2).collect::<Vec<_>>(), ["4 shop: TimedOut"]);
        book.forget(&shop());
        assert_eq!(look(&mut book, &[], 11..=20), [""; 0], "nobody is told that a client that is gone is well");
    }

    #[test]
    fn what_cannot_be_sent_waits_longer_each_time_and_is_dropped_in_the_end() {
        let mut book = Book::default();
        let to = ["ops@agency.example".to_owned()];
        book.write(LetterEvent::Digest, "s".into(), "t".into(), &to, &Ways { mail: true, webhook: false }, at(0));
        let (mut tries, mut dropped) = (0, false);
        for minute in 0..3_000 {
            for notice in book.outgoing(at(minute)) {
                tries += 1;
                dropped |= book.failed(notice.id, at(minute));
            }
        }
        assert!(dropped && (20..50).contains(&tries), "{tries}");
        assert!(book.outgoing(at(10_000)).is_empty());
    }
}
