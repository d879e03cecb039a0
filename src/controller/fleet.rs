//! The set of clients that the specs directory asks for: which files are good, which spec each client keeps, who is gone.
//!
//! A bad file freezes its own client only: the last good spec stays. A file that is still being written, or that looks
//! like half of what was accepted, is held until it stands still. Errors are told for all files at once.

mod acceptance;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::controller::options::Options;
use crate::controller::watcher::{FileReading, Scan, Stamp};
use crate::resource::name::ClientName;
use crate::spec::client_spec::{ClientSpec, Mode as SpecMode};
use crate::spec::finding::Located;
use crate::spec::fleet::{FleetFile, validate_fleet};
use crate::spec::parse::{Parsed, claimed_name, parse};
use crate::store::{ClientRecord, Pause, Store, Stored};

/// A held half file is accepted when it is unchanged in this many further scans (decisions 30).
const HALF_FILE_SCANS: u32 = 2;
/// The document of a pause of all clients.
pub const PAUSE_ALL: &str = "pause";
/// The document of the files' problems, for commands.
pub const FILES: &str = "files";
/// The document that tells of the directory.
pub const DIRECTORY: &str = "directory";

/// What a spec lets the loop do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Converge.
    Enforce,
    /// Plan and report, write nothing.
    Observe,
    /// Not even observe.
    Paused,
}

/// Why a client's newest file is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecProblem {
    /// CamelCase.
    pub reason: String,
    /// Sentences with place, expectation and way out; several lines.
    pub message: String,
}

/// One file's problem, as commands show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileProblem {
    /// Path below the specs directory.
    pub file: String,
    /// The client it is about, as far as that can be told.
    #[schemars(with = "Option<String>")]
    pub client: Option<ClientName>,
    /// What is wrong.
    pub problem: SpecProblem,
}

/// The clients and their specs.
pub struct Fleet {
    options: Options,
    specs: RwLock<BTreeMap<ClientName, Arc<ClientSpec>>>,
    problems: RwLock<BTreeMap<ClientName, SpecProblem>>,
    files: Mutex<BTreeMap<String, FileState>>,
    /// What `restore` read, for the first scan: most files still hold the accepted text and need no second reading.
    restored: Mutex<BTreeMap<ClientName, Arc<Parsed>>>,
    checked: Mutex<CheckedSet>,
    sight: RwLock<Sight>,
    /// Every client is only looked at, whatever its spec says.
    only_observes: AtomicBool,
}

/// What scans of this process showed.
#[derive(Default)]
struct Sight {
    /// Whether the directory could be read by the newest one.
    is_readable: bool,
    /// Whom they found a file about, since the last complete one.
    present: BTreeSet<ClientName>,
}

/// The good files that were last held against each other, and what was found; the same set needs no second look.
#[derive(Default)]
struct CheckedSet {
    files: BTreeMap<String, Arc<Parsed>>,
    found: Vec<Located>,
}

#[derive(Clone)]
struct FileState {
    stamp: Stamp,
    outcome: Outcome,
    half_scans: u32,
}

#[derive(Clone)]
enum Outcome {
    Good(Arc<Parsed>),
    Bad(SpecProblem),
}

/// What a scan changed.
#[derive(Debug, Default)]
pub struct Admission {
    /// Clients whose spec, problem or presence changed: they get a pass now.
    pub changed: BTreeSet<ClientName>,
    /// Clients that some file is about.
    pub present: BTreeSet<ClientName>,
    /// Whether some file could not be told to be about a client: the scan is no evidence of any absence then.
    pub incomplete: bool,
    /// A file must be looked at again this soon.
    pub again_in: Option<Duration>,
    /// Clients that go by another name from now on: the old one and the new one.
    pub moved: Vec<(ClientName, ClientName)>,
}

impl Fleet {
    /// An empty fleet.
    pub fn new(options: Options) -> Self {
        Fleet {
            options,
            specs: RwLock::default(),
            problems: RwLock::default(),
            files: Mutex::default(),
            restored: Mutex::default(),
            checked: Mutex::default(),
            sight: RwLock::default(),
            only_observes: AtomicBool::new(false),
        }
    }

