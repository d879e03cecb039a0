//! Values as data lines of a shell script, never as program text.

/// Longest value of one data line in bytes: far above any name, path or command, far below a script's own limit.
pub const WORD_BYTES_MAX: usize = 8 * 1024;

/// Why a text cannot be a data line; shows nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QuoteError(pub String);

/// A text as one single-quoted word of a POSIX shell, on one line: `it's` becomes `'it'\''s'`.
///
/// # Errors
/// A line break or another control character except the tab (a data line is one line), or more than
/// [`WORD_BYTES_MAX`] bytes.
pub fn quote(text: &str) -> Result<String, QuoteError> {
    if text.len() > WORD_BYTES_MAX {
        return Err(QuoteError(format!(
            "a script's data line takes at most {WORD_BYTES_MAX} bytes; shorten the value"
        )));
    }
    let breaks = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(breaks) {
        return Err(QuoteError("a script's data line takes no line break and no control character; remove it".into()));
    }
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

/// One assignment with its newline: `NAME='text'`. The name is part of the program, hence `'static`.
///
/// # Errors
/// As [`quote`].
pub fn data_line(name: &'static str, text: &str) -> Result<String, QuoteError> {
    Ok(format!("{name}={}\n", quote(text)?))
}
