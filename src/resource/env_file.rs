//! The environment of a site as a file that Node's dotenv and a POSIX shell read alike (interface 2, decisions 22).

use std::collections::BTreeMap;

use crate::resource::secret::{Digest, DigestKey, Secret};

/// Longest value in bytes: Linux hands a program no single `NAME=value` beyond 131072 bytes.
pub const VALUE_BYTES_MAX: usize = 128 * 1024 - VARIABLE_BYTES_MAX - 2;
/// Longest name of a variable in bytes: longer ones are mistakes, and the pair must fit one argument string.
pub const VARIABLE_BYTES_MAX: usize = 255;
/// Longest file in bytes: a quarter of the 2 MiB that Linux leaves for all arguments and variables of a program.
pub const FILE_BYTES_MAX: usize = 512 * 1024;
/// Most variables of one file: ten times what a client has today.
pub const VARIABLES_MAX: usize = 2_000;

/// Names that a shell sets, refuses or computes by itself, so that no file carries a value through them.
const SHELL_OWN: &[&str] = &[
    "_",
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "BASH_ALIASES",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_CMDS",
    "BASH_COMMAND",
    "BASH_COMPAT",
    "BASH_ENV",
    "BASH_EXECUTION_STRING",
    "BASH_LINENO",
    "BASH_LOADABLES_PATH",
    "BASH_REMATCH",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_VERSINFO",
    "BASH_VERSION",
    "BASH_XTRACEFD",
    "CDPATH",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "FUNCNEST",
    "GLOBIGNORE",
    "GROUPS",
    "HISTCMD",
    "HOME",
    "IFS",
    "LINENO",
    "MAILCHECK",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "TIMEFORMAT",
    "UID",
];

/// One value; secret ones never show in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// May be printed.
    Plain(String),
    /// May not.
    Secret(Secret),
}

impl EnvValue {
    /// The text, for rendering.
    pub fn expose(&self) -> &str {
        match self {
            EnvValue::Plain(text) => text,
            EnvValue::Secret(secret) => secret.expose(),
        }
    }
}

/// All variables of one site, sorted by name.
pub type Environment = BTreeMap<String, EnvValue>;

/// Why a value cannot be written so that both readers read the same; shows the variable, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct EnvError {
    /// The variable.
    pub variable: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl EnvError {
    pub(in crate::resource) fn new(variable: &str, problem: impl Into<String>) -> Self {
        // A name may be anything here, so it is cut and made printable before a person sees it.
        let variable: String = variable.chars().take(80).flat_map(char::escape_default).collect();
        EnvError { variable, problem: problem.into() }
    }
}

/// Says whether a variable survives both readers (interface 2, decisions 22). The name is checked too:
/// `[A-Z_][A-Z0-9_]*`, and none that the shell keeps for itself.
///
/// # Errors
/// What is wrong and what to do, without anything of the value.
pub fn check(variable: &str, value: &EnvValue) -> Result<(), EnvError> {
    check_name(variable)?;
    match problem_of(value.expose()) {
        Some(problem) => Err(EnvError::new(variable, problem)),
        None => Ok(()),
    }
}

fn check_name(variable: &str) -> Result<(), EnvError> {
    let shape = (1..=VARIABLE_BYTES_MAX).contains(&variable.len())
        && !variable.starts_with(|c: char| c.is_ascii_digit())
        && variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if !shape {
        return Err(EnvError::new(
            variable,
            format!(
                "a variable is named with 1 to {VARIABLE_BYTES_MAX} capitals, digits and underscores and does not begin with a digit; rename it"
            ),
        ));
    }
    if SHELL_OWN.contains(&variable) {
        return Err(EnvError::new(variable, "the shell keeps this name for itself; choose another one"));
    }
    Ok(())
}

fn problem_of(text: &str) -> Option<String> {
    if text.len() > VALUE_BYTES_MAX {
        return Some(format!("the value is longer than {VALUE_BYTES_MAX} bytes; put it in a file of the site instead"));
    }
    let spoils = |c: char| c.is_control() && c != '\n' && c != '\t';
    if let Some(found) = text.chars().find(|c| spoils(*c)) {
        let name = match found {
            '\0' => "a NUL".to_owned(),
            '\r' => "a carriage return".to_owned(),
            other => format!("the control character U+{:04X}", u32::from(other)),
        };
        return Some(format!(
            "the value holds {name}, which not every reader keeps; remove it or encode the value as base64"
        ));
    }
    if text.ends_with('\\') {
        return Some(
            "the value ends with a backslash, which dotenv takes for an escaped quote; encode it as base64".into(),
        );
    }
    let both = text.contains('\'') && text.contains(['"', '$', '`', '\\']);
    both.then(|| {
        "the value holds a single quote together with a double quote, a dollar sign, a backtick or a backslash, and no quoting carries both through; encode it as base64 (in JSON write the single quote as \\u0027)".into()
    })
}

