//! The HTTP interface over its real listener and a state on the disk: who is let in, what is answered, what streams tell.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken_requests;
mod document;
mod gate;
mod provisioning;
mod raw;
mod reading;
mod rig;
mod streams;
mod writing;
