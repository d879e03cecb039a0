//! A file's bytes to its ClientSpec, or to everything that is wrong with it.
//!
//! The tree is walked against the table of `shape`, with the rules of `validate` at the leaves, so that all errors of a
//! file are told at once. Only a file without any is read into the types, by the YAML package.

use std::collections::BTreeMap;

use crate::resource::name::ClientName;
use crate::spec::client_spec::ClientSpec;
use crate::spec::exposed;
use crate::spec::finding::{Finding, Position, UNKNOWN_KEY, nearest, show_lines};
use crate::spec::quantity::{Size, Span};
use crate::spec::shape::{CLIENT_SPEC, Field, Keys, Leaf, Need, SECRET_REF, Shape};
use crate::spec::tree::{self, Entry, FINDINGS_MAX, Node, Value, shown_key};
use crate::spec::validate::{self, Problem, Rules, Verdict};

/// A file that passed every rule, with the places of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The spec.
    pub spec: ClientSpec,
    /// Where each value is written, for rules over several files.
    pub places: Places,
}

/// Where values are written, by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Places(BTreeMap<String, Position>);

impl Places {
    /// The place of a value; of the nearest value around it where it is not written itself.
    pub fn at(&self, path: &str) -> Position {
        let mut path = path;
        loop {
            if let Some(position) = self.0.get(path) {
                return *position;
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = path.get(..cut).unwrap_or_default(),
                None => return Position::START,
            }
        }
    }
}

/// Reads a file. Errors come sorted by place, each once, at most [`FINDINGS_MAX`].
pub fn parse(bytes: &[u8], rules: &Rules) -> Result<Parsed, Vec<Finding>> {
    let text = tree::text(bytes).map_err(|finding| vec![finding])?;
    let (root, mut findings) = tree::read(text);
    let mut walk = Walk { rules, findings: Vec::new(), places: BTreeMap::new() };
    if let Some(root) = &root {
        walk.node(&CLIENT_SPEC, root, "");
        validate::members(root, rules, &mut walk.findings);
    }
    findings.append(&mut walk.findings);
    if findings.is_empty() {
        match typed(text) {
            Ok(spec) => return Ok(Parsed { spec, places: Places(walk.places) }),
            Err(finding) => findings.push(*finding),
        }
    }
    findings.sort();
    findings.dedup();
    findings.truncate(FINDINGS_MAX);
    show_lines(text, &mut findings);
    Err(findings)
}

/// The client that a file is about, also when the file has errors: a broken file is not an absent client.
pub fn claimed_name(bytes: &[u8]) -> Option<ClientName> {
    let bytes = bytes.get(..bytes.len().min(tree::FILE_BYTES_MAX))?;
    let text = String::from_utf8_lossy(bytes);
    let (root, _) = tree::read(text.strip_prefix('\u{feff}').unwrap_or(&text));
    let from_tree = root.as_ref().and_then(|root| root.get("metadata")?.get("name")?.text().map(str::to_owned));
    let name = from_tree.or_else(|| {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("metadata:")).skip(1);
        let line = lines.find_map(|line| line.trim_start().strip_prefix("name:"))?;
        Some(line.split('#').next()?.trim().trim_matches(['"', '\'']).to_owned())
    })?;
    ClientName::parse(&name).ok()
}

/// The YAML package's reading of a text that the walk found good.
fn typed(text: &str) -> Result<ClientSpec, Box<Finding>> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        no_schema: true,
        merge_keys: serde_yaml::options::MergeKeyPolicy::Error,
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::Error,
        with_snippet: false,
        budget: serde_yaml::budget! {
            max_nodes: 2 * tree::NODES_MAX,
            max_events: 8 * tree::NODES_MAX,
            max_depth: 2 * tree::DEPTH_MAX,
            max_total_scalar_bytes: tree::TEXT_BYTES_MAX,
            max_documents: 2,
        },
    };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or(Position::START, |at| Position {
            line: usize::try_from(at.line()).unwrap_or(1).max(1),
            column: usize::try_from(at.column()).unwrap_or(1).max(1),
        });
        // The package's own words may quote a value; the place says enough.
        let message = "this value does not read as what the schema expects here";
        Box::new(Finding::at(place, "", message).with_help("compare with `sitewright schema`"))
    })
}

struct Walk<'a> {
    rules: &'a Rules,
    findings: Vec<Finding>,
    places: BTreeMap<String, Position>,
}

fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match (path, plain) {
        ("", true) => key.to_owned(),
        (path, true) => format!("{path}.{key}"),
        (path, false) => format!("{path}[\"{}\"]", shown_key(key)),
    }
}

impl Walk<'_> {
    fn report(&mut self, at: Position, path: &str, message: impl Into<String>, help: Option<String>) {
        self.findings.push(Finding { help, ..Finding::at(at, path, message) });
    }

    fn verdict(&mut self, at: Position, path: &str, verdict: Verdict) {
        if let Err(Problem { message, help }) = verdict {
            self.report(at, path, message, help);
        }
    }

    fn wrong(&mut self, node: &Node, path: &str, expected: &str) {
        let message = format!("{expected} is expected, this is {}", node.value.word());
        let help = match (&node.value, expected) {
            (Value::Bool(_) | Value::Integer(_) | Value::Float(_), "a text") => Some("put it in quotes".to_owned()),
            (Value::Text(text), "`true` or `false`")
                if matches!(text.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n") =>
            {
                Some("YAML 1.2 has `true` and `false` alone".to_owned())
            }
            (Value::Null, _) => Some("give it a value, or remove the key".to_owned()),
            _ => None,
        };
        self.report(node.at, path, message, help);
    }

    fn node(&mut self, shape: &Shape, node: &Node, path: &str) {
        self.places.insert(path.to_owned(), node.at);
        match (shape, &node.value) {
            (Shape::Struct(fields), Value::Map(entries)) => self.members(fields, entries, node, path),
            (Shape::Struct(_) | Shape::Map(..), _) if !matches!(node.value, Value::Map(_)) => {
                self.wrong(node, path, "a map")
            }
            (Shape::List(item), Value::List(items)) => {
                for (index, value) in items.iter().enumerate() {
                    self.node(item, value, &format!("{path}[{index}]"));
                }
            }
            (Shape::List(_), _) => self.wrong(node, path, "a list"),
            (Shape::Map(keys, inner), Value::Map(entries)) => self.free_map(*keys, inner, entries, path),
            (Shape::Free, _) => self.free(node, path),
            (Shape::Secret, Value::Map(entries)) => self.secret(entries, node, path),
            (Shape::Secret, _) => self.wrong(node, path, "`{ secretRef: … }`"),
            (Shape::Variable, Value::Map(entries)) => self.secret(entries, node, path),
            (Shape::Variable, Value::Text(text)) => {
                self.verdict(node.at, path, validate::carried(text).and_then(|()| exposed::check(text)));
            }
            (Shape::Variable, Value::Integer(_) | Value::Float(_) | Value::Bool(_)) => self.wrong(node, path, "a text"),
            (Shape::Variable, _) => self.wrong(node, path, "a text or `{ secretRef: … }`"),
            _ => self.scalar(shape, node, path),
        }
    }

    fn scalar(&mut self, shape: &Shape, node: &Node, path: &str) {
        match (shape, &node.value) {
            (Shape::Text(leaf), Value::Text(text)) => self.leaf(*leaf, text, node, path),
            (Shape::Text(_), _) => self.wrong(node, path, "a text"),
            (Shape::Id(leaf), Value::Text(text) | Value::Integer(text)) => self.leaf(*leaf, text, node, path),
            (Shape::Id(_), _) => self.wrong(node, path, "an id"),
            (Shape::Word(words), Value::Text(text)) => self.word(words, text, node, path),
            (Shape::Word(words), _) => self.wrong(node, path, &one_of(words)),
            (Shape::Bool, Value::Bool(_)) | (Shape::Number, Value::Integer(_)) => {}
            (Shape::Bool, _) => self.wrong(node, path, "`true` or `false`"),
            (Shape::Number, Value::Float(text)) => self.finite(text, node, path),
            (Shape::Number, _) => self.wrong(node, path, "a number"),
            (Shape::Integer(low, high), Value::Integer(text)) => {
                let good = text.parse::<u64>().is_ok_and(|number| (*low..=*high).contains(&number));
                let message = format!("a whole number from {low} to {high} is expected");
                self.verdict(node.at, path, if good { Ok(()) } else { Err(Problem::new(message)) });
            }
            (Shape::Integer(..), _) => self.wrong(node, path, "a whole number"),
            (Shape::Auto(_), Value::Text(text)) if text == "auto" => {}
            (Shape::Auto(leaf), Value::Integer(text)) => self.leaf(*leaf, text, node, path),
            (Shape::Auto(_), _) => self.wrong(node, path, "`auto` or a number"),
            (Shape::Duration(low, high), Value::Text(text)) => {
                let verdict = Span::parse(text).and_then(|span| {
                    let good = (*low..=*high).contains(&span.0.as_secs());
                    let bounds = [low, high].map(|s| humantime::format_duration(std::time::Duration::from_secs(*s)));
                    good.then_some(())
                        .ok_or_else(|| format!("a duration from {} to {} is expected", bounds[0], bounds[1]))
                });
                self.verdict(node.at, path, verdict.map_err(Problem::new));
            }
            (Shape::Duration(..), _) => self.wrong(node, path, "a duration such as `30s`"),
            (Shape::Size(low, high), Value::Text(text)) => {
                let verdict = Size::parse(text).and_then(|size| {
                    let good = (*low..=*high).contains(&size.mebibytes());
                    let bounds = [Size(low << 20), Size(high << 20)];
                    good.then_some(()).ok_or_else(|| format!("a size from {} to {} is expected", bounds[0], bounds[1]))
                });
                self.verdict(node.at, path, verdict.map_err(Problem::new));
            }
            (Shape::Size(..), _) => self.wrong(node, path, "a size such as `4GiB`"),
            _ => {}
        }
    }

    fn leaf(&mut self, leaf: Leaf, text: &str, node: &Node, path: &str) {
        let verdict = validate::leaf(leaf, text, self.rules);
        self.verdict(node.at, path, verdict);
    }

    fn word(&mut self, words: &[&'static str], text: &str, node: &Node, path: &str) {
        if !words.contains(&text) {
            let help = nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
            self.report(node.at, path, format!("{} is expected, this is `{}`", one_of(words), shown_key(text)), help);
        }
    }

    /// JSON has no infinity.
    fn finite(&mut self, text: &str, node: &Node, path: &str) {
        if !text.parse::<f64>().is_ok_and(f64::is_finite) {
            self.report(node.at, path, "a finite number is expected", None);
        }
    }

    fn members(&mut self, fields: &[Field], entries: &[Entry], node: &Node, path: &str) {
        for entry in entries {
            if self.findings.len() >= FINDINGS_MAX {
                return;
            }
            let here = member(path, &entry.key);
            match fields.iter().find(|field| field.key == entry.key) {
                Some(field) => self.node(&field.shape, &entry.value, &here),
                None if entry.key.starts_with('\0') || entry.key == "<<" => {} // reported by the tree
                None => {
                    let known = || fields.iter().map(|field| field.key);
                    let help = match nearest(&entry.key, known()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
                    };
                    let message = format!("{UNKNOWN_KEY} `{}`", shown_key(&entry.key));
                    self.report(entry.at, &here, message, Some(help));
                }
            }
        }
        for field in fields.iter().filter(|field| field.need == Need::Required) {
            if !entries.iter().any(|entry| entry.key == field.key) {
                self.report(node.at, &member(path, field.key), "this key is required and missing", None);
            }
        }
    }

    fn free_map(&mut self, keys: Keys, inner: &Shape, entries: &[Entry], path: &str) {
        for entry in entries.iter().filter(|entry| !entry.key.starts_with('\0') && entry.key != "<<") {
            let here = member(path, &entry.key);
            if keys == Keys::Variables {
                let verdict = validate::variable_name(&entry.key, self.rules);
                self.verdict(entry.at, &here, verdict);
            }
            self.node(inner, &entry.value, &here);
        }
    }

    fn free(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Float(text) => self.finite(text, node, path),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.free(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.free(&entry.value, &member(path, &entry.key));
                }
            }
            _ => {}
        }
    }

    /// `{ secretRef: { env | file | age } }`: exactly one of the three.
    fn secret(&mut self, entries: &[Entry], node: &Node, path: &str) {
        const OUTER: &[Field] = &[Field { key: "secretRef", need: Need::Required, shape: Shape::Struct(SECRET_REF) }];
        self.members(OUTER, entries, node, path);
        if let Some(Node { at, value: Value::Map(ways) }) = node.get("secretRef")
            && ways.len() != 1
        {
            let message = format!("exactly one of `env`, `file` and `age` is expected, there are {}", ways.len());
            self.report(*at, &member(path, "secretRef"), message, None);
        }
    }
}

fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("`{only}`"),
        words => format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
    }
}
