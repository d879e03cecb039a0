//! Logs: one subscriber for the process, text for people and JSON for collectors, without control characters.
//!
//! Messages hold names and words of other people's servers; what could move a terminal's cursor or forge a line is
//! replaced before it is written.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::LogFormat;

/// Longest log record, in bytes; more is cut, so that no answer of a server fills a disk.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Why logs could not be set up, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("the log filter `{filter}` is not understood ({problem}); write it like `info` or `sitewright=debug,info`")]
    Filter {
        /// As given.
        filter: String,
        /// The parser's words.
        problem: String,
    },
    /// Somebody set logs up before.
    #[error("logs are set up already; call this once")]
    Twice(#[from] TryInitError),
}

/// Sets logs up for the whole process, to stderr. `format` `None`: text where stderr is a terminal, else JSON.
/// Colours are left out where `NO_COLOR` asks for it or stderr is no terminal.
///
/// # Errors
/// The filter is not understood, or logs are set up already.
pub fn init(filter: &str, format: Option<LogFormat>) -> Result<(), TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let writer = Clean::new(io::stderr);
    let registry = tracing_subscriber::registry().with(parse_filter(filter)?);
    match format {
        LogFormat::Text => {
            let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour).with_target(false);
            registry.with(layer).try_init()?;
        }
        LogFormat::Json => {
            let layer =
                tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).with_ansi(false);
            registry.with(layer).try_init()?;
        }
    }
    Ok(())
}

/// Reads a filter as `RUST_LOG` has it.
///
/// # Errors
/// It is not understood.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: clean(filter), problem: clean(&error.to_string()) })
}

/// The text with every control character replaced, but for tabs.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A writer that takes one record at a time and passes it on as one harmless line.
#[derive(Clone)]
pub struct Clean<W> {
    inner: Arc<W>,
}

impl<W> Clean<W> {
    /// Around the maker of the real writer.
    pub fn new(inner: W) -> Self {
        Clean { inner: Arc::new(inner) }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Clean<W> {
    type Writer = Record<W::Writer>;
    fn make_writer(&'a self) -> Self::Writer {
        Record { inner: self.inner.make_writer(), held: Vec::new() }
    }
}

/// Holds one record until it is complete.
pub struct Record<W: Write> {
    inner: W,
    held: Vec<u8>,
}

impl<W: Write> Write for Record<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = RECORD_BYTES_MAX.saturating_sub(self.held.len());
        self.held.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for Record<W> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.held);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.is_empty() {
            return;
        }
        // A log that cannot be written has nowhere to say so.
        let _ = self.inner.write_all(colour_or_clean(line).as_bytes()).and_then(|()| self.inner.write_all(b"\n"));
    }
}

/// Cleans a record and keeps the formatter's own colours: `ESC [ digits m`, which moves nothing. A message cannot bring
/// any of its own, because the formatter escapes the escape character in what it is given.
fn colour_or_clean(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let colour = rest.strip_prefix("\u{1b}[").and_then(|tail| {
            let end = tail.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            tail.get(end..)?.starts_with('m').then_some(end + 3)
        });
        let taken = colour.unwrap_or(c.len_utf8());
        match (colour, rest.get(..taken)) {
            (Some(_), Some(sequence)) => out.push_str(sequence),
            _ if is_harmful(c) => out.push('\u{fffd}'),
            _ => out.push(c),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}
