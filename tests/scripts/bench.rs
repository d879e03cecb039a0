//! A server in a folder: a home, a Git remote, sites cloned from it, and stand-ins for what a real server has installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sitewright::resource::deploy_script::{self, Commands, Migrate, ScriptData};
use sitewright::resource::env_file::{self, EnvValue, Environment};
use sitewright::resource::name::{ClientName, HostName, RepositorySlug};
use sitewright::resource::secret::Secret;

use crate::program;

/// Everything a deploy may call; what is not linked here is not on its PATH.
const TOOLS: &[&str] = &[
    "awk", "basename", "bash", "cat", "chmod", "cp", "curl", "cut", "date", "df", "env", "find", "flock", "git",
    "grep", "head", "ln", "ls", "mkdir", "mv", "node", "printenv", "ps", "readlink", "rm", "sed", "setsid", "sleep",
    "sort", "ssh", "stat", "tail", "timeout", "tr", "touch", "true",
];
/// Our own stand-ins.
const STAND_INS: &[(&str, &str)] = &[
    ("npm", include_str!("standins/npm")),
    ("npx", include_str!("standins/npx")),
    ("pm2", include_str!("standins/pm2")),
    ("pg_dump", include_str!("standins/pg_dump")),
    ("pg_restore", include_str!("standins/pg_restore")),
    ("server.js", include_str!("standins/server.js")),
];
/// In every environment; nothing that a run prints may hold one of them.
pub const SECRETS: [&str; 2] = ["canary-payload-5f1c", "canary%20password"];
/// How long a helper waits for another process before it gives a test up; generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a home, shared by all its sites.
pub struct Bench {
    folder: tempfile::TempDir,
}

/// A client's site on it.
pub struct Site {
    pub data: ScriptData,
    pub folder: PathBuf,
    pub port: u16,
}

/// How a deploy ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub output: String,
}

impl Outcome {
    pub fn reason(&self) -> Option<&str> {
        let last = self.output.lines().last().unwrap_or_default();
        deploy_script::reason(last)
    }
}

