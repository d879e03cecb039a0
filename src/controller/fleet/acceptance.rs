//! What becomes of a good file: a new client, a changed one, one that came back, or one that goes by another name now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Admission, Fleet, SpecProblem};
use crate::controller::watcher::{FileReading, Scan};
use crate::resource::mark::Mark;
use crate::resource::name::ClientName;
use crate::spec::change::{refused_changes, spec_hash};
use crate::spec::client_spec::{ClientSpec, MOVED_FROM_ANNOTATION};
use crate::spec::parse::Parsed;
use crate::store::{AcceptedSpec, ClientRecord, Store, Stored, seal};

/// Problems of a file by the clients whom they concern.
type Problems = Vec<(ClientName, SpecProblem)>;
/// All that is remembered, by name.
type Records = BTreeMap<ClientName, ClientRecord>;

/// Whose record a file goes on with.
enum Claim<'a> {
    /// Its own, as far as there is one.
    Own(Option<&'a ClientRecord>),
    /// That of a client that was called otherwise.
    Moved(&'a ClientRecord),
    /// Nobody's before a person decides.
    Refused(Problems),
}

impl Fleet {
    /// Accepts one good file. Gives problems where it is refused.
    pub(super) async fn accept(
        &self,
        file: &str,
        parsed: &Parsed,
        scan: &Scan,
        records: &Records,
        store: &dyn Store,
        now: Timestamp,
        admission: &mut Admission,
    ) -> Stored<Problems> {
        let spec = &parsed.spec;
        let name = ClientName::trusted(&spec.metadata.name);
        let Some(FileReading::Read { bytes, .. }) = scan.files.get(file) else { return Ok(Problems::new()) };
        let known = records.get(&name);
        if known.is_some_and(|known| is_in_force(known, file, bytes)) && self.specs.read().contains_key(&name) {
            return Ok(Problems::new());
        }
        let hash = spec_hash(spec);
        let accepted = AcceptedSpec {
            text: String::from_utf8_lossy(bytes).into_owned(),
            file: file.to_owned(),
            spec_hash: hash,
            at: now,
        };
        match self.claim(file, spec, records, admission) {
            Claim::Refused(problems) => {
                admission.present.extend(problems.iter().map(|(client, _)| client.clone()));
                return Ok(problems);
            }
            Claim::Own(record) => {
                if let Some(problem) = record.and_then(|record| self.refused_change(file, spec, record, &accepted)) {
                    return Ok(vec![(name, problem)]);
                }
                let record = record.cloned().map_or_else(|| self.new_client(&name), Ok)?;
                store.save(&next(record, accepted)).await?;
            }
            Claim::Moved(former) => {
                let old = former.name.clone();
                store.rename(&old, &next(called(former, &name), accepted)).await?;
                self.specs.write().remove(&old);
                admission.moved.push((old, name.clone()));
            }
        }
        self.specs.write().insert(name.clone(), Arc::new(spec.clone()));
        admission.changed.insert(name);
        Ok(Problems::new())
    }

    /// A file of an unknown name may be a known client under another one: the host name tells. It is never deleted and made
    /// again for that, and never moved without a person's word.
    fn claim<'a>(&self, file: &str, spec: &ClientSpec, records: &'a Records, admission: &Admission) -> Claim<'a> {
        let name = ClientName::trusted(&spec.metadata.name);
        if let Some(record) = records.get(&name) {
            return Claim::Own(Some(record));
        }
        let refused = |reason: &str, message: String| {
            Claim::Refused(vec![(name.clone(), SpecProblem { reason: reason.into(), message })])
        };
        let is_process = |record: &&ClientRecord| record.owned.allocation.process.as_ref() == Some(&name);
        if let Some(holder) = records.values().find(is_process) {
            let message = format!(
                "{file}: the process of the client {} still carries the name {name}; choose another name",
                holder.name
            );
            return refused("NameInUse", message);
        }
        let said = spec.metadata.annotations.get(MOVED_FROM_ANNOTATION).map(|name| name.trim());
        let former = records.values().find(|record| self.has_lost_its_file_to(record, spec, &admission.present));
        match former {
            None => match said.and_then(|said| records.get(&ClientName::trusted(said))) {
                Some(other) if admission.present.contains(&other.name) => refused(
                    "MoveRefused",
                    format!(
                        "{file}: {} cannot be moved while a file of its own is there; take that one away",
                        other.name
                    ),
                ),
                _ => Claim::Own(None),
            },
            Some(former) if said != Some(former.name.as_str()) => Claim::Refused(in_doubt(file, spec, &name, former)),
            Some(former) if admission.incomplete => refused(
                "MoveWaits",
                format!(
                    "{file}: whether {} still has a file cannot be told while another one cannot be read",
                    former.name
                ),
            ),
            Some(former) => self.moved(file, spec, &name, former),
        }
    }

    /// The same rules hold as for a change of its own file.
    fn moved<'a>(&self, file: &str, spec: &ClientSpec, name: &ClientName, former: &'a ClientRecord) -> Claim<'a> {
        let mut under_old_name = spec.clone();
        under_old_name.metadata.name = former.name.to_string();
        let old = self.spec(&former.name);
        let changes = old.map(|old| refused_changes(&old, &under_old_name, &self.options.defaults)).unwrap_or_default();
        match change_problem(file, &changes) {
            Some(problem) => Claim::Refused(vec![(name.clone(), problem)]),
            None => Claim::Moved(former),
        }
    }

    fn has_lost_its_file_to(&self, record: &ClientRecord, spec: &ClientSpec, present: &BTreeSet<ClientName>) -> bool {
        let defaults = &self.options.defaults;
        let is_gone = record.owned.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some());
        let theirs = self.spec(&record.name).and_then(|theirs| theirs.domain(defaults).ok());
        !is_gone && !present.contains(&record.name) && theirs.is_some() && theirs == spec.domain(defaults).ok()
    }

    fn refused_change(
        &self,
        file: &str,
        spec: &ClientSpec,
        record: &ClientRecord,
        accepted: &AcceptedSpec,
    ) -> Option<SpecProblem> {
        let old = record.accepted.as_ref().filter(|old| old.spec_hash != accepted.spec_hash);
        old.filter(|_| record.owned.removal.is_none())?;
        change_problem(file, &refused_changes(&*self.spec(&record.name)?, spec, &self.options.defaults))
    }

    fn new_client(&self, name: &ClientName) -> Stored<ClientRecord> {
        let mark = Mark { instance: self.options.instance.clone(), uid: seal::new_uid()? };
        Ok(ClientRecord::new(name.clone(), mark))
    }
}

