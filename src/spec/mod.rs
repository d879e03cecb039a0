//! WANTED: from the text of a client's file to everything that the client is wanted to be.
//!
//! ```text
//!  bytes ─tree▶ Node ─parse (shape, validate)▶ ClientSpec ─desired (features, environment)▶ Desired
//!                 └────────▶ every Finding of the file, with line and column
//! ```
//!
//! Pure: no files, no clock, no environment. What a spec leaves open comes in as [`defaults::Defaults`] and
//! [`context::Context`].

pub mod change;
pub mod client_spec;
pub mod context;
pub mod defaults;
pub mod desired;
pub mod environment;
pub mod exposed;
pub mod features;
pub mod finding;
pub mod fleet;
pub mod import;
pub mod parse;
pub mod placement;
pub mod quantity;
pub mod schema;
pub mod secret_ref;
pub mod shape;
pub mod tree;
pub mod validate;
