//! `secret CLIENT admin`: shows the first administrator's password once, on a terminal, audited (decisions 24).

use anyhow::bail;
use clap::ValueEnum;

use crate::cli::request::about;
use crate::cli::session::{self, Session};
use crate::cli::{Exit, terminal};
use crate::controller::site_steps::ADMIN_PASSWORD;
use crate::resource::owned::AdministratorState;
use crate::store::{ClientRecord, Event, EventKind};

/// Arguments of `secret`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// Which secret
    #[arg(value_enum)]
    which: Which,
}

/// A secret that may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The first administrator's password
    Admin,
}

/// Shows it, after the audit was written; never a second time, never into a pipe.
///
/// # Errors
/// The state cannot be used; there is no such client, no such password, or nobody at a terminal.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let Which::Admin = args.which;
    let (store, name) = about(session, &args.client).await?;
    if !terminal::stdout_is_terminal() {
        bail!("a password is shown on a terminal alone, where no pipe or log keeps it; run this at one");
    }
    let record = session::record(&*store, &name).await?;
    let email = login(&record)?;
    let Some(password) = record.secrets.get(ADMIN_PASSWORD) else {
        bail!("the state holds no administrator password of {name}; reset it in the site's own administration");
    };
    let shown = format!("shown/{}/{ADMIN_PASSWORD}", record.owned.mark.uid);
    if let Some(at) = store.document(&shown).await? {
        let at = at.as_str().unwrap_or("an earlier time").to_owned();
        bail!("this password was shown at {at} and is not shown again; reset it in the site's own administration");
    }
    let question = format!("The password of {} is shown once. Show it now? [y/N]", terminal::one_line(&email));
    if !session.yes && !terminal::confirmed(&question, "say --yes to show the password")? {
        return Ok(Exit::Failed);
    }
    let now = session::now();
    // Audited first: a password that was seen without a trace is worse than one that was not seen.
    store.put_document(&shown, Some(&serde_json::json!(format!("{now:.0}")))).await?;
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "somebody".into());
    let event = Event {
        id: 0,
        at: now,
        client: Some(name),
        kind: EventKind::Warning,
        reason: "SecretShown".into(),
        message: format!("{} was shown the first administrator's password", terminal::one_line(&who)),
        reconcile: None,
    };
    store.append_event(&event).await?;
    terminal::say(&format!("login:    {}", terminal::one_line(&email)));
    terminal::print(&format!("{}\n", password.expose()))?;
    Ok(Exit::Done)
}

fn login(record: &ClientRecord) -> anyhow::Result<String> {
    let name = &record.name;
    match &record.owned.administrator {
        AdministratorState::Made { email } => Ok(email.clone()),
        AdministratorState::NotMade | AdministratorState::Sent => {
            bail!("the administrator of {name} is not made yet; `sitewright wait {name} --for AdminReady` tells when")
        }
        AdministratorState::AlreadyThere | AdministratorState::Taken => {
            bail!("the administrator of {name} was not made by us, so its password is not known here")
        }
    }
}