    /// The directory cannot be read.
    pub fn cannot_see(&self) {
        self.sight.write().is_readable = false;
    }

    /// Notes whom a scan found. One that was not complete takes nobody away.
    fn saw(&self, admission: &Admission) {
        let mut sight = self.sight.write();
        sight.is_readable = true;
        if !admission.incomplete {
            sight.present.clear();
        }
        sight.present.extend(admission.present.iter().cloned());
    }

    /// Whether the directory could be read by the newest scan.
    pub fn can_see(&self) -> bool {
        self.sight.read().is_readable
    }

    /// Whether a scan of this process found a file about a client, and no later one missed it.
    pub fn was_seen(&self, name: &ClientName) -> bool {
        self.sight.read().present.contains(name)
    }

    /// Takes a client's file as seen, for a look at what would be if it were there.
    pub fn suppose_seen(&self, name: &ClientName) {
        self.sight.write().present.insert(name.clone());
    }

    /// Takes up the last good specs of the store, before the first scan.
    pub async fn restore(&self, store: &dyn Store) -> Stored<()> {
        for record in store.clients().await? {
            if let Some(accepted) = &record.accepted {
                match parse(accepted.text.as_bytes(), &self.options.rules) {
                    Ok(parsed) => {
                        self.specs.write().insert(record.name.clone(), Arc::new(parsed.spec.clone()));
                        self.restored.lock().insert(record.name.clone(), Arc::new(parsed));
                    }
                    Err(_) => {
                        let message =
                            "the spec that was accepted earlier does not pass today's rules; save the file anew"
                                .to_owned();
                        self.problems
                            .write()
                            .insert(record.name.clone(), SpecProblem { reason: "Invalid".into(), message });
                    }
                }
            }
        }
        Ok(())
    }

    /// The spec in force.
    pub fn spec(&self, name: &ClientName) -> Option<Arc<ClientSpec>> {
        self.specs.read().get(name).cloned()
    }

    /// All clients with a spec in force.
    pub fn names(&self) -> BTreeSet<ClientName> {
        self.specs.read().keys().cloned().collect()
    }

    /// Why the newest file is not in force.
    pub fn problem(&self, name: &ClientName) -> Option<SpecProblem> {
        self.problems.read().get(name).cloned()
    }

    /// From now on, for the life of this process, no client is written for.
    pub fn only_observe(&self) {
        self.only_observes.store(true, Ordering::Relaxed);
    }

    /// Whether no client is written for.
    pub fn only_observes(&self) -> bool {
        self.only_observes.load(Ordering::Relaxed)
    }

    /// What the spec lets the loop do.
    pub fn mode(&self, name: &ClientName) -> Mode {
        match self.spec(name).map(|spec| spec.spec.reconcile.mode) {
            Some(SpecMode::Paused) => Mode::Paused,
            Some(SpecMode::Observe) => Mode::Observe,
            _ if self.only_observes() => Mode::Observe,
            _ => Mode::Enforce,
        }
    }

    /// The time between two full passes of this client, where its spec sets one.
    pub fn interval(&self, name: &ClientName) -> Option<Duration> {
        self.spec(name).and_then(|spec| spec.spec.reconcile.interval).map(|span| span.0)
    }

    /// A client that is gone for good.
    pub fn forget(&self, name: &ClientName) {
        self.specs.write().remove(name);
        self.problems.write().remove(name);
    }

