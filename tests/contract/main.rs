//! One suite per trait: on the simulator (or a real server on this machine) always, on the real API when keys are set.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as tests do

mod accounts;
mod broken_lines;
mod budget;
mod cloudflare_raw;
mod database_server;
mod databases;
mod dns;
mod faults;
mod git_heads;
mod hosting;
mod http_client;
mod loopback;
mod mail;
mod outside;
mod ploi_bench;
mod ploi_raw;
mod spoilt_answers;
mod store;
mod world;
