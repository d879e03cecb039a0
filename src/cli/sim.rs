//! `sim`: the simulators alone, on loopback; prints the variables that point `run` at them.

use crate::app::simulation::{self, SimulatorOptions};
use crate::cli::session::Session;
use crate::cli::{Exit, run, terminal};
use crate::provider::world::serve::Ports;

/// Arguments of `sim`. Zones and repositories that the specs directory (`--specs`) names exist in the simulation.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port of Ploi's API on 127.0.0.1; 0: any, here and below
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    ploi: u16,
    /// Port of Cloudflare's API
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    cloudflare: u16,
    /// Port of the Git host's API
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    git: u16,
    /// Port of the mail provider
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    mail: u16,
    /// Port of the name server
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    dns: u16,
    /// Port of the sites' HTTPS edge
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    https: u16,
    /// Port of the sites' plain HTTP edge
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    http: u16,
    /// Port at which faults are set and the world is changed by hand
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    control: u16,
    /// A further zone of the DNS account; may be given several times
    #[arg(long = "zone", value_name = "NAME")]
    zones: Vec<String>,
    /// Ploi's limit, calls a minute; 0: the largest plan's
    #[arg(long, value_name = "CALLS", default_value_t = 0)]
    ploi_limit: u32,
}

/// Serves them until Ctrl-C.
///
/// # Errors
/// A port is taken.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let settings = session.settings();
    let simulators = simulation::serve(&SimulatorOptions {
        ports: Ports {
            ploi: args.ploi,
            cloudflare: args.cloudflare,
            git: args.git,
            mail: args.mail,
            dns: args.dns,
            https: args.https,
            http: args.http,
            control: args.control,
        },
        specs: Some(settings.specs.clone()),
        base_domain: settings.base_domain.clone(),
        zones: args.zones.clone(),
        directory: simulation::directory(settings),
        ploi_limit: args.ploi_limit,
    })
    .await?;
    let lines: String = simulators.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    terminal::print(&lines)?;
    terminal::say(&format!(
        "simulators are served; faults and changes by hand: http://{}/; Ctrl-C ends them",
        simulators.control
    ));
    run::stop_signal().await?;
    drop(simulators.servers);
    Ok(Exit::Done)
}
