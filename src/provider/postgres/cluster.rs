//! A throw-away PostgreSQL server for `demo` and tests: made in a folder, stopped and removed with it.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::password::scram_sha_256;
use tokio::time::{Instant, sleep, timeout};

use crate::provider::Answer;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::postgres::PROVIDER;
use crate::provider::postgres::address::{Address, PostgresSettings};
use crate::provider::postgres::session::Session;
use crate::provider::postgres::sql::{self, Identifier, Literal};
use crate::provider::postgres::tools::{self, Tools};
use crate::resource::hex::hex;
use crate::resource::name::SqlName;
use crate::resource::secret::Secret;

/// The admin that Sitewright is given: no superuser (contracts/postgres.md 10).
pub const ADMIN: &str = "sitewright_admin";
/// The superuser of a throw-away cluster.
const SUPERUSER: &str = "root_su";
/// How long making and starting a cluster may take; a second is usual.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a starting server.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often a start is tried: the port that was free may be taken before the server binds it.
const STARTS_TRIED_MAX: usize = 5;
/// Whom the server runs as when we are root, which PostgreSQL refuses; the first that this machine has.
const SERVANTS: [&str; 2] = ["postgres", "nobody"];
/// Runs the server until standard input ends, which it does when the handle is dropped and when this process dies in any
/// way; then stops it fast and removes the folder. The text is constant, everything else is arguments.
const GUARDIAN: &str = r#"folder=$1; shift; "$@" </dev/null & server=$!; read -r _; kill -INT "$server"; wait "$server"; rm -rf -- "$folder""#;

/// A running server. Dropping it stops the server and removes its folder.
pub struct Cluster {
    guardian: Child,
    folder: Folder,
    port: u16,
    superuser_password: Secret,
    admin_password: Secret,
}

impl Cluster {
    /// Makes a cluster in a new folder below `directory` and starts it on a free loopback port. As root the server runs as
    /// another user, and in the system's directory for temporary files where that user cannot reach `directory`.
    pub async fn start(directory: &Path) -> Answer<Cluster> {
        Self::start_with(directory, &[]).await
    }

    /// The same with settings of the server, as `(name, value)`.
    pub async fn start_with(directory: &Path, settings: &[(&str, &str)]) -> Answer<Cluster> {
        let Some(tools) = tools::find(&["initdb", "postgres"]).await.pop() else {
            let clause = "no PostgreSQL server was found on PATH or in /usr/lib/postgresql; install postgresql";
            return Err(failed(ErrorClass::Unavailable(clause.into())));
        };
        let servant = Servant::of_this_process().map_err(local)?;
        let mut problem = String::new();
        for _ in 0..STARTS_TRIED_MAX {
            let folder = Folder::make(directory, servant.as_ref()).map_err(local)?;
            let superuser_password = random()?;
            initialise(&tools, &folder, servant.as_ref(), &superuser_password).await?;
            let port = free_port().map_err(local)?;
            let guardian = launch(&tools, &folder, servant.as_ref(), port, settings).map_err(local)?;
            let mut cluster = Cluster { guardian, folder, port, superuser_password, admin_password: random()? };
            match cluster.wait_until_ready().await {
                Ok(()) => return cluster.make_admin().await.map(|()| cluster),
                Err(clause) => problem = clause,
            }
        }
        Err(failed(ErrorClass::Unavailable(format!("the throw-away server does not start: {problem}"))))
    }

    /// The address for the non-superuser admin [`ADMIN`].
    pub fn admin_url(&self) -> Secret {
        self.url(ADMIN, &self.admin_password)
    }

    /// The address for the superuser, for what a test puts in the way.
    pub fn superuser_url(&self) -> Secret {
        self.url(SUPERUSER, &self.superuser_password)
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.0.join("log")
    }

