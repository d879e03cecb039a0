//! `doctor`: checks each credential, permission and limit, and says what to fix. Reads only.

mod local;
mod remote;

use serde::Serialize;

use crate::app::{self, Access};
use crate::cli::Exit;
use crate::cli::session::Session;
use crate::cli::terminal::{self, BOLD, DIM, Format, GREEN, RED, YELLOW, paint};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::cli::doctor) struct Check {
    area: &'static str,
    verdict: Verdict,
    message: String,
    /// What to do.
    fix: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli::doctor) enum Verdict {
    /// As it should be.
    Good,
    /// Works, and could be better.
    Warning,
    /// Does not work.
    Bad,
    /// Not configured, so not looked at.
    Skipped,
}

impl Check {
    pub(in crate::cli::doctor) fn good(area: &'static str, message: impl Into<String>) -> Self {
        Check { area, verdict: Verdict::Good, message: message.into(), fix: None }
    }

    pub(in crate::cli::doctor) fn warning(
        area: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Check { area, verdict: Verdict::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    pub(in crate::cli::doctor) fn bad(area: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Check { area, verdict: Verdict::Bad, message: message.into(), fix: Some(fix.into()) }
    }

    pub(in crate::cli::doctor) fn skipped(
        area: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Check { area, verdict: Verdict::Skipped, message: message.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything; exit 1 where something does not work.
///
/// # Errors
/// Stdout cannot be written.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let mut checks = local::checks(session).await;
    let opened = match session.store(Access::Look).await {
        Ok(store) => app::open(session.settings(), Access::Look).await.map(|app| (app, store)),
        Err(error) => Err(error),
    };
    match opened {
        Ok((app, store)) => checks.extend(remote::checks(&app, &*store).await),
        Err(error) => {
            checks.push(Check::bad("providers", format!("{error:#}"), "mend the setting that the message names"));
        }
    }
    let report = Report { ok: checks.iter().all(|check| check.verdict != Verdict::Bad), checks };
    terminal::print_data(args.output, &report, || text(&report))?;
    Ok(if report.ok { Exit::Done } else { Exit::Failed })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut area = "";
    for check in &report.checks {
        if check.area != area {
            out.push_str(&format!("{}\n", paint(BOLD, check.area)));
            area = check.area;
        }
        let sign = match check.verdict {
            Verdict::Good => paint(GREEN, "✓"),
            Verdict::Warning => paint(YELLOW, "!"),
            Verdict::Bad => paint(RED, "✗"),
            Verdict::Skipped => paint(DIM, "-"),
        };
        out.push_str(&format!("  {sign} {}\n", terminal::one_line(&check.message)));
        if let Some(fix) = &check.fix {
            out.push_str(&format!("    {}\n", paint(DIM, format_args!("fix: {}", terminal::one_line(fix)))));
        }
    }
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    out.push_str(&format!(
        "\n{} good, {} could be better, {} to fix, {} not configured\n",
        count(Verdict::Good),
        count(Verdict::Warning),
        count(Verdict::Bad),
        count(Verdict::Skipped)
    ));
    out
}
