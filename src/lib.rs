//! Sitewright: a directory of client files, made true and kept true.
//!
//! ```text
//!  specs/*.yaml ──watch──▶ name ──▶ queue ──▶ reconcile(name)
//!    spec:     text ─▶ ClientSpec ─▶ Desired ┐
//!    observer: account listings   ─▶ Observed ├─▶ plan() ─▶ Plan { actions, waiting, refused }
//!    store:    owned, allocations ─▶ Owned    ┘              │
//!    executor: intent ─▶ provider call ─▶ recorded outcome ◀─┘ ─▶ status: conditions, one sentence
//! ```
//!
//! Floors, imports go downwards only, no circle (held by `tests/architecture.rs`):
//!
//! ```text
//!  main > cli > app, api > controller > store > { spec | plan | provider | status } > resource, config, telemetry
//! ```
//!
//! Architecture invariants:
//! * `spec`, `plan`, `provider` and `status` are strangers to one another; they share `resource` alone.
//! * `resource`, `spec`, `plan` and `status` are pure: no async, files, environment, clock, network or randomness.
//! * Only `controller/executor.rs` calls a method that changes the outside world.
//! * Only `app.rs` knows which providers exist.
//! * Nothing is imported through the crate root; always by path.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod controller;
pub mod plan;
pub mod provider;
pub mod resource;
pub mod spec;
pub mod status;
pub mod store;
pub mod telemetry;
