//! Named processes at the simulated servers: which listens on which port, with which environment.

use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait for a database at a login check: it is on this machine.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// One process as pm2 keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// The system user it runs as.
    pub user: String,
    /// The port it listens on while it runs.
    pub port: u16,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// The commit it was built from.
    pub commit: String,
    /// Running, or stopped and still listed.
    pub running: bool,
}

/// A port is held by another process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {port} is held by {holder}")]
pub struct PortHeld {
    /// The port.
    pub port: u16,
    /// Name of its holder.
    pub holder: String,
}

/// Processes by server id.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<u64, Vec<Process>>);

impl Processes {
    /// Every process of a server, stopped ones too.
    pub fn all(&self, server: u64) -> &[Process] {
        self.0.get(&server).map_or(&[], Vec::as_slice)
    }

    /// The running process on a port.
    pub fn listener(&self, server: u64, port: u16) -> Option<&Process> {
        self.all(server).iter().find(|p| p.running && p.port == port)
    }

    /// Starts a process, in the place of the one of the same user and name.
    pub fn start(&mut self, server: u64, process: Process) -> Result<(), PortHeld> {
        let same = |p: &Process| p.name == process.name && p.user == process.user;
        if let Some(holder) = self.all(server).iter().find(|p| p.running && p.port == process.port && !same(p)) {
            return Err(PortHeld { port: process.port, holder: holder.name.clone() });
        }
        let list = self.0.entry(server).or_default();
        list.retain(|p| !same(p));
        list.push(process);
        Ok(())
    }

    /// Starts a listed process again; one whose port was taken meanwhile dies at once. `false`: there is none.
    pub fn restart(&mut self, server: u64, user: &str, name: &str) -> bool {
        let Some(mut process) = self.all(server).iter().find(|p| p.user == user && p.name == name).cloned() else {
            return false;
        };
        process.running = true;
        let _ = self.start(server, process);
        true
    }

    /// Stops a process and keeps it listed. `false`: there is none.
    pub fn stop(&mut self, server: u64, user: &str, name: &str) -> bool {
        let mut list = self.0.get_mut(&server).into_iter().flatten();
        list.find(|p| p.user == user && p.name == name).map(|p| p.running = false).is_some()
    }

    /// Stops and forgets a process. `false`: there is none.
    pub fn delete(&mut self, server: u64, user: &str, name: &str) -> bool {
        let Some(list) = self.0.get_mut(&server) else { return false };
        let before = list.len();
        list.retain(|p| !(p.user == user && p.name == name));
        list.len() != before
    }
}

/// Whether a process gets into its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseLogin {
    /// Its address names no PostgreSQL on this machine: nothing to ask, taken for good.
    NotAsked,
    /// A real login worked.
    Works,
    /// A real login did not: one clause.
    Refused(String),
}

/// Logs in with a process's own `DATABASE_URL`, when that is a PostgreSQL on loopback (decisions 35). Parameters of the
/// address belong to the site's own client and are passed over.
pub async fn database_login(url: Option<&str>) -> DatabaseLogin {
    let Some(url) = url.and_then(|text| url::Url::parse(text).ok()) else { return DatabaseLogin::NotAsked };
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name == "127.0.0.1",
        None => false,
    };
    if !loopback || !matches!(url.scheme(), "postgres" | "postgresql") {
        return DatabaseLogin::NotAsked;
    }
    let mut config = tokio_postgres::Config::new();
    config
        .host(url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']))
        .port(url.port().unwrap_or(5432))
        .user(decoded(url.username()))
        .password(decoded(url.password().unwrap_or_default()))
        .dbname(decoded(url.path().trim_start_matches('/')))
        .connect_timeout(LOGIN_TIMEOUT);
    match tokio::time::timeout(LOGIN_TIMEOUT, config.connect(tokio_postgres::NoTls)).await {
        Ok(Ok(_)) => DatabaseLogin::Works,
        Ok(Err(error)) => {
            let said = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
            DatabaseLogin::Refused(said)
        }
        Err(_) => DatabaseLogin::Refused("no answer in time".to_owned()),
    }
}

/// Percent-decoding of one part of an address.
fn decoded(text: &str) -> String {
    // A form-encoded pair decodes `%XX`; `+` stands for itself in an address.
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, port: u16) -> Process {
        let environment = BTreeMap::new();
        Process { name: name.into(), user: "ploi".into(), port, environment, commit: "c".into(), running: true }
    }

    #[test]
    fn a_held_port_starts_nobody_else_and_its_holder_goes_on() {
        let mut all = Processes::default();
        all.start(1, process("a", 4001)).unwrap();
        let refused = all.start(1, process("b", 4001)).unwrap_err();
        assert_eq!(refused.holder, "a");
        assert_eq!(all.listener(1, 4001).unwrap().name, "a");
        all.start(2, process("b", 4001)).unwrap();
        all.start(1, process("a", 4002)).unwrap();
        assert_eq!(all.listener(1, 4001), None, "the same name moved to its new port");
    }

    #[test]
    fn a_stopped_process_keeps_its_place_and_frees_its_port() {
        let mut all = Processes::default();
        all.start(1, process("a", 4001)).unwrap();
        assert!(all.stop(1, "ploi", "a") && all.listener(1, 4001).is_none());
        assert!(all.restart(1, "ploi", "a") && all.listener(1, 4001).is_some());
        assert!(!all.stop(1, "other", "a"), "another user's list is another list");
        assert!(all.delete(1, "ploi", "a") && !all.restart(1, "ploi", "a"));
    }

    #[tokio::test]
    async fn only_a_postgres_on_this_machine_is_asked() {
        assert_eq!(database_login(None).await, DatabaseLogin::NotAsked);
        assert_eq!(database_login(Some("postgres://a:b@192.0.2.9/c")).await, DatabaseLogin::NotAsked);
        assert_eq!(database_login(Some("file:./data.db")).await, DatabaseLogin::NotAsked);
        assert_eq!(decoded("a%2Fb+c"), "a/b+c");
    }
}
