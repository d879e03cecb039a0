//! What any bytes are given to: one entry point a file, with what must hold whatever the bytes are.

pub mod canned;
pub mod cloudflare_answers;
pub mod deploy_script;
pub mod environment_reader;
pub mod environment_renderer;
pub mod http_answers;
pub mod pieces;
pub mod ploi_answers;
pub mod spec_parser;
pub mod virtual_host;

/// A target: its name, which is also the folder of its inputs, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 8] = [
    ("cloudflare_answers", cloudflare_answers::run),
    ("deploy_script", deploy_script::run),
    ("environment_reader", environment_reader::run),
    ("environment_renderer", environment_renderer::run),
    ("http_answers", http_answers::run),
    ("ploi_answers", ploi_answers::run),
    ("spec_parser", spec_parser::run),
    ("virtual_host", virtual_host::run),
];
