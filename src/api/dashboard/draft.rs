//! From the wizard's form to the text of a spec, and everything that is wrong with it: by the parser that the daemon uses.

use crate::api::view::Lens;
use crate::resource::name::ClientName;
use crate::spec::finding::Finding;
use crate::spec::fleet::{FleetFile, validate_fleet};
use crate::spec::parse::{Parsed, parse};
use crate::store::ClientRecord;

/// Bytes of a form that are read; a spec of that size is refused anyway.
pub const FORM_BYTES_MAX: usize = 24 * 1024;
/// The file that a draft is called in messages and checks.
const DRAFT_FILE: &str = "this draft";

/// What was filled in: pairs of a field's name and its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(Vec<(String, String)>);

impl Answers {
    /// Reads a query.
    pub fn read(query: &str) -> Answers {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let filled = pairs.filter(|(_, value)| !value.trim().is_empty());
        Answers(filled.map(|(key, value)| (key.into_owned(), value.replace("\r\n", "\n"))).collect())
    }

    /// Nothing was filled in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The trimmed text of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == field).map(|(_, value)| value.trim())
    }

    /// All texts of a field that may be given several times.
    pub fn all<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == field).map(|(_, value)| value.trim())
    }

    /// As a query again.
    pub fn query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// Pieces of a text with a list in it.
    fn list(&self, field: &str, separators: &[char]) -> Vec<&str> {
        self.get(field)
            .into_iter()
            .flat_map(|text| text.split(separators))
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect()
    }
}

/// A spec in the making.
#[derive(Debug)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// Who it is about, where that is a name.
    pub name: Option<ClientName>,
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
    /// It is what the state holds of the client of that name.
    pub in_force: bool,
}

impl Draft {
    /// Composes a text and checks it, alone and beside all others.
    pub fn of(answers: &Answers, records: &[ClientRecord], lens: &Lens) -> Draft {
        let (text, mut findings) = compose(answers);
        let name = answers.get("name").and_then(|name| ClientName::parse(name).ok());
        let record = records.iter().find(|record| Some(&record.name) == name.as_ref());
        let in_force = record.and_then(|record| record.accepted.as_ref()).is_some_and(|accepted| accepted.text == text);
        if !in_force {
            findings.extend(check(&text, records, lens).err().unwrap_or_default());
        }
        Draft { text, name, findings, in_force }
    }
}

/// Whether a text may become a spec beside all others.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(text: &str, records: &[ClientRecord], lens: &Lens) -> Result<Parsed, Vec<Finding>> {
    let parsed = parse(text.as_bytes(), &lens.rules)?;
    let name = &parsed.spec.metadata.name;
    if records.iter().any(|record| record.name.as_str() == name) {
        let message = format!("a client is called {name} already");
        let help = "choose another name, or change that client's own file";
        return Err(vec![Finding::at(parsed.places.at("metadata.name"), "metadata.name", message).with_help(help)]);
    }
    let mut files: Vec<FleetFile> = records.iter().filter_map(|record| accepted(record, lens)).collect();
    files.push(FleetFile { file: DRAFT_FILE.to_owned(), parsed: parsed.clone().into() });
    let found = validate_fleet(&files, &lens.defaults).into_iter().filter(|located| located.file == DRAFT_FILE);
    let found: Vec<Finding> = found.map(|located| located.finding).collect();
    if found.is_empty() { Ok(parsed) } else { Err(found) }
}

fn accepted(record: &ClientRecord, lens: &Lens) -> Option<FleetFile> {
    let accepted = record.accepted.as_ref()?;
    let parsed = parse(accepted.text.as_bytes(), &lens.rules).ok()?;
    Some(FleetFile { file: accepted.file.clone(), parsed: parsed.into() })
}