fn change_problem(file: &str, refused: &[crate::spec::change::RefusedChange]) -> Option<SpecProblem> {
    let lines: Vec<String> =
        refused.iter().map(|change| format!("{file}: {}: {}", change.field, change.message)).collect();
    (!lines.is_empty()).then(|| SpecProblem { reason: "ChangeRefused".into(), message: lines.join("\n") })
}

/// Told on both; the one that is there stays as it is meanwhile.
fn in_doubt(file: &str, spec: &ClientSpec, name: &ClientName, former: &ClientRecord) -> Problems {
    let old = &former.name;
    let domain = &spec.spec.domain;
    let way_out = format!(
        "if it is the same client under another name, say so with the annotation {MOVED_FROM_ANNOTATION}: {old}; else give {name} another domain"
    );
    let new = format!("{file}: the host name {domain} belongs to the client {old}, whose file is gone; {way_out}");
    let mut problems = vec![(name.clone(), SpecProblem { reason: "HostNameTaken".into(), message: new })];
    if former.owned.removal.is_none() {
        let message = format!(
            "its file is gone and {file} claims its host name {domain} as {name}: it is not taken down meanwhile; {way_out}"
        );
        problems.push((old.clone(), SpecProblem { reason: "HostNameClaimed".into(), message }));
    }
    problems
}

/// The record under another name. Uid, port, secrets, database and resources stay; a process that may run keeps its name,
/// for the next release replaces it by that.
fn called(former: &ClientRecord, name: &ClientName) -> ClientRecord {
    let mut record = former.clone();
    record.name = name.clone();
    if record.owned.releases.next_number > 1 {
        record.owned.allocation.process.get_or_insert(former.name.clone());
    }
    record
}

/// The record with its new spec.
fn next(mut record: ClientRecord, accepted: AcceptedSpec) -> ClientRecord {
    let is_new = record.accepted.as_ref().is_none_or(|old| old.spec_hash != accepted.spec_hash);
    if is_new || record.owned.removal.is_some() {
        record.generation += 1;
        record.owned.attempts.clear(); // a new generation starts afresh
        record.owned.fights.clear();
    }
    record.owned.removal = None; // the file is there: whatever was under way is undone
    record.accepted = Some(accepted);
    record
}

/// Whether the file is what was accepted, to the byte: the usual case of every scan.
fn is_in_force(record: &ClientRecord, file: &str, bytes: &[u8]) -> bool {
    let accepted = record.accepted.as_ref();
    record.owned.removal.is_none()
        && accepted.is_some_and(|accepted| accepted.file == file && accepted.text.as_bytes() == bytes)
}
