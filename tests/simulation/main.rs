//! Whole lives in one process: the real loop, the real clients and the strict simulators over lines without a network, in
//! virtual time. Every protocol point can be a crash, every call can be lost, late, stale or garbage, and every step is
//! followed by the invariants of safety.

#![allow(clippy::unwrap_used, clippy::expect_used)]

/// A life is mostly small allocations; the system's allocator takes a third of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod accounts;
mod clocks;
mod databases;
mod disks;
mod durable;
mod exhaustive;
mod fate;
mod fights;
mod health;
mod history;
mod invariants;
mod life;
mod line;
mod looks;
mod lost_state;
mod many;
mod moved;
mod panics;
mod planted;
mod rest;
mod retained;
mod seeds;
mod shrunken;
mod starts;
mod visitors;
mod world;
