//! Thrown lives.
