//! What can be turned at the simulated Ploi: what is unknown of the real one, and its failures (contracts/ploi.md 10, 11).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long what Ploi queues takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PloiDelays {
    /// A new site until it is active.
    pub building: Duration,
    /// Installing and removing a repository.
    pub repository: Duration,
    /// From the deploy call until the site shows `deploying`.
    pub deploying_shows: Duration,
    /// From then until it ends.
    pub deploy: Duration,
    /// A certificate order.
    pub certificate: Duration,
    /// A one-off script.
    pub script: Duration,
    /// A site's removal.
    pub delete: Duration,
    /// Until a read of the environment shows what was written.
    pub env_settles: Duration,
    /// Until a listing shows a new site.
    pub site_shows: Duration,
}

impl PloiDelays {
    /// For tests: short, but never at once.
    pub fn quick() -> Self {
        let ms = Duration::from_millis;
        PloiDelays {
            building: ms(20),
            repository: ms(20),
            deploying_shows: ms(20),
            deploy: ms(40),
            certificate: ms(20),
            script: ms(10),
            delete: ms(10),
            env_settles: Duration::ZERO,
            site_shows: Duration::ZERO,
        }
    }

    /// For people who watch: long enough to be seen.
    pub fn watchable() -> Self {
        let ms = Duration::from_millis;
        PloiDelays {
            building: ms(2000),
            repository: ms(2500),
            deploying_shows: ms(700),
            deploy: ms(8000),
            certificate: ms(3000),
            script: ms(800),
            delete: ms(1500),
            env_settles: ms(300),
            site_shows: ms(300),
        }
    }
}

/// Where a file's text stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Envelope {
    /// Under its documented key.
    #[default]
    Documented,
    /// Under the key that the replaced system saw or typed (`nginx_config`, `data.script`; for the environment `data`).
    Observed,
    /// The documented key below `data`.
    DataMember,
    /// `data` is the text.
    Data,
    /// The text alone, as a JSON string.
    Bare,
}

/// What a POST of aliases does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AliasPost {
    /// Adds to the list.
    #[default]
    Adds,
    /// Replaces the list.
    Replaces,
}

/// What happens to a change of a site that is not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhileBusy {
    /// 422 with a message.
    #[default]
    Refused,
    /// Taken as if it were idle.
    Accepted,
    /// Refused, and files answer 404.
    Missing,
}

/// How deploys end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeployEnd {
    /// As everything they need allows.
    #[default]
    AsItIs,
    /// The build fails; the old release serves.
    BuildFails,
    /// The look at the new release fails; the old release serves.
    LookFails,
    /// It stays `deploying`.
    Never,
}

/// What becomes of a certificate order that failed, or of every order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificateEnd {
    /// It disappears.
    #[default]
    Vanishes,
    /// It stays `created`.
    StaysCreated,
}

/// All knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Knobs {
    /// Envelope of the environment.
    pub env_envelope: Envelope,
    /// Envelope of the virtual host.
    pub vhost_envelope: Envelope,
    /// Envelope of the deploy script.
    pub script_envelope: Envelope,
    /// What a POST of aliases does.
    pub alias_post: AliasPost,
    /// Whether hand edits of the virtual host survive certificate, alias, suspend and resume.
    pub vhost_edits_survive: bool,
    /// Whether files stay when a repository is removed.
    pub removal_keeps_files: bool,
    /// Whether the environment stays when a repository is removed; it blocks the next clone then.
    pub removal_keeps_env: bool,
    /// Changes of sites that are not idle.
    pub while_busy: WhileBusy,
    /// New sites stay `building`.
    pub sites_stay_building: bool,
    /// Repositories cannot be cloned.
    pub clone_fails: bool,
    /// How deploys end.
    pub deploy_end: DeployEnd,
    /// Every order of a certificate fails.
    pub certificates_fail: bool,
    /// What becomes of a failed order.
    pub certificate_end: CertificateEnd,
    /// Days until a new certificate ends.
    pub certificate_days: u32,
    /// Scripts stay `pending`.
    pub scripts_stay_pending: bool,
    /// This many writes answer 200 with an `error` and do nothing.
    pub errors_inside: u32,
    /// Listings say one item more than they hold.
    pub totals_lie: bool,
    /// A build that fails prints its whole environment, as careless build scripts do.
    pub builds_print_environment: bool,
    /// Scripts end with exit code 1 and this output.
    pub scripts_fail_with: Option<String>,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            env_envelope: Envelope::default(),
            vhost_envelope: Envelope::default(),
            script_envelope: Envelope::default(),
            alias_post: AliasPost::default(),
            vhost_edits_survive: true,
            removal_keeps_files: false,
            removal_keeps_env: false,
            while_busy: WhileBusy::default(),
            sites_stay_building: false,
            clone_fails: false,
            deploy_end: DeployEnd::default(),
            certificates_fail: false,
            certificate_end: CertificateEnd::default(),
            // Let's Encrypt's lifetime.
            certificate_days: 90,
            scripts_stay_pending: false,
            errors_inside: 0,
            totals_lie: false,
            builds_print_environment: false,
            scripts_fail_with: None,
        }
    }
}
