//! The table of all settings: names, defaults, and which of them are secret (interface 3).

/// How a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As it is.
    Plain,
    /// Never.
    Secret,
    /// Never, when it is the address of a server.
    SecretAddress,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `deletion.maxShare`, or a provider's variable.
    pub name: &'static str,
    /// The value when nobody says anything.
    pub default: Option<&'static str>,
    /// How it is shown.
    pub show: Show,
}

const fn plain(name: &'static str, default: &'static str) -> Key {
    Key { name, default: Some(default), show: Show::Plain }
}

const fn open(name: &'static str) -> Key {
    Key { name, default: None, show: Show::Plain }
}

const fn secret(name: &'static str) -> Key {
    Key { name, default: None, show: Show::Secret }
}

/// Settings of `sitewright.yaml`, `SITEWRIGHT_*` and the flags.
pub const KEYS: &[Key] = &[
    plain("specs", "specs"),
    Key { name: "state", default: Some("sqlite:.sitewright/state.db"), show: Show::SecretAddress },
    plain("stateKey", ".sitewright/key"),
    plain("listen", "127.0.0.1:7117"),
    secret("apiToken"),
    open("api.hosts"),
    open("instance"),
    open("baseDomain"),
    plain("resync", "60s"),
    plain("debounce.quiet", "500ms"),
    plain("debounce.max", "10s"),
    plain("absence.scans", "3"),
    plain("absence.window", "60s"),
    plain("deletion.grace", "7d"),
    plain("deletion.databaseGrace", "14d"),
    plain("deletion.maxShare", "10%"),
    plain("deletion.maxPerDay", "5"),
    plain("settle", "60s"),
    plain("deploy.poll", "5s"),
    plain("deploy.timeout", "30m"),
    plain("deploy.retry", "5m"),
    plain("deploy.follow", "head"),
    open("deploy.commands.install"),
    open("deploy.commands.build"),
    open("deploy.commands.check"),
    open("deploy.commands.migrate"),
    open("deploy.commands.start"),
    plain("audit.period", "1h"),
    plain("dns.propagationTimeout", "5m"),
    open("dns.server"),
    open("dns.drain"),
    open("probe.connectTo"),
    open("probe.connectToPlain"),
    open("probe.ca"),
    plain("hosting.ploi.portRange", "4001-9999"),
    plain("hosting.ploi.buildSlots", "2"),
    open("hosting.ploi.sourceProvider"),
    open("hosting.ploi.systemUser"),
    plain("rate.ploi", "60/1m"),
    plain("rate.cloudflare", "1200/5m"),
    // The vendors' published limits, the lowest plan of each (contracts/vercel.md, contracts/railway.md, contracts/resend.md);
    // GitHub allows a token 5000 calls an hour.
    plain("rate.vercel", "100/1m"),
    plain("rate.railway", "100/1h"),
    plain("rate.resend", "2/1s"),
    plain("rate.github", "5000/1h"),
    plain("backup.directory", ".sitewright/backups"),
    plain("backup.keep", "10"),
    open("features"),
    open("database.siteHost"),
    open("database.siteParameters"),
    open("database.ca"),
    plain("sharedEnvironment", "STRIPE_SECRET_KEY,OPENAI_API_KEY"),
    open("notify.from"),
    open("notify.to"),
    secret("notify.webhook"),
    plain("notify.digest", "07:00"),
    plain("log", "info"),
    open("log.format"),
    plain("workers", "8"),
];

/// Provider variables, under the names that the replaced system used.
pub const PROVIDER_KEYS: &[Key] = &[
    secret("PLOI_API_TOKEN"),
    open("PLOI_SERVER_ID"),
    open("PLOI_GIT_REPO"),
    open("PLOI_GIT_BRANCH"),
    plain("PLOI_API_URL", "https://ploi.io/api"),
    secret("CLOUDFLARE_API_TOKEN"),
    open("CLOUDFLARE_ZONE_ID"),
    plain("CLOUDFLARE_API_URL", "https://api.cloudflare.com/client/v4"),
    secret("PLATFORM_DATABASE_URL"),
    open("PLATFORM_BASE_URL"),
    secret("VERCEL_API_TOKEN"),
    open("VERCEL_TEAM_ID"),
    plain("VERCEL_API_URL", "https://api.vercel.com"),
    secret("RAILWAY_API_KEY"),
    plain("RAILWAY_API_URL", "https://backboard.railway.com/graphql/v2"),
    secret("RESEND_API_KEY"),
    plain("RESEND_API_URL", "https://api.resend.com"),
    secret("GITHUB_TOKEN"),
    plain("GITHUB_API_URL", "https://api.github.com"),
];

/// Names of [`PROVIDER_KEYS`]: no spec may refer to one as a secret of its own.
pub const PROVIDER_VARIABLES: [&str; PROVIDER_KEYS.len()] = {
    let mut names = [""; PROVIDER_KEYS.len()];
    let mut index = 0;
    while index < PROVIDER_KEYS.len() {
        names[index] = PROVIDER_KEYS[index].name;
        index += 1;
    }
    names
};

/// The variable of a key: `deletion.maxShare` is `SITEWRIGHT_DELETION_MAX_SHARE`; a provider's variable is itself.
pub fn variable(key: &str) -> String {
    if PROVIDER_VARIABLES.contains(&key) {
        return key.to_owned();
    }
    let mut name = String::from("SITEWRIGHT_");
    for c in key.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => {
                name.push('_');
                name.push(c);
            }
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}
