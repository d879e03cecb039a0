//! Deploy scripts and one-off scripts: bash sees the same program whatever the values are.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use sitewright::provider::ploi::scripts::script;
use sitewright::provider::{ScriptRun, SiteRef};
use sitewright::resource::deploy_script::{Commands, Migrate, PROGRAM, ScriptData, render};
use sitewright::resource::name::{ClientName, HostName, RemoteId, RepositorySlug, ServerId};
use sitewright::resource::site::Purpose;
use tree_sitter::{Node, Parser};

use crate::{renderings, values};

/// Scripts that real bash is given.
const SAMPLE: usize = 100;

/// Depth and kind of each node of a script's tree; a quoted word counts as one, however many quotes it takes.
type Shape = Vec<(usize, u16)>;
/// The kind of such a word.
const QUOTED: u16 = u16::MAX;

/// Reads scripts into trees.
pub struct Shapes(Parser);

impl Shapes {
    pub fn new() -> Shapes {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_bash::LANGUAGE.into()).unwrap();
        Shapes(parser)
    }

    pub fn of(&mut self, text: &str) -> Shape {
        let tree = self.0.parse(text, None).unwrap();
        let mut shape = Vec::new();
        walk(text, tree.root_node(), 0, &mut shape);
        shape
    }
}

fn walk(text: &str, node: Node<'_>, depth: usize, shape: &mut Shape) {
    if is_quoted(text, node) {
        return shape.push((depth, QUOTED));
    }
    shape.push((depth, node.kind_id()));
    let mut cursor = node.walk();
    node.children(&mut cursor).for_each(|child| walk(text, child, depth + 1, shape));
}

/// Quotes and what stands literally between them, with nothing that bash would look into; between two such texts a
/// quote itself, as `\'`.
fn is_quoted(text: &str, node: Node<'_>) -> bool {
    match node.kind() {
        "raw_string" => true,
        "string" => children(node).all(|child| matches!(child.kind(), "\"" | "string_content")),
        "word" => text[node.byte_range()].replace("\\'", "").is_empty(),
        "concatenation" => children(node).all(|child| is_quoted(text, child)),
        _ => false,
    }
}

fn children(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    (0..node.child_count()).filter_map(move |at| node.child(at))
}

/// Each text field of a deploy script: how it is set, and a good value.
type Field = (&'static str, fn(&mut ScriptData, String), &'static str);
const FIELDS: &[Field] = &[
    ("SW_CLIENT", |d, v| d.client = ClientName::trusted(v), "shop"),
    ("SW_DOMAIN", |d, v| d.domain = HostName::trusted(v), "shop.example"),
    ("SW_SYSTEM_USER", |d, v| d.system_user = v, "ploi"),
    ("SW_REPOSITORY", |d, v| d.repository = RepositorySlug::trusted(v), "agency/shop"),
    ("SW_DEFAULT_BRANCH", |d, v| d.branch = v, "main"),
    ("SW_HEALTH_PATH", |d, v| d.health_path = v, "/api/health"),
    ("SW_INSTALL_COMMAND", |d, v| d.commands.install = v, "npm ci"),
    ("SW_BUILD_COMMAND", |d, v| d.commands.build = v, "npm run build"),
    ("SW_CHECK_COMMAND", |d, v| d.commands.check = v, "true"),
    ("SW_MIGRATE_COMMAND", |d, v| d.commands.migrate = v, "npx payload migrate"),
    ("SW_START_COMMAND", |d, v| d.commands.start = v, "npm run start"),
];

fn data() -> ScriptData {
    ScriptData {
        client: ClientName::trusted("shop"),
        domain: HostName::trusted("shop.example"),
        system_user: "ploi".into(),
        repository: RepositorySlug::trusted("agency/shop"),
        branch: "main".into(),
        build_memory_mib: 4096,
        timeout: Duration::from_secs(1800),
        health_path: "/api/health".into(),
        migrate: Migrate::Safe,
        health_gate: true,
        rollback_on_failure: true,
        commands: Commands::default(),
    }
}

