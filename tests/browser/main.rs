//! The dashboard in a real browser: the real binary, simulators, a real PostgreSQL, Chromium under its driver. Skipped aloud
//! where no browser is found. Pictures of every page go to `target/tmp/screenshots`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on says so

mod acting;
mod driver;
mod figures;
mod looks;
#[allow(dead_code)] // the rig of the whole loop has more than these tests need
#[path = "../convergence/rig.rs"]
mod rig;
mod wizard;

use std::time::{Duration, Instant};

use crate::driver::Browser;
use crate::rig::{Daemon, Rig};

/// The token that a person types.
const TOKEN: &str = "typed-once-0123456789";

/// A running daemon with its dashboard in a window.
struct Desk {
    browser: Browser,
    _daemon: Daemon,
    rig: Rig,
}

impl Desk {
    /// Starts the daemon over what the rig's directory holds already.
    async fn open(mut rig: Rig) -> Desk {
        rig.set("SITEWRIGHT_LISTEN", "127.0.0.1:0");
        rig.set("SITEWRIGHT_API_TOKEN", TOKEN);
        rig.set("SITEWRIGHT_DASHBOARD_SAVE", "true");
        let daemon = rig.daemon();
        let browser = Browser::open(&address(&rig).await).await;
        browser.scheme("light").await;
        Desk { browser, _daemon: daemon, rig }
    }

    /// A mark on the document: it is gone after a reload.
    async fn mark(&self) {
        self.browser.run("window.untouched = true").await;
    }

    async fn assert_not_reloaded(&self) {
        assert_eq!(self.browser.run("return window.untouched").await, true, "the page was loaded anew");
    }

    /// Answers the question for the token.
    async fn give_token(&self) {
        self.browser.until("the token is asked for", "document.querySelector('#key').open").await;
        self.browser.fill("#key-text", TOKEN).await;
        self.browser.click("#key button.primary").await;
    }
}

/// The address that the daemon says it serves.
async fn address(rig: &Rig) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let log = std::fs::read_to_string(rig.path("daemon.log")).unwrap_or_default();
        let said = log.split("dashboard: http://").nth(1).and_then(|rest| rest.split_once('/'));
        if let Some((host, _)) = said {
            return format!("http://{host}");
        }
        assert!(Instant::now() < deadline, "the daemon names no address:\n{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
