//! Settings: who wins, where a value came from, and what a mistake says.

use std::collections::BTreeMap;
use std::time::Duration;

use sitewright::config::keys::{KEYS, variable};
use sitewright::config::raw::Origin;
use sitewright::config::{Loaded, Settings, Source, StateLocation, load};

#[derive(Default)]
struct Fixed {
    variables: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    credentials: BTreeMap<String, String>,
}

impl Fixed {
    fn with(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Fixed { variables, ..Fixed::default() }
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Source for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn variables(&self) -> Vec<String> {
        self.variables.keys().cloned().collect()
    }
    fn file(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.files.get(path).cloned())
    }
    fn credential(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.credentials.get(name).cloned())
    }
}

fn loaded(source: &Fixed) -> Loaded {
    load(&[], source).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn row(loaded: &Loaded, key: &str) -> (Option<String>, Origin) {
    let row = loaded.rows.iter().find(|row| row.key == key).unwrap();
    (row.value.clone(), row.origin.clone())
}

/// G5.
#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let settings = loaded(&Fixed::default()).settings;
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.state, StateLocation::Sqlite(".sitewright/state.db".into()));
    assert_eq!(settings.listen.unwrap().to_string(), "127.0.0.1:7117");
    assert_eq!(settings.deletion.grace, Duration::from_secs(7 * 86_400));
    assert_eq!((settings.deletion.max_share, settings.deletion.max_per_day), (0.1, 5));
    assert_eq!((settings.absence_scans, settings.workers, settings.backup_keep), (3, 8, 10));
    assert_eq!(settings.ploi.port_range, 4001..=9999);
    assert_eq!(settings.rates["ploi"].calls, 60);
    assert_eq!(settings.rates["cloudflare"].per, Duration::from_secs(300));
    assert_eq!(settings.shared_environment, ["STRIPE_SECRET_KEY", "OPENAI_API_KEY"]);
    assert_eq!(settings.providers.ploi_api_url, "https://ploi.io/api");
    assert_eq!((settings.dns.drain, settings.dns.server), (None, None));
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let text = "resync: 1m\nabsence: { scans: 4, window: 90s }\nsettle: 5s\nlog: debug\nlog.format: json\n";
    let source =
        Fixed::with(&[("SITEWRIGHT_RESYNC", "2m"), ("SITEWRIGHT_ABSENCE_SCANS", "5")]).file("sitewright.yaml", text);
    let loaded = load(&[("resync", "3m".to_owned())], &source).unwrap();
    assert_eq!(row(&loaded, "resync"), (Some("3m".into()), Origin::Flag));
    assert_eq!(
        row(&loaded, "absence.scans"),
        (Some("5".into()), Origin::Environment("SITEWRIGHT_ABSENCE_SCANS".into()))
    );
    assert_eq!(row(&loaded, "absence.window"), (Some("90s".into()), Origin::File("sitewright.yaml".into())));
    assert_eq!(row(&loaded, "deploy.poll"), (Some("5s".into()), Origin::Default));
    assert_eq!(loaded.settings.resync, Duration::from_secs(180));
    assert_eq!(loaded.settings.absence_scans, 5);
    assert_eq!(loaded.settings.log, "debug");
}

#[test]
fn a_named_settings_file_must_be_there() {
    let source = Fixed::with(&[("SITEWRIGHT_CONFIG", "/etc/other.yaml")]);
    assert!(load(&[], &source).unwrap_err()[0].contains("/etc/other.yaml"));
    let source = source.file("/etc/other.yaml", "workers: 3\n");
    assert_eq!(loaded(&source).settings.workers, 3);
    let flag = [("config", "mine.yaml".to_owned())];
    assert_eq!(load(&flag, &source.file("mine.yaml", "workers: 4\n")).unwrap().settings.workers, 4);
}

#[test]
fn variables_read_from_files_and_credentials_too() {
    let mut source = Fixed::with(&[("PLOI_API_TOKEN_FILE", "/run/ploi"), ("CLOUDFLARE_API_TOKEN", "")])
        .file("/run/ploi", "from-file\n");
    source.credentials.insert("CLOUDFLARE_API_TOKEN".into(), "from-systemd".into());
    source.credentials.insert("SITEWRIGHT_API_TOKEN".into(), "api".into());
    let loaded = loaded(&source);
    let providers = &loaded.settings.providers;
    assert_eq!(providers.ploi_api_token.as_ref().unwrap().expose(), "from-file");
    assert_eq!(providers.cloudflare_api_token.as_ref().unwrap().expose(), "from-systemd");
    assert_eq!(loaded.settings.api_token.as_ref().unwrap().expose(), "api");
    assert_eq!(row(&loaded, "PLOI_API_TOKEN"), (Some("(secret)".into()), Origin::SecretFile("/run/ploi".into())));
    let gone = load(&[], &Fixed::with(&[("PLOI_API_TOKEN_FILE", "/run/none")])).unwrap_err();
    assert!(gone[0].contains("PLOI_API_TOKEN_FILE") && gone[0].contains("/run/none"), "{gone:?}");
}

