//! The welcome to a site's first administrator: the address and the password, once, when the site is well.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::notices::Notices;
use crate::controller::site_steps::ADMIN_PASSWORD;
use crate::plan::draft::later;
use crate::provider::error::ProviderError;
use crate::resource::letter::{Letter, LetterEvent};
use crate::resource::name::{ClientName, HostName};
use crate::resource::owned::AdministratorState;
use crate::resource::secret::Secret;
use crate::store::{ClientRecord, Stored};

/// A welcome that could not be sent for so long is left to a person: the key of a mail protects a day alone, and who sends
/// after it may send twice.
const AGE_MAX: Duration = Duration::from_secs(20 * 3600);

/// Whom a welcome is due to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Welcome {
    client: ClientName,
    domain: HostName,
}

impl Notices {
    /// Notes that a client's administrator waits for its welcome.
    pub(super) async fn expect_welcome(&self, record: &ClientRecord, domain: &HostName) {
        if record.owned.welcome_due.is_some() && record.status.is_ready() && self.channels.mail.is_some() {
            let welcome = Welcome { client: record.name.clone(), domain: domain.clone() };
            self.welcomes.lock().insert(welcome);
        }
    }

    /// Sends the welcomes that are due.
    pub(super) async fn welcome(&self, now: Timestamp) -> Stored<()> {
        let due: Vec<Welcome> = self.welcomes.lock().iter().cloned().collect();
        for welcome in due {
            let record = self.store.client(&welcome.client).await?;
            let is_over = match record {
                Some(record) => self.welcome_one(&record, &welcome.domain, now).await?,
                None => true,
            };
            if is_over {
                self.welcomes.lock().remove(&welcome);
            }
        }
        Ok(())
    }

    /// Whether nothing is left to do about it.
    async fn welcome_one(&self, record: &ClientRecord, domain: &HostName, now: Timestamp) -> Stored<bool> {
        let uid = record.owned.mark.uid.clone();
        let was_sent = self.book.lock().await.as_ref().is_some_and(|book| book.welcomed.contains(&uid));
        let (Some(due), AdministratorState::Made { email }) = (record.owned.welcome_due, &record.owned.administrator)
        else {
            return Ok(true);
        };
        let Some(password) = record.secrets.get(ADMIN_PASSWORD).filter(|_| !was_sent) else { return Ok(true) };
        let letter = Letter {
            key: format!("welcome/{uid}"),
            to: vec![email.clone()],
            subject: format!("{domain} is live"),
            text: Secret::new(format!(
                "Your site https://{domain} is live.\n\nSign in at https://{domain}/admin\nLogin: {email}\nPassword: {}\n\nPlease change the password after the first sign-in.\n",
                password.expose()
            )),
            event: LetterEvent::Welcome,
        };
        let sent = self.mail(&letter).await;
        let is_late = later(due, AGE_MAX) <= now;
        if let Err(error) = &sent
            && !is_late
        {
            tracing::warn!(client = %record.name, %error, "the welcome did not go out; it is sent again");
            return Ok(false);
        }
        self.change(|book, _| {
            book.welcomed.insert(uid);
        })
        .await?;
        self.tell_welcome(record, email, sent.err(), now).await?;
        Ok(true)
    }

    async fn tell_welcome(
        &self,
        record: &ClientRecord,
        email: &str,
        failure: Option<ProviderError>,
        now: Timestamp,
    ) -> Stored<()> {
        let (reason, message) = match failure {
            None => ("WelcomeSent", format!("{email} was welcomed by mail")),
            Some(error) => (
                "WelcomeNotSent",
                format!(
                    "{email} was not welcomed ({error}); `sitewright secret {} admin` shows the password",
                    record.name
                ),
            ),
        };
        self.event(now, Some(&record.name), reason, &message).await
    }
}