/// The text of a spec: what was left open stays open, so that defaults remain defaults.
fn compose(answers: &Answers) -> (String, Vec<Finding>) {
    let mut yaml = Yaml::default();
    yaml.line(0, "# yaml-language-server: $schema=.schema.json");
    yaml.line(0, "apiVersion: sitewright/v1");
    yaml.line(0, "kind: ClientSpec");
    yaml.line(0, "metadata:");
    yaml.pair(1, "name", answers.get("name").unwrap_or_default());
    yaml.labels(&answers.list("labels", &[',', '\n']));
    yaml.line(0, "spec:");
    yaml.open(1, "displayName", answers.get("displayName"));
    yaml.pair(1, "domain", answers.get("domain").unwrap_or_default());
    yaml.items("aliases", &answers.list("aliases", &[',', ' ', '\n']));
    yaml.open(1, "plan", answers.get("plan"));
    yaml.open(1, "template", answers.get("template"));
    let group = |yaml: &mut Yaml, name: &str, members: &[(&str, &str)]| {
        let members: Vec<_> = members.iter().filter_map(|(key, field)| Some((*key, answers.get(field)?))).collect();
        if !members.is_empty() {
            yaml.line(1, &format!("{name}:"));
            members.iter().for_each(|(key, value)| yaml.pair(2, key, value));
        }
    };
    group(&mut yaml, "contact", &[("name", "contactName"), ("email", "contactEmail"), ("phone", "contactPhone")]);
    let features: Vec<&str> = answers.all("features").collect();
    yaml.items("features", &features);
    group(&mut yaml, "source", &[("repository", "repository"), ("branch", "branch"), ("commit", "commit")]);
    group(&mut yaml, "database", &[("reclaimPolicy", "reclaimPolicy")]);
    if answers.get("proxied").is_some() {
        yaml.line(1, "dns:");
        yaml.line(2, "proxied: true");
    }
    group(&mut yaml, "tls", &[("issuer", "issuer")]);
    yaml.environment(answers.get("environment").unwrap_or_default());
    group(&mut yaml, "admin", &[("email", "adminEmail"), ("name", "adminName")]);
    yaml.open(1, "deletionPolicy", answers.get("deletionPolicy"));
    (yaml.text, yaml.findings)
}

/// A text in the making.
#[derive(Default)]
struct Yaml {
    text: String,
    findings: Vec<Finding>,
}

impl Yaml {
    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn pair(&mut self, depth: usize, key: &str, value: &str) {
        self.line(depth, &format!("{}: {}", scalar(key), scalar(value)));
    }

    fn open(&mut self, depth: usize, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(depth, key, value);
        }
    }

    fn items(&mut self, key: &str, items: &[&str]) {
        if !items.is_empty() {
            self.line(1, &format!("{key}:"));
            items.iter().for_each(|item| self.line(2, &format!("- {}", scalar(item))));
        }
    }

    fn finding(&mut self, path: &str, message: &str) {
        let line = self.text.lines().count().max(1);
        let place = crate::spec::finding::Position { line, column: 1 };
        self.findings.push(Finding::at(place, path, message));
    }

    fn labels(&mut self, labels: &[&str]) {
        let pair = |label: &&str| label.split_once('=').filter(|(key, _)| !key.trim().is_empty()).is_some();
        let (good, bad): (Vec<&str>, Vec<&str>) = labels.iter().partition(|label| pair(label));
        if !good.is_empty() {
            self.line(1, "labels:");
        }
        for (key, value) in good.iter().filter_map(|label| label.split_once('=')) {
            self.pair(2, key.trim(), value.trim());
        }
        if !bad.is_empty() {
            self.finding("metadata.labels", "labels such as tier=gold are expected, with commas between them");
        }
    }

    /// `NAME=value`, or a reference: `NAME=@env:VARIABLE`, `NAME=@file:/path`.
    fn environment(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return;
        }
        self.line(1, "environment:");
        for line in lines {
            let Some((key, value)) = line.split_once('=') else {
                self.finding("spec.environment", "a line is NAME=value, or NAME=@env:VARIABLE for a secret");
                continue;
            };
            let reference = [("@env:", "env"), ("@file:", "file")];
            let reference = reference.iter().find_map(|(sign, kind)| Some((*kind, value.trim().strip_prefix(sign)?)));
            match reference {
                Some((kind, name)) => {
                    let line = format!("{}: {{ secretRef: {{ {kind}: {} }} }}", scalar(key.trim()), scalar(name));
                    self.line(2, &line);
                }
                None => self.pair(2, key.trim(), value.trim()),
            }
        }
    }
}