/// The file: sorted, `NAME='value'`, in double quotes where the value holds a single quote; each ends with a newline.
///
/// # Errors
/// The first variable that [`check`] refuses, or that makes the file longer than [`FILE_BYTES_MAX`] or
/// [`VARIABLES_MAX`].
pub fn render(environment: &Environment) -> Result<Secret, EnvError> {
    let mut text = String::new();
    for (position, (variable, value)) in environment.iter().enumerate() {
        check(variable, value)?;
        let value = value.expose();
        let quote = if value.contains('\'') { '"' } else { '\'' };
        let line = [variable.as_str(), "=", value].concat();
        if position >= VARIABLES_MAX || text.len() + line.len() + 3 > FILE_BYTES_MAX {
            return Err(EnvError::new(
                variable,
                format!(
                    "with it the environment exceeds {VARIABLES_MAX} variables or {FILE_BYTES_MAX} bytes; remove some"
                ),
            ));
        }
        text.push_str(variable);
        text.push('=');
        text.push(quote);
        text.push_str(value);
        text.push(quote);
        text.push('\n');
    }
    Ok(Secret::new(text))
}

/// A JSON value as text that [`render`] accepts: compact, with `'` as `\u0027` (decisions 22).
pub fn json(value: &serde_json::Value) -> String {
    value.to_string().replace('\'', "\\u0027")
}

/// Reads a file back: what [`render`] wrote exactly, and leniently what people and other tools write (comments,
/// `export`, no quotes, backtick quotes, CRLF, escapes in double quotes). A line that is no assignment is passed over;
/// the last assignment of a name counts. Reads at most [`FILE_BYTES_MAX`] bytes and [`VARIABLES_MAX`] variables.
pub fn parse(text: &str) -> BTreeMap<String, Secret> {
    let mut end = text.len().min(FILE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default().replace("\r\n", "\n");
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut found = BTreeMap::new();
    while !rest.is_empty() && found.len() < VARIABLES_MAX {
        let line = rest.split('\n').next().unwrap_or_default();
        let after_line = rest.get(line.len() + 1..).unwrap_or_default();
        let Some((name, tail)) = assignment(rest, line) else {
            rest = after_line;
            continue;
        };
        let (value, left) = value(tail);
        found.insert(name.to_owned(), Secret::new(value));
        rest = left;
    }
    found
}

/// The name that `line` assigns to, and everything of `rest` behind the `=`.
fn assignment<'a>(rest: &'a str, line: &'a str) -> Option<(&'a str, &'a str)> {
    let (head, _) = line.split_once('=')?;
    let bare = head.trim();
    let name = bare.strip_prefix("export").filter(|after| after.starts_with([' ', '\t'])).map_or(bare, str::trim);
    let shape = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    shape.then(|| rest.get(head.len() + 1..).map(|tail| (name, tail))).flatten()
}

/// One value and what follows its line.
fn value(tail: &str) -> (String, &str) {
    let start = tail.trim_start_matches([' ', '\t']);
    let quoted = match start.chars().next() {
        Some('"') => double_quoted(start),
        Some(quote @ ('\'' | '`')) => raw_quoted(start, quote),
        _ => None,
    };
    if let Some((value, after)) = quoted {
        let line_end = after.find('\n').map_or(after.len(), |at| at + 1);
        return (value, after.get(line_end..).unwrap_or_default());
    }
    let line = tail.split('\n').next().unwrap_or_default();
    let left = tail.get(line.len() + 1..).unwrap_or_default();
    let comment = line.char_indices().find(|(at, c)| {
        *c == '#' && line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    });
    let bare = comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line);
    (bare.trim().to_owned(), left)
}

/// Between two quotes nothing is special, except the shell's way to write the quote itself: `'\''`.
fn raw_quoted(start: &str, quote: char) -> Option<(String, &str)> {
    let again: String = [quote, '\\', quote, quote].iter().collect();
    let mut rest = start.strip_prefix(quote)?;
    let mut value = String::new();
    loop {
        let at = rest.find(quote)?;
        value.push_str(rest.get(..at)?);
        let tail = rest.get(at..)?;
        match tail.strip_prefix(again.as_str()) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return Some((value, tail.get(1..)?)),
        }
    }
}

/// Double quotes: `\n` as dotenv means it, and the shell's `\"`, `\\`, `\$` and `` \` ``.
fn double_quoted(start: &str) -> Option<(String, &str)> {
    let body = start.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, body.get(at + 1..)?)),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, special @ ('"' | '\\' | '$' | '`'))) => value.push(special),
                Some((_, other)) => value.extend(['\\', other]),
                None => return None,
            },
            other => value.push(other),
        }
    }
    None
}

/// The digest of a whole environment, from the digests of its values: order, comments and quoting do not count.
pub fn digest_of(values: &BTreeMap<String, Digest>, key: &DigestKey) -> Digest {
    let lines: Vec<String> = values.iter().map(|(name, digest)| format!("{name}={}", digest.as_str())).collect();
    key.digest(lines.join("\n").as_bytes())
}
