//! One member of a resource before and after, as plans print it and the history keeps it.

use serde::{Deserialize, Serialize};

/// One member that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FieldChange {
    /// `content`, `env.SMTP_HOST`, `branch`.
    pub path: String,
    /// Before; `None`: not there.
    pub from: Option<String>,
    /// After; `None`: gone.
    pub to: Option<String>,
}

impl FieldChange {
    /// A change of a value that may be shown.
    pub fn shown(path: impl Into<String>, from: Option<String>, to: Option<String>) -> Self {
        FieldChange { path: path.into(), from, to }
    }

    /// A change of a value that may not.
    pub fn masked(path: impl Into<String>) -> Self {
        FieldChange { path: path.into(), from: None, to: Some("(secret, changed)".into()) }
    }
}
