//! What a spec may leave open, as the settings fill it; and the readings of a spec that need it.

use std::collections::BTreeSet;

use crate::resource::name::{HostName, NameError, RepositorySlug, ServerId, SqlName};
use crate::spec::client_spec::{ADOPT_ANNOTATION, ClientSpec};

/// The settings' part of every spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Defaults {
    /// Completes a domain without a dot (`baseDomain`).
    pub base_domain: Option<String>,
    /// `PLOI_GIT_REPO`.
    pub repository: Option<RepositorySlug>,
    /// `PLOI_GIT_BRANCH`.
    pub branch: Option<String>,
    /// `PLOI_SERVER_ID`.
    pub server: Option<ServerId>,
    /// The system user of sites that name none.
    pub system_user: Option<String>,
}

/// Branch of a repository where neither spec nor settings name one.
pub const BRANCH_DEFAULT: &str = "main";
/// System user of sites where neither spec nor settings name one: the one that every Ploi server has (contracts/ploi.md 6.3).
pub const SYSTEM_USER_DEFAULT: &str = "ploi";

/// The domain in canonical form; a text without a dot is completed with the base domain.
pub fn complete_domain(text: &str, base_domain: Option<&str>) -> Result<HostName, NameError> {
    let bare = text.trim().trim_end_matches('.');
    if bare.contains('.') || bare.is_empty() {
        return HostName::parse(bare);
    }
    match base_domain {
        Some(base) => HostName::parse(&format!("{bare}.{}", base.trim().trim_matches('.'))),
        None => Err(NameError(format!(
            "`{bare}` has no dot and no base domain is set to complete it with; write the full host name or set baseDomain"
        ))),
    }
}

impl ClientSpec {
    /// The root domain in canonical form.
    pub fn domain(&self, defaults: &Defaults) -> Result<HostName, NameError> {
        complete_domain(&self.spec.domain, defaults.base_domain.as_deref())
    }

    /// The name for people.
    pub fn display_name(&self) -> &str {
        self.spec.display_name.as_deref().unwrap_or(&self.metadata.name)
    }

    /// The database: as named, else `client_<name>` with `_` for `-`.
    pub fn database_name(&self) -> Result<SqlName, NameError> {
        match &self.spec.database.name {
            Some(name) => SqlName::parse(name),
            None => SqlName::parse(&format!("client_{}", self.metadata.name.replace('-', "_"))),
        }
    }

    /// The server: as named, else the settings'.
    pub fn server(&self, defaults: &Defaults) -> Option<ServerId> {
        match &self.spec.hosting.server {
            Some(id) => Some(ServerId::trusted(id.0.clone())),
            None => defaults.server.clone(),
        }
    }

    /// The system user: as named, else the settings', else the one that every server has.
    pub fn system_user(&self, defaults: &Defaults) -> String {
        let named = self.spec.hosting.system_user.clone().or_else(|| defaults.system_user.clone());
        named.unwrap_or_else(|| SYSTEM_USER_DEFAULT.to_owned())
    }

    /// The port that the spec fixes.
    pub fn fixed_port(&self) -> Option<u16> {
        self.spec.hosting.port.number().and_then(|number| u16::try_from(number).ok())
    }

    /// The branch: as named, else the settings', else `main`.
    pub fn branch(&self, defaults: &Defaults) -> String {
        let named = self.spec.source.branch.clone().or_else(|| defaults.branch.clone());
        named.unwrap_or_else(|| BRANCH_DEFAULT.to_owned())
    }

    /// Ids of resources that the annotation `sitewright/adopt` names.
    pub fn adopted(&self) -> BTreeSet<String> {
        let ids = self.metadata.annotations.get(ADOPT_ANNOTATION).map(String::as_str).unwrap_or_default();
        ids.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }
}
