//! What is decided: one look and one memory in, the plan's text out.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test that cannot go on says so

mod case;
mod deletion_model;
mod doubt;
mod lost_creates;
mod provision;
mod removal;
mod take_over;
mod update;
