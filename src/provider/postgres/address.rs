//! The address of the server: ours, and the one that sites get (decisions 15).

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::provider::postgres::tls::SslMode;
use crate::resource::name::SqlName;
use crate::resource::secret::Secret;

/// The database that is connected to when the address names none: never a template (contracts/postgres.md 2).
const MAINTENANCE_DATABASE: &str = "postgres";
/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;
/// Parameters of libpq that this program acts on itself, or that name files of this machine.
const OUR_PARAMETERS: [&str; 7] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcompression", "gssencmode"];

/// Settings of the PostgreSQL provider.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `PLATFORM_DATABASE_URL`: how we reach the server, as its admin; its database is the maintenance database.
    pub url: Secret,
    /// `database.siteHost`: `host` or `host:port`, where sites reach the server another way.
    pub site_host: Option<String>,
    /// `database.siteParameters`: `name=value&…`, where sites need other ones.
    pub site_parameters: Option<String>,
    /// `database.ca`: PEM file of the server's private root.
    pub ca: Option<PathBuf>,
}

/// A server's address, taken apart.
#[derive(Clone)]
pub(super) struct Address {
    /// For the driver; the database is the maintenance database.
    pub config: Config,
    /// As asked for.
    pub ssl_mode: SslMode,
    /// PEM file of trusted roots.
    pub root: Option<PathBuf>,
    site_authority: String,
    site_parameters: String,
}

impl Address {
    /// Reads the settings; fails with one clause that holds nothing of the address.
    pub fn parse(settings: &PostgresSettings) -> Result<Address, String> {
        let text = settings.url.expose();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("PLATFORM_DATABASE_URL does not begin with postgres://".into());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (ours, drivers): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| OUR_PARAMETERS.contains(&pair.split('=').next().unwrap_or_default()));
        let value = |name: &str| {
            ours.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).filter(|value| !value.is_empty())
        };
        let ssl_mode = match value("sslmode") {
            None => SslMode::Prefer,
            Some(word) => SslMode::parse(word).ok_or_else(|| {
                format!("sslmode `{word}` of PLATFORM_DATABASE_URL is none of disable, allow, prefer, require, verify-ca, verify-full")
            })?,
        };
        let root = match value("sslrootcert") {
            None | Some("system") => settings.ca.clone(),
            Some(path) => settings.ca.clone().or_else(|| Some(PathBuf::from(decode(path)))),
        };
        let mut config: Config = format!("{base}?{}", drivers.join("&"))
            .parse()
            .map_err(|e: tokio_postgres::Error| format!("PLATFORM_DATABASE_URL cannot be read: {}", below(&e)))?;
        if config.get_dbname().is_none() {
            config.dbname(MAINTENANCE_DATABASE);
        }
        config.ssl_mode(ssl_mode.negotiation());
        let site_authority = match &settings.site_host {
            Some(host) => bracketed(host),
            None => authority(&config),
        };
        let local_file = |pair: &&str| {
            ["sslrootcert", "sslcert", "sslkey", "sslcrl", "host", "user", "password", "dbname"]
                .contains(&pair.split('=').next().unwrap_or_default())
        };
        let site_parameters = match &settings.site_parameters {
            Some(parameters) => parameters.trim_start_matches('?').to_owned(),
            None => query.split('&').filter(|pair| !pair.is_empty() && !local_file(pair)).collect::<Vec<_>>().join("&"),
        };
        Ok(Address { config, ssl_mode, root, site_authority, site_parameters })
    }

    /// `postgres://login:password@host/name?parameters`.
    pub fn site_url(&self, database: &SqlName, login: &SqlName, password: &Secret) -> Secret {
        let mark = if self.site_parameters.is_empty() { "" } else { "?" };
        Secret::new(format!(
            "postgres://{}:{}@{}/{}{mark}{}",
            encode(login.as_str()),
            encode(password.expose()),
            self.site_authority,
            encode(database.as_str()),
            self.site_parameters,
        ))
    }

    /// Host (or socket directory) and port, for tools that take them apart.
    pub fn host_and_port(&self) -> (String, u16) {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        (host, self.config.get_ports().first().copied().unwrap_or(DEFAULT_PORT))
    }
}

/// A socket directory is no address for a site; the machine it is on is the only other guess.
fn authority(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => bracketed(name),
        Some(Host::Unix(_)) | None => "localhost".into(),
    };
    match config.get_ports().first() {
        Some(port) if *port != DEFAULT_PORT => format!("{host}:{port}"),
        _ => host,
    }
}

fn bracketed(host: &str) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

fn below(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The value of one query parameter.
fn decode(value: &str) -> String {
    let pair = format!("v={}", value.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, String> {
        let settings = PostgresSettings { url: Secret::new(url), site_host: None, site_parameters: None, ca: None };
        Address::parse(&settings)
    }

    fn site_url(address: &Address, password: &str) -> String {
        let name = SqlName::trusted("client_a");
        address.site_url(&name, &SqlName::trusted("client_a_a"), &Secret::new(password)).expose().to_owned()
    }

    #[test]
    fn sites_get_our_way_unless_they_have_their_own() {
        let ours =
            address("postgres://adm:x@db.example:6432/main?sslmode=verify-full&sslrootcert=/etc/ca.pem").unwrap();
        assert_eq!(site_url(&ours, "p"), "postgres://client_a_a:p@db.example:6432/client_a?sslmode=verify-full");
        let settings = PostgresSettings {
            url: Secret::new("postgres://adm:x@db.example/main?sslmode=require"),
            site_host: Some("2001:db8::7".into()),
            site_parameters: Some("sslmode=no-verify".into()),
            ca: None,
        };
        let other = Address::parse(&settings).unwrap();
        assert_eq!(site_url(&other, "p"), "postgres://client_a_a:p@[2001:db8::7]/client_a?sslmode=no-verify");
        let socket = address("postgres://adm@/main?host=/run/postgresql").unwrap();
        assert_eq!(site_url(&socket, "p"), "postgres://client_a_a:p@localhost/client_a");
    }

    #[test]
    fn passwords_are_percent_encoded() {
        let ours = address("postgres://adm:x@db.example").unwrap();
        let text = site_url(&ours, "a b+@:/?#ü'");
        assert_eq!(text, "postgres://client_a_a:a%20b%2B%40%3A%2F%3F%23%C3%BC%27@db.example/client_a");
        let back: Config = text.parse().unwrap();
        assert_eq!(back.get_password(), Some("a b+@:/?#ü'".as_bytes()));
    }

    #[test]
    fn every_mode_of_libpq_is_known_and_no_other() {
        for word in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
            let address = address(&format!("postgres://adm:x@db.example/main?sslmode={word}")).unwrap();
            assert_eq!(address.ssl_mode.word(), word);
        }
        assert_eq!(address("postgres://adm:x@db.example").unwrap().ssl_mode, SslMode::Prefer);
        assert!(address("postgres://adm:x@db.example?sslmode=no-verify").is_err());
    }

    #[test]
    fn a_wrong_address_is_not_shown() {
        for url in [
            "mysql://adm:canary@db.example",
            "postgres://adm:canary@db.example:99999/x",
            "postgres://adm:canary@h?canary2=x",
        ] {
            let error = address(url).err().unwrap();
            assert!(!error.contains("canary@") && !error.contains("adm"), "{error}");
        }
    }

    #[test]
    fn the_maintenance_database_is_the_one_in_the_address() {
        assert_eq!(address("postgres://adm:x@db.example/main").unwrap().config.get_dbname(), Some("main"));
        assert_eq!(address("postgres://adm:x@db.example").unwrap().config.get_dbname(), Some("postgres"));
    }
}
