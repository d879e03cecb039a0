//! What a deploy log must not show: the values the caller names, and passwords within addresses.

use std::sync::Arc;

use crate::provider::SiteRef;
use crate::resource::secret::{Secret, mask};

type Values = dyn Fn(&SiteRef) -> Vec<Secret> + Send + Sync;

/// Names the secret values of a site, and masks them in texts.
#[derive(Clone)]
pub struct Redact(Arc<Values>);

impl Redact {
    /// Asks `values` for the secrets of the site whose log is read.
    pub fn new(values: impl Fn(&SiteRef) -> Vec<Secret> + Send + Sync + 'static) -> Self {
        Redact(Arc::new(values))
    }

    /// Masks passwords within addresses only.
    pub fn nothing_known() -> Self {
        Redact::new(|_| Vec::new())
    }

    /// The text without secrets.
    pub fn apply(&self, site: &SiteRef, text: &str) -> String {
        mask(text, (self.0)(site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::name::{HostName, RemoteId, ServerId};

    #[test]
    fn named_values_and_passwords_in_addresses_are_masked() {
        let site = SiteRef {
            server: ServerId::trusted("1"),
            id: RemoteId::trusted("2"),
            domain: HostName::trusted("shop.example.com"),
            system_user: "ploi".into(),
        };
        let redact = Redact::new(|_| vec![Secret::new("sk_live_1"), Secret::new("main")]);
        let text = "key sk_live_1 on main: cannot reach postgres://shop:p%40ss@192.0.2.9:5432/db, see https://example.com/a:b@c";
        assert_eq!(
            redact.apply(&site, text),
            "key (secret) on main: cannot reach postgres://shop:(secret)@192.0.2.9:5432/db, see https://example.com/a:b@c"
        );
    }
}
