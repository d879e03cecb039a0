//! One thing that is wrong with a file, where, and what to do; and the rule which lines may be shown.

use std::fmt;

use serde::Serialize;

/// Longest part of an offending line that is shown, in characters; more does not fit a terminal.
pub const SOURCE_LINE_CHARS_MAX: usize = 160;
/// Longest message in characters: a value that is repeated in one may be as long as its file.
const MESSAGE_CHARS_MAX: usize = 500;
/// A known word is suggested when at most a third of its characters differ, and never more than this many.
pub const EDIT_DISTANCE_MAX: usize = 3;
/// How a finding about a key that nobody knows begins; only the key is shown of its line, for its value may be a secret
/// under a misspelt name.
pub const UNKNOWN_KEY: &str = "unknown key";
/// Words in a line that make it one which may hold a secret; it is not shown then.
const TELLTALES: [&str; 9] =
    ["environment", "secret", "password", "passwd", "token", "private", "credential", "apikey", "api_key"];

/// A place in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The first character.
    pub const START: Position = Position { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The member it is about: `spec.dns.records[1].ttl`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what was expected; never a value that may be secret.
    pub message: String,
    /// The offending line; `None` where it may hold a secret or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Finding {
    /// A finding without its line; [`show_lines`] adds that. A value in the message is shown without what steers a
    /// terminal.
    pub fn at(position: Position, path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding {
            line: position.line,
            column: position.column,
            path: path.into(),
            message: printable(&message.into(), MESSAGE_CHARS_MAX),
            source_line: None,
            help: None,
        }
    }

    /// With what to do.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// `file:line:column: message`, then the line with a mark under the column, then what to do.
    pub fn render(&self, file: &str) -> String {
        let mut text = format!("{file}:{}:{}: {self}", self.line, self.column);
        if let Some(line) = &self.source_line {
            let number = self.line.to_string();
            let pad: String =
                line.chars().take(self.column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            text.push_str(&format!("\n  {number} | {line}\n  {} | {pad}^", " ".repeat(number.len())));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("\n  help: {help}"));
        }
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// A finding of a fleet, with its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Located {
    /// The file, as it was named to us.
    pub file: String,
    /// What is wrong.
    #[serde(flatten)]
    pub finding: Finding,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.render(&self.file))
    }
}

/// Gives every finding its line of the text, where that line can hold no secret.
pub fn show_lines(text: &str, findings: &mut [Finding]) {
    let last = findings.iter().map(|finding| finding.line).max().unwrap_or(0);
    let guarded = guarded_lines(text, last);
    let lines: Vec<&str> = text.lines().take(last).collect();
    for finding in findings {
        let index = finding.line.saturating_sub(1);
        let Some(line) = lines.get(index).filter(|line| !line.trim().is_empty()) else { continue };
        let below_secret = ["spec.environment", "secretRef", "urlFrom"].iter().any(|part| finding.path.contains(part));
        let guarded = below_secret || guarded.get(index).copied().unwrap_or(true);
        finding.source_line = if guarded {
            // A place without a path is one where the text is not understood: nothing of the line is safe then.
            key_alone(line, finding.column).filter(|_| !finding.path.is_empty())
        } else if finding.message.starts_with(UNKNOWN_KEY) {
            up_to_key(line, finding.column)
        } else {
            Some(printable(line, SOURCE_LINE_CHARS_MAX))
        };
    }
}

/// The line up to the key that stands at the column, or whose value begins there; `None` where more than one key and
/// its value could show.
fn key_alone(line: &str, column: usize) -> Option<String> {
    let head: String = line.chars().take(column.saturating_sub(1)).collect();
    let bare = head.trim().trim_start_matches("- ");
    let word =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\''));
    if bare.is_empty() || bare == "-" {
        let rest: String = line.chars().skip(head.chars().count()).collect();
        let (key, _) = rest.split_once(':')?;
        return word(key.trim()).then(|| printable(&format!("{head}{key}: …"), SOURCE_LINE_CHARS_MAX));
    }
    bare.strip_suffix(':').filter(|key| word(key)).map(|_| printable(&format!("{head}…"), SOURCE_LINE_CHARS_MAX))
}

/// The line with what stands before a key, and the key, without its value.
fn up_to_key(line: &str, column: usize) -> Option<String> {
    let before = column.saturating_sub(1);
    let rest: String = line.chars().skip(before).collect();
    let key = rest.split(':').next()?;
    let shown = format!("{}{key}: …", line.chars().take(before).collect::<String>());
    Some(printable(&shown, SOURCE_LINE_CHARS_MAX))
}

/// Lines that may hold a secret: those below an `environment` or `secretRef` key, and those with a telltale word.
/// Works on broken YAML too, so it goes by indentation and errs on the side of hiding.
fn guarded_lines(text: &str, last: usize) -> Vec<bool> {
    let mut inside: Option<usize> = None;
    text.lines()
        .take(last)
        .map(|line| {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let key_like = trimmed.starts_with(|c: char| c.is_ascii_lowercase()) && trimmed.contains(':');
            if inside.is_some_and(|outer| indent <= outer && key_like) {
                inside = None;
            }
            let lower = trimmed.to_ascii_lowercase();
            let telltale = TELLTALES.iter().any(|word| lower.contains(word));
            // A misspelt `environment` hides its block as well.
            let near =
                |word: &str| (8..=14).contains(&word.len()) && distance(word, "environment") <= EDIT_DISTANCE_MAX;
            let opens = lower.split(|c: char| !c.is_ascii_alphanumeric()).any(near);
            if inside.is_none() && (telltale || opens) {
                inside = Some(indent);
            }
            inside.is_some() || telltale || opens
        })
        .collect()
}

/// The text on one line without hidden characters, cut.
fn printable(text: &str, chars_max: usize) -> String {
    let mut shown: String =
        text.chars().take(chars_max).map(|c| if is_hidden(c) && c != '\t' { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that change how a text is shown without being seen: controls and the direction overrides of Unicode.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// The known word that a text was probably meant to be.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = text.to_ascii_lowercase();
    known
        .into_iter()
        .map(|word| (distance(&folded, &word.to_ascii_lowercase()), word))
        .filter(|(far, word)| *far <= EDIT_DISTANCE_MAX.min(word.chars().count().div_ceil(3)))
        .min()
        .map(|(_, word)| word)
}

/// Number of insertions, deletions, substitutions and swaps of neighbours between two texts; texts whose lengths differ
/// by more than [`EDIT_DISTANCE_MAX`] are simply far, so a long text costs nothing.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 4 * EDIT_DISTANCE_MAX {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0usize; (a.len() + 1) * width];
    for (row, cell) in table.iter_mut().step_by(width).enumerate() {
        *cell = row;
    }
    for (column, cell) in table.iter_mut().take(width).enumerate() {
        *cell = column;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let here = i * width + j;
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (table[here - width] + 1).min(table[here - 1] + 1).min(table[here - width - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(table[here - 2 * width - 2] + 1);
            }
            table[here] = best;
        }
    }
    table.last().copied().unwrap_or(0)
}
