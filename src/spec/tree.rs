//! Bytes to a tree with positions, within fixed limits: the one place that meets hostile YAML.
//!
//! The YAML package reads values well but stops at its first error; the tree is read from the same package's events, so
//! that every error of a file can be told at once. Nothing here knows what a spec is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};

use crate::spec::finding::{Finding, Position, is_hidden};

/// Largest file, in bytes: the reference spec has 2 KiB; a hundredfold leaves room for long settings.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Most values in a file, aliases counted as what they stand for: the reference spec has about 100.
pub const NODES_MAX: usize = 10_000;
/// Deepest nesting: the schema needs 6; the rest is for `spec.settings`.
pub const DEPTH_MAX: usize = 32;
/// Most uses of anchors: they are a convenience for a handful of repeated values.
pub const ALIASES_MAX: usize = 100;
/// Most text, in bytes, after aliases were replaced by what they stand for: four times a whole file.
pub const TEXT_BYTES_MAX: usize = 4 * FILE_BYTES_MAX;
/// Most findings reported for one file: more help nobody.
pub const FINDINGS_MAX: usize = 100;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is written (an alias: where it is used).
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A value as YAML's core schema reads it; numbers and booleans keep their text.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(String),
    /// Another number.
    Float(String),
    /// A text; quotes make anything one.
    Text(String),
    /// A list.
    List(Vec<Rc<Node>>),
    /// A map; keys are unique.
    Map(Vec<Entry>),
}

impl Value {
    /// What it is, for people.
    pub fn word(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key is written.
    pub at: Position,
    /// The value.
    pub value: Rc<Node>,
}

impl Node {
    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_ref()),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The text of a file: within the size, UTF-8, without its byte order mark and without hidden characters.
pub fn text(bytes: &[u8]) -> Result<&str, Finding> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; a spec has at most {FILE_BYTES_MAX}", bytes.len());
        return Err(Finding::at(Position::START, "", message).with_help("split off what is not part of the spec"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let position = end_of(std::str::from_utf8(good).unwrap_or_default());
            return Err(Finding::at(position, "", "the file is not UTF-8 from here on").with_help("save it as UTF-8"));
        }
    };
    let hidden = text.char_indices().find(|(_, c)| is_hidden(*c) && !matches!(c, '\n' | '\r' | '\t'));
    match hidden {
        Some((index, c)) => {
            let position = end_of(text.get(..index).unwrap_or_default());
            let message = format!("the character U+{:04X} is not allowed: it cannot be seen", u32::from(c));
            Err(Finding::at(position, "", message).with_help("remove it, or write it as an escape in double quotes"))
        }
        None => Ok(text),
    }
}

fn end_of(text: &str) -> Position {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position { line: text.matches('\n').count() + 1, column: last.trim_start_matches('\u{feff}').chars().count() + 1 }
}

/// The tree of a text, and what is wrong with it as YAML; `None` where no tree could be made.
pub fn read(text: &str) -> (Option<Rc<Node>>, Vec<Finding>) {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, position(span.start)),
            Err(error) => Err(syntax(&error)),
        };
        if let Err(fatal) = outcome {
            builder.findings.push(*fatal);
            return (None, builder.findings);
        }
        if builder.findings.len() >= FINDINGS_MAX {
            return (None, builder.findings);
        }
    }
    if builder.root.is_none() && builder.findings.is_empty() {
        builder.findings.push(Finding::at(Position::START, "", "the file holds nothing; a ClientSpec is expected"));
    }
    (builder.root, builder.findings)
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn syntax(error: &serde_yaml::granit_parser::ScanError) -> Box<Finding> {
    let at = position(*error.marker());
    let message = error.info().lines().next().unwrap_or_default().to_owned();
    let message = match message.as_str() {
        "" => "this is not YAML".to_owned(),
        words => format!("this is not YAML: {words}"),
    };
    let help = "check the indentation, the quotes and the brackets at and above this line";
    Box::new(Finding::at(at, "", message).with_help(help))
}

/// What an anchor stands for, with its cost.
#[derive(Clone)]
struct Anchored {
    node: Rc<Node>,
    nodes: usize,
    bytes: usize,
}

/// An open list or map.
struct Frame {
    at: Position,
    anchor: usize,
    nodes_before: usize,
    bytes_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, lines: BTreeMap<String, usize>, key: Option<(String, Position)> },
}

#[derive(Default)]
struct Builder {
    root: Option<Rc<Node>>,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    documents: usize,
    nodes: usize,
    bytes: usize,
    aliases: usize,
    findings: Vec<Finding>,
}

type Step = Result<(), Box<Finding>>;