/// A text as YAML reads it back: plain where nothing could take it for something else, else as JSON writes it.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '@' | '-' | ' '))
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::defaults::Defaults;
    use crate::spec::validate::Rules;
    use std::time::Duration;

    fn lens() -> Lens {
        Lens {
            rules: Rules::default(),
            defaults: Defaults::default(),
            grace: Duration::ZERO,
            database_grace: Duration::ZERO,
        }
    }

    #[test]
    fn a_form_becomes_a_spec_that_says_what_was_filled_in() {
        let answers = Answers::read(
            "name=bakery&displayName=Bakker+%22De+Korst%22%3A+1&domain=bakery.example&aliases=www.bakery.example%0D%0Ashop.bakery.example\
             &labels=tier%3Dgold%2C+since%3D2024&plan=enterprise&template=&features=ecommerce&features=blog&contactEmail=a%40b.example\
             &repository=agency%2Fcms&environment=GREETING%3Dno%0ASMTP_PASSWORD%3D%40env%3ABAKERY_SMTP&proxied=yes&deletionPolicy=Retain",
        );
        let draft = Draft::of(&answers, &[], &lens());
        assert_eq!(draft.findings, [], "{}", draft.text);
        let spec = parse(draft.text.as_bytes(), &Rules::default()).expect("a spec").spec;
        assert_eq!(spec.metadata.name, "bakery");
        assert_eq!(spec.metadata.labels["since"], "2024", "a number stays a text");
        assert_eq!(spec.spec.display_name.as_deref(), Some("Bakker \"De Korst\": 1"));
        assert_eq!(spec.spec.aliases, ["www.bakery.example", "shop.bakery.example"]);
        assert_eq!(spec.spec.features, ["ecommerce", "blog"]);
        assert!(spec.spec.dns.proxied);
        let environment = serde_json::to_value(&spec.spec.environment).expect("json");
        let wanted = serde_json::json!({"GREETING": "no", "SMTP_PASSWORD": {"secretRef": {"env": "BAKERY_SMTP"}}});
        assert_eq!(environment, wanted);
        assert!(!draft.text.contains("template"), "what was left open stays open");
    }

    #[test]
    fn no_answer_reaches_another_line_or_key() {
        let nasty = [
            "a\nspec: {}",
            "x: y",
            "- a",
            "#c",
            "{a}",
            "&a",
            "*a",
            "!t",
            "\u{1b}[0m",
            "'",
            "\"",
            "1_000",
            "~",
            "a #b",
            "no",
        ];
        for value in nasty {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            let query = form
                .append_pair("name", "shop")
                .append_pair("domain", "shop.example")
                .append_pair("displayName", value);
            let (text, _) = compose(&Answers::read(&query.finish()));
            let (root, findings) = crate::spec::tree::read(&text);
            assert_eq!(findings, [], "{text}");
            let root = root.expect("a tree");
            let kept = root.get("spec").and_then(|spec| spec.get("displayName")).and_then(|name| name.text());
            assert_eq!(kept, Some(value.trim()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_where_they_are() {
        let paths = |query: &str| -> Vec<String> {
            Draft::of(&Answers::read(query), &[], &lens()).findings.into_iter().map(|finding| finding.path).collect()
        };
        assert_eq!(paths("name=Bad+Name&domain=bakery.example"), ["metadata.name"]);
        assert!(paths("name=a&domain=").contains(&"spec.domain".to_owned()));
        assert!(paths("name=a&domain=a.example&labels=gold").contains(&"metadata.labels".to_owned()));
        assert!(
            paths("name=a&domain=a.example&environment=PORT%3D1")
                .iter()
                .any(|path| path.starts_with("spec.environment"))
        );
    }
}
