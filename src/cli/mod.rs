//! FACE 2: the command line. One file per command; data on stdout, messages on stderr (interface 4).

pub mod approve;
pub mod audit;
pub mod completion;
pub mod config;
pub mod daemon;
pub mod deletions;
pub mod demo;
pub mod deploy;
pub mod deployments;
pub mod describe;
pub mod doctor;
pub mod events;
pub mod forget;
pub mod import;
pub mod logs;
pub mod orphans;
pub mod pause;
pub mod plan;
pub mod progress;
pub mod reconcile;
pub mod request;
pub mod rollback;
pub mod run;
pub mod schema;
pub mod secret;
pub mod service;
pub mod session;
pub mod sim;
pub mod status;
pub mod terminal;
pub mod validate;
pub mod wait;
pub mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::session::{Flags, Session};

/// The largest exit code of a wrong usage: `EX_USAGE` of sysexits.
const WRONG_USAGE: u8 = 64;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// Failed, and the command said why: 1.
    Failed,
    /// There is something to do: 2, of `plan --detailed-exitcode` alone.
    Changes,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::FAILURE,
            Exit::Changes => ExitCode::from(2),
        }
    }
}

/// A directory of client files, made true and kept true.
#[derive(Debug, Parser)]
#[command(
    name = "sitewright",
    version,
    about = "A directory of client files, made true and kept true",
    after_help = "Exit codes: 0 done, 1 failed, 2 something to do (plan --detailed-exitcode alone), 64 wrong usage.\nFirst steps: `sitewright demo` shows the whole loop on simulators; no account is needed.",
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole loop on simulators: no account is needed, nothing outside this machine is touched
    Demo(demo::Args),
    /// The daemon: makes the directory true and keeps it true
    Run(run::Args),
    /// Check spec files; no credential is needed
    Validate(validate::Args),
    /// Observe and print what would happen; writes nothing
    Plan(plan::Args),
    /// How the clients stand, and in one sentence why
    Status(status::Args),
    /// Everything that is known of one client
    Describe(describe::Args),
    /// Wait until a client is ready, has a condition, or is gone
    Wait(wait::Args),
    /// What happened
    Events(events::Args),
    /// Every deploy that is remembered
    Deployments(deployments::Args),
    /// What a deploy printed
    Logs(logs::Args),
    /// Every write to a provider, before and after
    Audit(audit::Args),
    /// Look at a client now, without waiting for its next time
    Reconcile(reconcile::Args),
    /// Deploy a client once more
    Deploy(deploy::Args),
    /// Serve an earlier release, whatever the branch says
    Rollback(rollback::Args),
    /// Write nothing for a client, or for all, until resumed
    Pause(pause::PauseArgs),
    /// Go on after a pause
    Resume(pause::ResumeArgs),
    /// What waits to be deleted and when, what is held, what is kept
    Deletions(deletions::Args),
    /// Release a held set of removals by its hash
    Approve(approve::Args),
    /// End a removal that is stuck, naming what is left behind
    Forget(forget::Args),
    /// What carries this installation's mark and belongs to no client
    Orphans(orphans::Args),
    /// Write specs for sites that exist already, to take them over without a write
    Import(import::Args),
    /// Show a client's first administrator password once, on a terminal
    Secret(secret::Args),
    /// Check each credential, permission and limit, and say what to fix
    Doctor(doctor::Args),
    /// Every setting with its origin, secrets masked
    Config(config::Args),
    /// The JSON Schema of a spec
    Schema,
    /// Completion for a shell
    Completion(completion::Args),
    /// The simulators alone, on loopback; prints the variables that point `run` at them
    Sim(sim::Args),
}

/// Runs one command line; `argv` begins with the program's name.
pub async fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print(); // nobody is left to tell
            return if wrong { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        // These two read no settings: a broken one must not keep an editor or a shell from its help.
        Command::Schema => return schema::run(),
        Command::Completion(args) => return completion::run(&args),
        _ => {}
    }
    let Some(session) = Session::load(&cli.flags) else { return Ok(Exit::Failed) };
    match cli.command {
        Command::Demo(args) => demo::run(&session, &args).await,
        Command::Run(args) => run::run(&session, &args).await,
        Command::Validate(args) => validate::run(&session, &args),
        Command::Plan(args) => plan::run(&session, &args).await,
        Command::Status(args) => status::run(&session, &args).await,
        Command::Describe(args) => describe::run(&session, &args).await,
        Command::Wait(args) => wait::run(&session, &args).await,
        Command::Events(args) => events::run(&session, &args).await,
        Command::Deployments(args) => deployments::run(&session, &args).await,
        Command::Logs(args) => logs::run(&session, &args).await,
        Command::Audit(args) => audit::run(&session, &args).await,
        Command::Reconcile(args) => reconcile::run(&session, &args).await,
        Command::Deploy(args) => deploy::run(&session, &args).await,
        Command::Rollback(args) => rollback::run(&session, &args).await,
        Command::Pause(args) => pause::pause(&session, &args).await,
        Command::Resume(args) => pause::resume(&session, &args).await,
        Command::Deletions(args) => deletions::run(&session, &args).await,
        Command::Approve(args) => approve::run(&session, &args).await,
        Command::Forget(args) => forget::run(&session, &args).await,
        Command::Orphans(args) => orphans::run(&session, &args).await,
        Command::Import(args) => import::run(&session, &args).await,
        Command::Secret(args) => secret::run(&session, &args).await,
        Command::Doctor(args) => doctor::run(&session, &args).await,
        Command::Config(args) => config::run(&session, &args),
        Command::Schema => schema::run(),
        Command::Completion(args) => completion::run(&args),
        Command::Sim(args) => sim::run(&session, &args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_commands_is_sound() {
        super::Cli::command().debug_assert();
    }
}
