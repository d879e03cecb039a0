//! The loop: time, concurrency and the order of effects. Start with `reconciler.rs`.

pub mod absence;
pub mod build_slots;
pub mod clock;
pub mod databases;
pub mod executor;
pub mod fleet;
pub mod known_secrets;
pub mod ledger;
pub mod listings;
pub mod observer;
pub mod options;
pub mod providers;
pub mod queue;
pub mod reconciler;
pub mod records;
pub mod requests;
pub mod running;
pub mod servers;
pub mod shared;
pub mod site_steps;
pub mod told;
pub mod watcher;
pub mod wishes;
pub mod workbench;