fn fatal<T>(at: Position, message: String, help: &str) -> Result<T, Box<Finding>> {
    Err(Box::new(Finding::at(at, "", message).with_help(help)))
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Position) -> Step {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fatal(
                        at,
                        "a second document begins here; one file is one client".into(),
                        "make a file of it",
                    );
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag, at);
                self.spend(1, text.len(), at)?;
                let value = resolve(text, style);
                self.put(Rc::new(Node { at, value }), anchor, 1, at)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(anchor, tag, at, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                self.open(anchor, tag, at, Content::Map { entries: Vec::new(), lines: BTreeMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, at),
            _ => Ok(()),
        }
    }

    /// Counts values and text against the limits.
    fn spend(&mut self, nodes: usize, bytes: usize, at: Position) -> Step {
        self.nodes += nodes;
        self.bytes += bytes;
        let help = "write less, or put large data where the site can fetch it";
        if self.nodes > NODES_MAX {
            return fatal(at, format!("the file holds more than {NODES_MAX} values, aliases included"), help);
        }
        if self.bytes > TEXT_BYTES_MAX {
            return fatal(
                at,
                format!("the file holds more than {TEXT_BYTES_MAX} bytes of text, aliases included"),
                help,
            );
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: Option<Cow<'_, Tag>>, at: Position) {
        if tag.is_some() {
            self.findings.push(Finding::at(at, "", "a YAML tag is not allowed here").with_help("remove the `!` word"));
        }
    }

    fn open(&mut self, anchor: usize, tag: Option<Cow<'_, Tag>>, at: Position, content: Content) -> Step {
        self.refuse_tag(tag, at);
        if self.frames.len() >= DEPTH_MAX {
            let message = format!("values are nested deeper than {DEPTH_MAX} levels");
            return fatal(at, message, "flatten the structure");
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.spend(1, 0, at)?;
        self.frames.push(Frame { at, anchor, nodes_before, bytes_before, content });
        Ok(())
    }

    fn close(&mut self) -> Step {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let node = Rc::new(Node { at: frame.at, value });
        if frame.anchor != 0 {
            let (nodes, bytes) = (self.nodes - frame.nodes_before, self.bytes - frame.bytes_before);
            self.anchors.insert(frame.anchor, Anchored { node: node.clone(), nodes, bytes });
        }
        self.attach(node)
    }

    fn put(&mut self, node: Rc<Node>, anchor: usize, nodes: usize, at: Position) -> Step {
        if anchor != 0 {
            let bytes = node.text().map_or(0, str::len);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes });
        }
        debug_assert_eq!(node.at, at);
        self.attach(node)
    }

    fn alias(&mut self, id: usize, at: Position) -> Step {
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            return fatal(at, format!("more than {ALIASES_MAX} aliases are used"), "write the values out");
        }
        let Some(target) = self.anchors.get(&id).cloned() else {
            return fatal(at, "this alias stands for a value that contains it".into(), "write the value out");
        };
        self.spend(target.nodes, target.bytes, at)?;
        self.attach(Rc::new(Node { at, value: target.node.value.clone() }))
    }

    /// Gives a finished value to the list or map that is open, or makes it the root.
    fn attach(&mut self, node: Rc<Node>) -> Step {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, lines, key } => match key.take() {
                None => *key = Some(key_text(&node, &mut self.findings)),
                Some((key, at)) => match lines.get(&key) {
                    Some(first) => {
                        let message = format!("`{}` is there already, in line {first}", shown_key(&key));
                        self.findings.push(Finding::at(at, "", message).with_help("keep one of the two"));
                    }
                    None => {
                        lines.insert(key.clone(), at.line);
                        entries.push(Entry { key, at, value: node });
                    }
                },
            },
        }
        Ok(())
    }
}

/// Longest key that is shown whole, in characters.
const KEY_CHARS_SHOWN: usize = 60;

/// A key as messages show it.
pub fn shown_key(key: &str) -> String {
    let mut shown: String =
        key.chars().take(KEY_CHARS_SHOWN).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect();
    if key.chars().nth(KEY_CHARS_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn key_text(node: &Node, findings: &mut Vec<Finding>) -> (String, Position) {
    let text = match &node.value {
        Value::Text(text) => {
            if text == "<<" {
                let help = "write the members out, or use an alias for the whole value";
                findings.push(Finding::at(node.at, "", "the merge key `<<` is not supported").with_help(help));
            }
            text.clone()
        }
        other => {
            let message = format!("a key is a text, this is {}", other.word());
            findings.push(Finding::at(node.at, "", message).with_help("put the key in quotes"));
            // A name that no other key has, so that no duplicate is reported on top.
            format!("\u{0}{}:{}", node.at.line, node.at.column)
        }
    };
    (text, node.at)
}

/// The core schema of YAML 1.2 with the number forms that the YAML package reads; quotes make a text.
fn resolve(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.into_owned());
    }
    match text.as_ref() {
        "" | "~" => return Value::Null,
        word if word.eq_ignore_ascii_case("null") => return Value::Null,
        word if word.eq_ignore_ascii_case("true") => return Value::Bool(true),
        word if word.eq_ignore_ascii_case("false") => return Value::Bool(false),
        _ => {}
    }
    let bare = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let prefixed = |prefix: &str, radix: u32| {
        let digits = bare.strip_prefix(prefix).or_else(|| bare.strip_prefix(prefix.to_ascii_uppercase().as_str()));
        digits.is_some_and(|d| {
            d.starts_with(|c: char| c.is_digit(radix)) && d.chars().all(|c| c.is_digit(radix) || c == '_')
        })
    };
    let digits =
        bare.starts_with(|c: char| c.is_ascii_digit()) && bare.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if (digits && (bare == "0" || !bare.starts_with('0')))
        || prefixed("0x", 16)
        || prefixed("0o", 8)
        || prefixed("0b", 2)
    {
        return Value::Integer(text.into_owned());
    }
    let special = matches!(bare.to_ascii_lowercase().as_str(), ".inf" | ".nan");
    let decimal = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok();
    if special || decimal { Value::Float(text.into_owned()) } else { Value::Text(text.into_owned()) }
}