    fn url(&self, user: &str, password: &Secret) -> Secret {
        let (password, port) = (password.expose(), self.port);
        Secret::new(format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres?sslmode=disable"))
    }

    /// The server writes `ready` into the last line of its pid file once it takes sessions.
    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + START_DEADLINE;
        let pid_file = self.folder.0.join("data/postmaster.pid");
        let mut was_there = false;
        loop {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            if text.lines().last().is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            was_there |= !text.is_empty();
            let gave_up = (was_there && text.is_empty()) || log.lines().any(|line| line.contains("FATAL"));
            if gave_up || Instant::now() > until || !matches!(self.guardian.try_wait(), Ok(None)) {
                return Err(log.lines().rev().take(3).collect::<Vec<_>>().join(" / "));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn make_admin(&self) -> Answer<()> {
        let settings = PostgresSettings { url: self.superuser_url(), site_host: None, site_parameters: None, ca: None };
        let address = Address::parse(&settings).map_err(|clause| failed(ErrorClass::Invalid(clause)))?;
        let session = Session::open(&address.config, None, &Arc::default(), "connect to the throw-away server").await?;
        let admin = Identifier::new(&SqlName::trusted(ADMIN)).map_err(failed)?;
        let verifier = Literal::new(&scram_sha_256(self.admin_password.expose().as_bytes()));
        session.run(&sql::create_admin(&admin, &verifier)).await.map(|_| ())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The guardian reads the end of its input, stops the server and empties the folder; waited for, so that nothing is
        // left when this returns. The folder itself may lie where only we can remove it: its own drop does.
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// The user a server runs as instead of root.
struct Servant {
    uid: u32,
    gid: u32,
}

impl Servant {
    /// `None` when we are not root.
    fn of_this_process() -> io::Result<Option<Servant>> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let entry = |name: &str| {
            let fields: Vec<&str> =
                users.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name))?;
            Some(Servant { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
        };
        SERVANTS.iter().find_map(|name| entry(name)).map(Some).ok_or_else(|| {
            io::Error::other("PostgreSQL does not run as root, and this machine has no user postgres or nobody")
        })
    }

    /// Whether it gets to a directory from the root.
    fn reaches(&self, directory: &Path) -> bool {
        directory.ancestors().all(|part| {
            fs::metadata(part).is_ok_and(|meta| match meta.uid() == self.uid {
                true => meta.mode() & 0o100 != 0,
                false => meta.mode() & 0o001 != 0,
            })
        })
    }
}

/// A private folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn make(directory: &Path, servant: Option<&Servant>) -> io::Result<Folder> {
        fs::create_dir_all(directory)?;
        let mut parent = directory.canonicalize()?;
        if servant.is_some_and(|servant| !servant.reaches(&parent)) {
            parent = std::env::temp_dir().canonicalize()?;
        }
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let name = hex(&random);
        let folder = Folder(parent.join(format!("sitewright-postgres-{name}")));
        DirBuilder::new().mode(0o700).create(&folder.0)?;
        if let Some(servant) = servant {
            chown(&folder.0, Some(servant.uid), Some(servant.gid))?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn initialise(tools: &Tools, folder: &Folder, servant: Option<&Servant>, password: &Secret) -> Answer<()> {
    let password_file = folder.0.join("password");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&password_file)?;
        file.write_all(password.expose().as_bytes())?;
        servant.map_or(Ok(()), |servant| chown(&password_file, Some(servant.uid), Some(servant.gid)))
    };
    write().map_err(local)?;
    let mut initdb = tools.command("initdb");
    initdb.current_dir(&folder.0).args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]);
    initdb.arg(format!("--username={SUPERUSER}")).arg(format!("--pwfile={}", password_file.display()));
    initdb.arg(format!("--pgdata={}", folder.0.join("data").display()));
    if let Some(servant) = servant {
        initdb.uid(servant.uid).gid(servant.gid);
    }
    let output = timeout(START_DEADLINE, initdb.output()).await;
    let output = output.map_err(|_| local(io::Error::other("initdb does not end")))?.map_err(local)?;
    fs::remove_file(&password_file).map_err(local)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(failed(ErrorClass::Unavailable(format!("initdb ended with {}: {complaint}", output.status))));
    }
    Ok(())
}

/// Nothing of it survives, so nothing of it is synced to the disk.
fn launch(
    tools: &Tools,
    folder: &Folder,
    servant: Option<&Servant>,
    port: u16,
    settings: &[(&str, &str)],
) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.0.join("log"))?;
    fs::set_permissions(folder.0.join("log"), Permissions::from_mode(0o600))?;
    if let Some(servant) = servant {
        chown(folder.0.join("log"), Some(servant.uid), Some(servant.gid))?;
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARDIAN, "sh"]).arg(&folder.0).arg(tools.directory.join("postgres"));
    command.arg("-D").arg(folder.0.join("data")).arg("-p").arg(port.to_string());
    // A socket directory relative to the data directory has no length limit to run into.
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", "."),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("logging_collector", "off"),
    ];
    for (name, value) in fixed.iter().chain(settings) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    if let Some(servant) = servant {
        command.uid(servant.uid).gid(servant.gid);
    }
    // In a group of its own: Ctrl-C at a terminal is for us, and we stop the server when we are done with it.
    command.process_group(0);
    command.current_dir(&folder.0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// Hexadecimal, so that it needs no quoting in an address.
fn random() -> Answer<Secret> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| failed(ErrorClass::Unavailable("the system gave no random bytes".into())))?;
    Ok(Secret::new(hex(&bytes)))
}

fn failed(class: ErrorClass) -> ProviderError {
    ProviderError::new(PROVIDER, "start a throw-away server", class)
}

fn local(error: io::Error) -> ProviderError {
    failed(ErrorClass::Unavailable(error.to_string()))
}
