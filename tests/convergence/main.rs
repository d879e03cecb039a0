//! Whole loop: the real binary against simulators and a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api_errors;
mod bad_files;
mod canaries;
mod conflicts;
mod converged_fleet;
mod directory;
mod endings;
mod imported;
mod kill_points;
mod kills;
mod lagging;
mod life;
mod metrics;
mod moved;
mod notices;
mod one_client;
mod one_of_everything;
mod orphans;
mod random_fleet;
mod random_kills;
mod reference;
mod restarts;
mod rig;
mod single_change;
mod sql_proxy;
mod strangers;