    /// The pause of all clients.
    pub async fn pause_of_all(&self, store: &dyn Store) -> Stored<Option<Pause>> {
        Ok(store.document(PAUSE_ALL).await?.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// The reason of the pause that holds for a client: a person's or the spec's.
    pub async fn pause_in_force(
        &self,
        store: &dyn Store,
        record: &ClientRecord,
        now: Timestamp,
    ) -> Stored<Option<String>> {
        let holds = |pause: &Pause| pause.until.is_none_or(|until| until > now);
        if let Some(pause) = self.pause_of_all(store).await?.filter(holds) {
            return Ok(Some(format!("all clients, {}", pause.reason)));
        }
        if let Some(pause) = record.pause.as_ref().filter(|p| holds(p)) {
            return Ok(Some(pause.reason.clone()));
        }
        Ok((self.mode(&record.name) == Mode::Paused).then(|| "the spec says reconcile.mode: paused".to_owned()))
    }

    /// Takes a scan in: parses what changed, checks the whole set, accepts what is good.
    pub async fn admit(&self, scan: &Scan, store: &dyn Store, now: Timestamp) -> Stored<Admission> {
        let records: BTreeMap<ClientName, ClientRecord> =
            store.clients().await?.into_iter().map(|r| (r.name.clone(), r)).collect();
        let mut admission = Admission::default();
        let by_file: BTreeMap<&str, &ClientName> =
            records.values().filter_map(|r| r.accepted.as_ref().map(|a| (a.file.as_str(), &r.name))).collect();
        let mut good: BTreeMap<String, Arc<Parsed>> = BTreeMap::new();
        let mut bad: Vec<FileProblem> = Vec::new();
        for (file, reading) in &scan.files {
            let known = by_file.get(file.as_str()).map(|name| (*name).clone());
            match self.examine(file, reading, known.as_ref().and_then(|name| records.get(name)), &mut admission) {
                Examined::Good(parsed) => {
                    good.insert(file.clone(), parsed);
                }
                Examined::Held => admission.present.extend(known.or_else(|| claimed(reading))),
                Examined::Bad(problem) => {
                    let client = claimed(reading).or(known);
                    admission.incomplete |= client.is_none();
                    bad.push(FileProblem { file: file.clone(), client, problem });
                }
            }
        }
        self.check_set(&mut good, &mut bad);
        let mut problems = BTreeMap::new();
        for problem in &bad {
            if let Some(client) = &problem.client {
                admission.present.insert(client.clone());
                problems.insert(client.clone(), problem.problem.clone());
            }
        }
        admission.present.extend(good.values().map(|parsed| ClientName::trusted(&parsed.spec.metadata.name)));
        for (file, parsed) in &good {
            for (client, problem) in self.accept(file, parsed, scan, &records, store, now, &mut admission).await? {
                problems.insert(client.clone(), problem.clone());
                if !records.contains_key(&client) {
                    bad.push(FileProblem { file: file.clone(), client: Some(client), problem }); // nothing else tells of it
                }
            }
        }
        self.tell_problems(problems, &bad, store, &mut admission).await?;
        self.files.lock().retain(|file, _| scan.files.contains_key(file));
        self.restored.lock().clear();
        self.saw(&admission);
        Ok(admission)
    }

    fn examine(
        &self,
        file: &str,
        reading: &FileReading,
        record: Option<&ClientRecord>,
        admission: &mut Admission,
    ) -> Examined {
        let bad = |reason: &str, message: String| Examined::Bad(SpecProblem { reason: reason.into(), message });
        let (bytes, stamp) = match reading {
            FileReading::TooLarge(bytes) => {
                return bad(
                    "TooLarge",
                    format!(
                        "{file}:1:1: the file has {bytes} bytes, at most {} are read; a spec is a few kilobytes",
                        crate::controller::watcher::FILE_BYTES_MAX
                    ),
                );
            }
            FileReading::Unreadable(why) => {
                return bad(
                    "Unreadable",
                    format!("{file}:1:1: the file cannot be read: {why}; the client keeps its last good spec"),
                );
            }
            FileReading::Read { bytes, stamp } => (bytes, *stamp),
        };
        let mut files = self.files.lock();
        let before = files.get(file).filter(|state| state.stamp == stamp).cloned();
        if before.is_none() && stamp.still_for() < self.options.quiet {
            let wait = self.options.quiet.saturating_sub(stamp.still_for()) + Duration::from_millis(5);
            admission.again_in = Some(admission.again_in.map_or(wait, |there| there.min(wait)));
            return Examined::Held;
        }
        let mut state =
            before.unwrap_or_else(|| FileState { stamp, outcome: self.read(file, bytes, record), half_scans: 0 });
        let half = looks_like_half(bytes, record);
        if half && state.half_scans < HALF_FILE_SCANS {
            state.half_scans += 1;
            files.insert(file.to_owned(), state);
            let wait = self.options.quiet.max(Duration::from_millis(100));
            admission.again_in = Some(admission.again_in.map_or(wait, |there| there.min(wait)));
            return Examined::Bad(SpecProblem {
                reason: "HalfWritten".into(),
                message: format!(
                    "{file}: the file ends in the middle of a line, or is only the beginning of the accepted one; it is taken when it stood unchanged for {HALF_FILE_SCANS} further scans"
                ),
            });
        }
        files.insert(file.to_owned(), state.clone());
        match state.outcome {
            Outcome::Good(parsed) => Examined::Good(parsed),
            Outcome::Bad(problem) => Examined::Bad(problem),
        }
    }

    fn read(&self, file: &str, bytes: &[u8], record: Option<&ClientRecord>) -> Outcome {
        let accepted = record.and_then(|record| record.accepted.as_ref());
        if let Some(record) = record
            && accepted.is_some_and(|accepted| accepted.text.as_bytes() == bytes)
            && let Some(parsed) = self.restored.lock().remove(&record.name)
        {
            return Outcome::Good(parsed);
        }
        match parse(bytes, &self.options.rules) {
            Ok(parsed) => Outcome::Good(Arc::new(parsed)),
            Err(found) => {
                let message = found.iter().map(|finding| finding.render(file)).collect::<Vec<_>>().join("\n");
                Outcome::Bad(SpecProblem { reason: "Invalid".into(), message })
            }
        }
    }

    /// The same name, domain, port or database in two files is an error in both.
    fn check_set(&self, good: &mut BTreeMap<String, Arc<Parsed>>, bad: &mut Vec<FileProblem>) {
        let mut checked = self.checked.lock();
        let is_same = checked.files.len() == good.len()
            && checked.files.iter().zip(good.iter()).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1));
        if !is_same {
            let files: Vec<FleetFile> =
                good.iter().map(|(file, parsed)| FleetFile { file: file.clone(), parsed: parsed.clone() }).collect();
            *checked = CheckedSet { found: validate_fleet(&files, &self.options.defaults), files: good.clone() };
        }
        let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for located in &checked.found {
            by_file.entry(located.file.clone()).or_default().push(located.finding.render(&located.file));
        }
        for (file, lines) in by_file {
            if let Some(parsed) = good.remove(&file) {
                let client = Some(ClientName::trusted(parsed.spec.metadata.name.clone()));
                bad.push(FileProblem {
                    file,
                    client,
                    problem: SpecProblem { reason: "Duplicate".into(), message: lines.join("\n") },
                });
            }
        }
    }