#[test]
fn an_empty_token_is_none_and_names_of_hosts_are_checked() {
    let file = |text: &str| Fixed::with(&[("SITEWRIGHT_CONFIG", "s.yaml")]).file("s.yaml", text);
    let settings = loaded(&file("apiToken: \"\"\napi.hosts: [Ops.Example, \"ops.example:8443\"]\n")).settings;
    assert_eq!(settings.api_token, None);
    assert_eq!(settings.api_hosts, ["ops.example", "ops.example:8443"]);
    for good in ["ops.example", "OPS.example:1", "[::1]", "[2001:db8::7]:8443", "192.0.2.7:80"] {
        assert_eq!(loaded(&file(&format!("api.hosts: \"{good}\"\n"))).settings.api_hosts, [good.to_lowercase()]);
    }
    for bad in ["https://ops.example", "ops.example:", "ops.example:99999", "ops.example:x", "::1", ":80", "a b"] {
        let errors = load(&[], &file(&format!("api.hosts: \"{bad}\"\n"))).unwrap_err();
        assert!(errors[0].contains("api.hosts"), "{bad}: {errors:?}");
    }
}

#[test]
fn no_secret_is_shown() {
    let secret = "hunter2";
    let source = Fixed::with(&[
        ("PLOI_API_TOKEN", secret),
        ("SITEWRIGHT_API_TOKEN", secret),
        ("PLATFORM_DATABASE_URL", "postgres://a:hunter2@db.example/postgres"),
        ("SITEWRIGHT_STATE", "postgres://a:hunter2@db.example/state"),
        ("SITEWRIGHT_NOTIFY_WEBHOOK", "https://hooks.example/hunter2?t=hunter2"),
    ]);
    let loaded = loaded(&source);
    assert!(!format!("{loaded:?}").contains(secret));
    assert!(matches!(loaded.settings.state, StateLocation::Postgres(_)));
    let errors =
        load(&[], &Fixed::with(&[("SITEWRIGHT_STATE", secret), ("SITEWRIGHT_NOTIFY_WEBHOOK", secret)])).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(!format!("{errors:?}").contains(secret), "{errors:?}");
}

#[test]
fn all_mistakes_are_told_at_once_with_what_was_expected() {
    let source = Fixed::with(&[
        ("SITEWRIGHT_RESYNC", "often"),
        ("SITEWRIGHT_LISTEN", "here"),
        ("SITEWRIGHT_DELETION_MAX_SHARE", "200%"),
        ("SITEWRIGHT_HOSTING_PLOI_PORT_RANGE", "9-1"),
        ("PLOI_API_URL", "ftp://x.example"),
    ])
    .file("sitewright.yaml", "deletion: { maxShares: 3 }\nPLOI_SERVER_ID: 3\n");
    let errors = load(&[], &source).unwrap_err();
    assert_eq!(errors.len(), 7, "{errors:#?}");
    for words in [
        "did you mean `deletion.maxShare`",
        "a duration such as",
        "`often`",
        "environment SITEWRIGHT_LISTEN",
        "from the environment alone",
    ] {
        assert!(errors.iter().any(|error| error.contains(words)), "{words}: {errors:#?}");
    }
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let loaded =
        loaded(&Fixed::with(&[("SITEWRIGHT_DELETION_MAXSHARE", "1%"), ("SITEWRIGHT_RESYNC_FILE", ""), ("OTHER", "x")]));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("did you mean SITEWRIGHT_DELETION_MAX_SHARE"), "{:?}", loaded.warnings);
}

#[test]
fn keys_have_their_variables() {
    for (key, name) in [
        ("deletion.maxShare", "SITEWRIGHT_DELETION_MAX_SHARE"),
        ("probe.connectToPlain", "SITEWRIGHT_PROBE_CONNECT_TO_PLAIN"),
        ("hosting.ploi.portRange", "SITEWRIGHT_HOSTING_PLOI_PORT_RANGE"),
        ("stateKey", "SITEWRIGHT_STATE_KEY"),
        ("PLOI_API_TOKEN", "PLOI_API_TOKEN"),
    ] {
        assert_eq!(variable(key), name);
    }
    let mut names: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), KEYS.len(), "no two keys share a variable");
}

#[test]
fn the_base_domain_comes_from_the_platform_address() {
    let platform = ("PLATFORM_BASE_URL", "https://Agency.example/");
    assert_eq!(loaded(&Fixed::with(&[platform])).settings.base_domain.as_deref(), Some("agency.example"));
    let both = Fixed::with(&[platform, ("SITEWRIGHT_BASE_DOMAIN", "other.example")]);
    assert_eq!(loaded(&both).settings.base_domain.as_deref(), Some("other.example"));
}

#[test]
fn the_log_filter_also_reads_from_rust_log() {
    let rust_log = ("RUST_LOG", "trace");
    assert_eq!(loaded(&Fixed::with(&[rust_log]).file("sitewright.yaml", "log: warn\n")).settings.log, "trace");
    assert_eq!(loaded(&Fixed::with(&[rust_log, ("SITEWRIGHT_LOG", "debug")])).settings.log, "debug");
    assert!(sitewright::telemetry::parse_filter("sitewright=debug,info").is_ok());
    assert!(sitewright::telemetry::parse_filter("sitewright=loud=").is_err());
}

/// H6.
#[test]
fn logs_lose_what_could_forge_a_line() {
    assert_eq!(sitewright::telemetry::clean("a\u{1b}[2J\nb\tc"), "a\u{fffd}[2J\u{fffd}b\tc");
}

/// A writer whose bytes can be read afterwards.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// H6.
#[test]
fn a_record_is_one_line_whatever_its_message_holds() {
    let shared = Shared::default();
    let target = shared.clone();
    let writer = sitewright::telemetry::Clean::new(move || target.clone());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).without_time().finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("{}", "first\u{1b}[2J\nERROR forged\r\u{202e}");
        tracing::info!("second");
    });
    let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text:?}");
    assert!(text.ends_with("second\n") && !text.contains(['\u{1b}', '\r', '\u{202e}']), "{text:?}");
}
