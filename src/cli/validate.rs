//! `validate [PATH…]`: every error of every file at once, with its place; no credential is needed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::app;
use crate::cli::Exit;
use crate::cli::session::Session;
use crate::cli::terminal::{self, Format};
use crate::controller::watcher::{FILE_BYTES_MAX, FileReading, Scan};
use crate::spec::defaults::Defaults;
use crate::spec::finding::{Finding, Located, Position};
use crate::spec::fleet::{FleetFile, validate_fleet};
use crate::spec::parse::parse;
use crate::spec::validate::Rules;

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files and directories [default: the specs directory]
    paths: Vec<PathBuf>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    files: usize,
    findings: Vec<Located>,
}

/// Files by the name under which they are shown.
#[derive(Debug, Default)]
struct Gathered {
    files: BTreeMap<String, Vec<u8>>,
    findings: Vec<Located>,
    seen: BTreeMap<PathBuf, String>,
    /// Paths that are not there, or cannot be listed.
    problems: Vec<String>,
}

/// Checks, and prints all findings.
///
/// # Errors
/// The feature catalogue cannot be read; stdout cannot be written.
pub fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let (rules, defaults) = app::options::rules(session.settings())?;
    let paths = if args.paths.is_empty() { vec![session.settings().specs.clone()] } else { args.paths.clone() };
    let mut gathered = Gathered::default();
    for path in &paths {
        gathered.add(path);
    }
    let problems = std::mem::take(&mut gathered.problems);
    let report = check(gathered, &rules, &defaults);
    terminal::print_data(args.output, &report, || {
        report.findings.iter().map(|finding| format!("{}\n", terminal::clean(&finding.to_string()))).collect()
    })?;
    problems.iter().for_each(|problem| terminal::error(problem));
    summary(&report, problems.is_empty());
    Ok(if report.valid && problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn summary(report: &Report, is_there: bool) {
    let files = match report.files {
        0 if is_there => return terminal::say("no spec files there; they end in .yaml or .yml"),
        0 => return,
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    match report.findings.len() {
        0 => terminal::say(&format!("{files}, valid")),
        1 => terminal::say(&format!("{files}, 1 finding")),
        n => terminal::say(&format!("{files}, {n} findings")),
    }
}

impl Gathered {
    fn add(&mut self, path: &Path) {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.add_directory(path),
            Ok(metadata) if metadata.is_file() => self.add_file(path, metadata.len()),
            Ok(_) => self.problems.push(format!("{}: neither a file nor a directory", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.problems.push(format!("{}: not there", path.display()));
            }
            Err(error) => self.problems.push(format!("{}: cannot be read: {error}", path.display())),
        }
    }

    /// As the daemon reads it, so that both see the same files.
    fn add_directory(&mut self, path: &Path) {
        let scan = match Scan::take(path, None) {
            Ok(scan) => scan,
            Err(problem) => return self.problems.push(problem.to_string()),
        };
        scan.passed_over.iter().for_each(|note| terminal::warn(&format!("passed over {note}")));
        for (file, reading) in scan.files {
            let shown = path.join(&file);
            match reading {
                FileReading::Read { bytes, .. } => self.take(&shown, bytes.to_vec()),
                FileReading::TooLarge(bytes) => self.too_large(&shown, bytes),
                FileReading::Unreadable(why) => self.finding(&shown, format!("the file cannot be read: {why}")),
            }
        }
    }

    fn add_file(&mut self, path: &Path, bytes: u64) {
        if bytes > FILE_BYTES_MAX {
            return self.too_large(path, bytes);
        }
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)) {
            Ok(read) if read as u64 > FILE_BYTES_MAX => self.too_large(path, read as u64),
            Ok(_) => self.take(path, text),
            Err(error) => self.finding(path, format!("the file cannot be read: {error}")),
        }
    }

    /// A file that two of the paths name counts once.
    fn take(&mut self, path: &Path, bytes: Vec<u8>) {
        let shown = path.display().to_string();
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if self.seen.insert(real, shown.clone()).is_none() {
            self.files.insert(shown, bytes);
        }
    }

    fn too_large(&mut self, path: &Path, bytes: u64) {
        let message =
            format!("the file has {bytes} bytes, at most {FILE_BYTES_MAX} are read; a spec is a few kilobytes");
        self.finding(path, message);
    }

    fn finding(&mut self, path: &Path, message: String) {
        let finding = Finding::at(Position::START, "", message);
        self.findings.push(Located { file: path.display().to_string(), finding });
    }
}

fn check(gathered: Gathered, rules: &Rules, defaults: &Defaults) -> Report {
    let mut findings = gathered.findings;
    let unread = findings.len();
    let files = gathered.files.len() + unread;
    let mut good = Vec::new();
    for (file, bytes) in gathered.files {
        match parse(&bytes, rules) {
            Ok(parsed) => good.push(FleetFile { file, parsed: parsed.into() }),
            Err(found) => findings.extend(found.into_iter().map(|finding| Located { file: file.clone(), finding })),
        }
    }
    findings.extend(validate_fleet(&good, defaults));
    findings.sort();
    Report { valid: findings.is_empty(), files, findings }
}