    async fn tell_problems(
        &self,
        problems: BTreeMap<ClientName, SpecProblem>,
        bad: &[FileProblem],
        store: &dyn Store,
        admission: &mut Admission,
    ) -> Stored<()> {
        let changed = {
            let mut known = self.problems.write();
            let differs = |name: &&ClientName| known.get(*name) != problems.get(*name);
            let changed: BTreeSet<ClientName> = known.keys().chain(problems.keys()).filter(differs).cloned().collect();
            *known = problems;
            changed
        };
        admission.changed.extend(changed);
        let value = serde_json::to_value(bad).unwrap_or_default();
        if store.document(FILES).await?.unwrap_or_else(|| serde_json::json!([])) != value {
            store.put_document(FILES, Some(&value)).await?;
        }
        Ok(())
    }
}

enum Examined {
    Good(Arc<Parsed>),
    Held,
    Bad(SpecProblem),
}

fn claimed(reading: &FileReading) -> Option<ClientName> {
    match reading {
        FileReading::Read { bytes, .. } => claimed_name(bytes),
        _ => None,
    }
}

/// No final newline, or nothing but the beginning of what was accepted.
fn looks_like_half(bytes: &[u8], record: Option<&ClientRecord>) -> bool {
    let accepted = record.and_then(|r| r.accepted.as_ref()).map(|a| a.text.as_bytes());
    let prefix = accepted.is_some_and(|old| old.len() > bytes.len() && old.starts_with(bytes));
    bytes.last() != Some(&b'\n') || prefix
}