/// A script with one to three hostile values; `None` where one of them is refused. With the values by their names.
fn deploy(dice: &mut Rng) -> Option<(String, Vec<(&'static str, String)>)> {
    let mut data = data();
    let mut meant = Vec::new();
    for _ in 0..dice.usize(1..4) {
        let (name, set, good) = FIELDS[dice.usize(0..FIELDS.len())];
        let value = if dice.bool() { values::any(dice) } else { values::nearly(good, dice) };
        set(&mut data, value.clone());
        meant.retain(|(other, _)| *other != name);
        meant.push((name, value));
    }
    render(&data).ok().map(|script| (script, meant))
}

#[test]
fn deploy_scripts() {
    let mut shapes = Shapes::new();
    let harmless = shapes.of(&render(&data()).unwrap());
    assert!(harmless.iter().filter(|(_, kind)| *kind == QUOTED).count() >= 17, "the words are seen as quoted");
    renderings("deploy_scripts", 20, |dice| {
        let Some((script, meant)) = deploy(dice) else { return false };
        assert!(script.ends_with(PROGRAM));
        assert!(shapes.of(&script) == harmless, "the tree changed: {meant:?}");
        true
    });
}

fn run(purpose: Purpose, [process, domain, user]: [String; 3]) -> ScriptRun {
    let (server, id) = (ServerId::trusted("1"), RemoteId::trusted("2"));
    ScriptRun { purpose, process, site: SiteRef { server, id, domain: HostName::trusted(domain), system_user: user } }
}

/// A one-off script, with its purpose and values; one of three times everything is wild.
fn one_off(dice: &mut Rng) -> Option<(String, usize, [String; 3])> {
    let wild = dice.u8(0..3) == 0;
    let good = ["shop", "shop.example", "ploi"];
    let values = good.map(|good| match (wild, dice.u8(0..3)) {
        (true, _) => values::any(dice),
        (false, 0) => values::nearly(good, dice),
        _ => good.to_owned(),
    });
    let purpose = dice.usize(0..Purpose::ALL.len());
    let script = script(&run(Purpose::ALL[purpose], values.clone())).ok()?;
    Some((script.content, purpose, values))
}

#[test]
fn one_off_scripts() {
    let mut shapes = Shapes::new();
    let good = ["shop", "shop.example", "ploi"].map(str::to_owned);
    let harmless = Purpose::ALL.map(|purpose| shapes.of(&script(&run(purpose, good.clone())).unwrap().content));
    renderings("one_off_scripts", 20, |dice| {
        let Some((script, purpose, values)) = one_off(dice) else { return false };
        assert!(shapes.of(&script) == harmless[purpose], "the tree changed: {values:?}");
        true
    });
}

/// Runs a line of bash in a folder; what it prints, between NULs.
pub fn bash(folder: &Path, line: &str) -> Vec<String> {
    let output = Command::new("bash").args(["-c", line]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn real_bash_reads_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: String, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let mut meant = Vec::new();
    for seed in 0.. {
        let mut dice = Rng::with_seed(seed);
        let (script, lines, values) = match seed % 3 {
            0 => {
                let Some((script, _, values)) = one_off(&mut dice) else { continue };
                let names = ["SW_CLIENT", "SW_DOMAIN", "SW_USER"];
                (script, 3, names.into_iter().zip(values).collect())
            }
            _ => {
                let Some((script, values)) = deploy(&mut dice) else { continue };
                (script, 17, values)
            }
        };
        let head: String = script.lines().take(lines).map(|line| format!("{line}\n")).collect();
        let names: Vec<String> = values.iter().map(|(name, _)| format!("\"${name}\"")).collect();
        write(format!("{:04}.data", meant.len()), format!("{head}printf '%s\\0' {}\n", names.join(" ")));
        write(format!("{:04}.sh", meant.len()), script);
        meant.push(values);
        if meant.len() == SAMPLE {
            break;
        }
    }
    let wanted: Vec<String> = meant.into_iter().flatten().map(|(_, value)| value).collect();
    assert_eq!(bash(folder.path(), "for file in ./*.data; do (. \"$file\") || exit; done"), wanted);
    assert_eq!(bash(folder.path(), "for file in ./*.sh; do bash -n \"$file\" || exit; done"), [""; 0]);
    assert!(!folder.path().join("canary").exists(), "a value was executed");
}
