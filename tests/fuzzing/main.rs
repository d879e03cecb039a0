//! Any bytes at every door that takes them from outside: a bounded, seeded run of what `cargo-fuzz` runs without end.
//!
//! Variables: `SITEWRIGHT_FUZZ` (inputs of each target), `SITEWRIGHT_FUZZ_SEED` (of the first; each next one has the
//! next), `SITEWRIGHT_FUZZ_TIME=1` (measures each input and prints the slowest).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use peak_alloc::PeakAlloc;
use targets::Target;

/// Counts what one input takes.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most memory that one input may take.
const MEMORY_MAX: usize = 32 << 20;
/// Inputs of each target; optimised, together two million.
const INPUTS: u64 = if cfg!(debug_assertions) { 2_000 } else { 250_000 };

/// One target at a time: what others take would count as its own.
static TURN: Mutex<()> = Mutex::new(());

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The realistic inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests/fuzzing/corpus").join(name)];
    if name == "spec_parser" {
        folders.extend([root.join("specs"), root.join("tests/spec/fixtures")]);
    }
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(files.len() >= 3, "{name} begins with {} inputs", files.len());
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Runs one input; a panic or too much memory tells how to see it again.
fn tried((name, run): Target, input: &[u8], seed: &str) -> Duration {
    let again = || {
        format!(
            "{name}, seed {seed}: b\"{}\"\nagain: SITEWRIGHT_FUZZ_SEED={seed} SITEWRIGHT_FUZZ=1 cargo test --test fuzzing {name}",
            input.escape_ascii()
        )
    };
    MEMORY.reset_peak_usage();
    let (before, started) = (MEMORY.current_usage(), Instant::now());
    let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
    let (took, peak) = (started.elapsed(), MEMORY.peak_usage().saturating_sub(before));
    if let Err(panic) = outcome {
        eprintln!("{}", again());
        resume_unwind(panic);
    }
    assert!(peak <= MEMORY_MAX, "{peak} bytes of memory for {} of input\n{}", input.len(), again());
    took
}

fn fuzz(name: &str) {
    let _turn = TURN.lock();
    let target = *targets::ALL.iter().find(|(target, _)| *target == name).unwrap();
    let corpus = corpus(name);
    for (at, input) in corpus.iter().enumerate() {
        tried(target, input, &format!("(file {at})"));
    }
    let first = variable("SITEWRIGHT_FUZZ_SEED").unwrap_or(0);
    let (started, mut slowest) = (Instant::now(), (Duration::ZERO, first, 0));
    let inputs = variable("SITEWRIGHT_FUZZ").unwrap_or(INPUTS);
    for seed in (0..inputs).map(|number| first.wrapping_add(number)) {
        let input = mutate::input(&corpus, seed);
        let mut took = tried(target, &input, &seed.to_string());
        if took > slowest.0 {
            // Once more: a machine that does something else is slow too.
            took = took.min(tried(target, &input, &seed.to_string()));
        }
        slowest = slowest.max((took, seed, input.len()));
    }
    println!("{name}: {inputs} inputs from seed {first}");
    if variable("SITEWRIGHT_FUZZ_TIME").is_some() {
        let (took, seed, length) = slowest;
        println!("{name}: {:.1?} in all, the slowest {took:.1?}: seed {seed}, {length} bytes", started.elapsed());
    }
}

macro_rules! each {
    ($($name:ident)*) => { $(#[test] fn $name() { fuzz(stringify!($name)); })* };
}
each! {
    cloudflare_answers deploy_script environment_reader environment_renderer
    http_answers ploi_answers spec_parser virtual_host
}

#[test]
fn every_target_has_its_test_and_its_continuous_twin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzzing/cargo-fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let tests = include_str!("main.rs").split("each! {").nth(1).unwrap();
    for (name, _) in targets::ALL {
        assert!(tests.contains(name), "{name} has no test");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
        let twin = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(twin.contains(&format!("targets::{name}::run")), "{name} runs another target");
    }
}
