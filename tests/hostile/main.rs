//! Hostile values in everything that is rendered for another language: refused, or without any change to its syntax tree.
//!
//! Variables: `SITEWRIGHT_HOSTILE` (renderings of each kind), `SITEWRIGHT_HOSTILE_SEED` (of the first; each next one has
//! the next).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bash;
mod env_file;
mod sql;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;

/// Renderings of each of the four kinds; optimised, together two hundred thousand.
const RENDERINGS: u64 = if cfg!(debug_assertions) { 1_000 } else { 50_000 };

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Renders again and again; `render` says whether the values were accepted, and at least the given percentage must be,
/// or the property says little. A failure tells how to see it again.
pub fn renderings(name: &str, accepted_percent_min: u64, mut render: impl FnMut(&mut Rng) -> bool) {
    let first = variable("SITEWRIGHT_HOSTILE_SEED").unwrap_or(0);
    let count = variable("SITEWRIGHT_HOSTILE").unwrap_or(RENDERINGS);
    let mut accepted = 0;
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        match catch_unwind(AssertUnwindSafe(|| render(&mut Rng::with_seed(seed)))) {
            Ok(taken) => accepted += u64::from(taken),
            Err(panic) => {
                eprintln!(
                    "again: SITEWRIGHT_HOSTILE_SEED={seed} SITEWRIGHT_HOSTILE=1 cargo test --test hostile {name}"
                );
                resume_unwind(panic);
            }
        }
    }
    println!("{name}: {count} renderings from seed {first}, {accepted} accepted");
    assert!(count < 100 || accepted * 100 >= count * accepted_percent_min, "only {accepted} of {count} were accepted");
}