fn sh(folder: &Path, line: &str) -> String {
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-ec", line])
        .current_dir(folder)
        .stdin(Stdio::null())
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@shop.example")])
        .envs([("GIT_COMMITTER_NAME", "t"), ("GIT_COMMITTER_EMAIL", "t@shop.example")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A port that was free a moment ago, outside the range where the script looks for spare ones.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if !(20_000..30_000).contains(&port) {
            return port;
        }
    }
}

impl Bench {
    /// `None` (said aloud) where a tool is not installed.
    pub fn new() -> Option<Bench> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "home/fail", "home/hold"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for tool in TOOLS.iter().filter(|tool| **tool != "ssh") {
            symlink(program(tool)?, folder.path().join("bin").join(tool)).unwrap();
        }
        let bench = Bench { folder };
        for (name, text) in STAND_INS {
            bench.stand_in(name, text);
        }
        let remote = bench.remote();
        std::fs::create_dir_all(&remote).unwrap();
        sh(&remote, "git init -q --bare -b main . && git config uploadpack.allowAnySHA1InWant true");
        sh(bench.folder.path(), &format!("git clone -q {} work 2>/dev/null", remote.display()));
        bench.commit("v1");
        Some(bench)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.path("home").join(name)
    }

    pub fn remote(&self) -> PathBuf {
        self.path("remotes/agency/shop.git")
    }

    /// Puts a program on the PATH, in the place of what was there.
    pub fn stand_in(&self, name: &str, text: &str) {
        let file = self.path("bin").join(name);
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn remove_tool(&self, name: &str) {
        std::fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    /// Pushes a commit whose page is `page`; gives its id.
    pub fn commit(&self, page: &str) -> String {
        let line = format!(
            "cd work; printf %s '{page}' >page.txt; echo '{{\"dependencies\":{{\"payload\":\"3\"}}}}' >package.json; \
             echo 'CLIENT_ID=from-the-repository' >.env; git add -f . ; git commit -qm '{page}'; git push -q origin HEAD:main; git rev-parse HEAD"
        );
        sh(self.folder.path(), &line)
    }

    pub fn git(&self, line: &str) -> String {
        sh(&self.path("work"), line)
    }

    /// Breaks a step; `text` is what the stand-in looks for (a page, `once`, `always`).
    pub fn fail(&self, step: &str, text: &str) {
        std::fs::write(self.home("fail").join(step), text).unwrap();
    }

    pub fn mend(&self) {
        for flag in std::fs::read_dir(self.home("fail")).unwrap() {
            std::fs::remove_file(flag.unwrap().path()).unwrap();
        }
    }

    pub fn site(&self, client: &str) -> Site {
        let domain = format!("{client}.shops.example");
        let folder = self.path("sites").join(&domain);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        sh(self.folder.path(), &format!("git clone -q {} {}", self.remote().display(), folder.display()));
        let data = ScriptData {
            client: ClientName::parse(client).unwrap(),
            domain: HostName::parse(&domain).unwrap(),
            system_user: "ploi".into(),
            repository: RepositorySlug::parse("agency/shop").unwrap(),
            branch: "main".into(),
            build_memory_mib: 1234,
            timeout: Duration::from_secs(160),
            health_path: "/api/health".into(),
            migrate: Migrate::Safe,
            health_gate: true,
            rollback_on_failure: true,
            commands: Commands::default(),
        };
        let site = Site { data, folder, port: free_port() };
        site.write_environment(site.port);
        site
    }

    /// A deploy as the host starts one: the script as a file, variables of the run beside a polluted environment.
    pub fn start(&self, site: &Site, variables: &[(&str, &str)]) -> Child {
        let rendered = deploy_script::render(&site.data).unwrap();
        let there =
            format!("SW_SITE_DIR='{}'", deploy_script::site_directory(&site.data.system_user, &site.data.domain));
        assert!(rendered.contains(&there));
        let script = self.path(&format!("{}.sh", site.data.client));
        std::fs::write(&script, rendered.replace(&there, &format!("SW_SITE_DIR='{}'", site.folder.display()))).unwrap();
        let log = std::fs::File::create(self.path(&format!("{}.log", site.data.client))).unwrap();
        Command::new(self.path("bin/bash"))
            .arg(script)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("DATABASE_URL", "postgres://platform@192.0.2.1/platform")
            .env("PORT", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(variables.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub fn finish(&self, site: &Site, mut child: Child) -> Outcome {
        let code = child.wait().unwrap().code().unwrap_or(-1);
        let output = std::fs::read_to_string(self.path(&format!("{}.log", site.data.client))).unwrap();
        for secret in SECRETS {
            assert!(!output.contains(secret), "a secret was printed: {output}");
        }
        assert!(!output.contains("of-all-clients"), "pm2's list was printed: {output}");
        Outcome { code, output }
    }

    pub fn deploy(&self, site: &Site, variables: &[(&str, &str)]) -> Outcome {
        let child = self.start(site, variables);
        self.finish(site, child)
    }

    /// Deploys and insists.
    pub fn release(&self, site: &Site, variables: &[(&str, &str)]) {
        let outcome = self.deploy(site, variables);
        assert_eq!((outcome.code, outcome.reason()), (0, None), "{}", outcome.output);
    }

    /// Waits until a file is there.
    pub fn await_file(&self, file: &Path) {
        self.await_that(&file.to_string_lossy(), || file.exists());
    }

    /// Waits for what another process does.
    pub fn await_that(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{what} never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Command lines of processes that were started from below this bench's folder.
    pub fn processes(&self) -> Vec<String> {
        let mark = self.folder.path().to_string_lossy().into_owned();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&mark))
            .collect()
    }

    pub fn pm2_list(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.home(".pm2/list.json")).unwrap_or_else(|_| "[]".into());
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Bench {
    /// Ends the servers that the pm2 stand-in started; each leads a process group of its own.
    fn drop(&mut self) {
        for one in self.pm2_list() {
            if let Some(pid) = one["pid"].as_i64() {
                let _ = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).stderr(Stdio::null()).status();
            }
        }
    }
}

impl Site {
    pub fn write_environment(&self, port: u16) {
        let plain = |text: &str| EnvValue::Plain(text.to_owned());
        let secret = |text: &str| EnvValue::Secret(Secret::new(text));
        let environment: Environment = [
            ("NODE_ENV".to_owned(), plain("production")),
            ("PORT".to_owned(), plain(&port.to_string())),
            ("CLIENT_ID".to_owned(), plain(self.data.client.as_str())),
            ("EXPECTED_HOST".to_owned(), plain(self.data.domain.as_str())),
            ("NASTY".to_owned(), plain("$(touch /canary) $HOME `id`\nline two")),
            ("PAYLOAD_SECRET".to_owned(), secret(SECRETS[0])),
            (
                "DATABASE_URL".to_owned(),
                secret("postgres://shop_a:canary%20password@db.example:6432/client_shop?sslmode=no-verify"),
            ),
        ]
        .into();
        std::fs::write(self.folder.join(".env"), env_file::render(&environment).unwrap().expose()).unwrap();
    }

    /// What answers on a port: page, client, process id, and what leaked into its environment.
    pub fn answer_on(&self, port: u16) -> Option<Vec<String>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.data.domain);
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, _) = text.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then_some(())?;
        let body = text.lines().find(|line| line.contains(self.data.client.as_str()))?;
        Some(body.split(' ').map(str::to_owned).collect())
    }

    /// The page that the site's port serves.
    pub fn page(&self) -> Option<String> {
        self.answer_on(self.port)?.into_iter().next()
    }

    pub fn releases(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.folder.join(".sitewright/releases")).into_iter().flatten();
        let mut names: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn current(&self) -> String {
        let link = std::fs::read_link(self.folder.join(".sitewright/current")).unwrap();
        link.file_name().unwrap().to_string_lossy().into_owned()
    }
}
