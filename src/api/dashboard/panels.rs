//! Where people look at a resource in its provider's own panel.
//!
//! The addresses are those of the vendors' panels as their own documentation links them; an installation whose API lies
//! elsewhere (a simulator, a mirror) has no panel, and then nothing is linked.

use crate::api::view::ResourceView;
use crate::resource::kind::ResourceKind;

/// Which panels there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Panels {
    /// Sites are on Ploi itself.
    pub ploi: bool,
    /// Records are on Cloudflare itself.
    pub cloudflare: bool,
}

impl Panels {
    /// By the addresses of the APIs.
    pub fn of(ploi_api: &str, cloudflare_api: &str) -> Panels {
        Panels {
            ploi: ploi_api.starts_with("https://ploi.io/"),
            cloudflare: cloudflare_api.starts_with("https://api.cloudflare.com/"),
        }
    }

    /// The page of a resource. Ploi's names the server and the site; Cloudflare's asks which account and zone is meant, for
    /// no address of a single record exists.
    pub fn address(self, resource: &ResourceView, server: Option<&str>) -> Option<String> {
        let is_number = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        match (resource.provider.as_str(), resource.kind) {
            ("ploi", ResourceKind::Site) if self.ploi => {
                let server = server.filter(|server| is_number(server) && is_number(&resource.id))?;
                Some(format!("https://ploi.io/panel/servers/{server}/sites/{}", resource.id))
            }
            ("cloudflare", ResourceKind::Record) if self.cloudflare => {
                Some("https://dash.cloudflare.com/?to=/:account/:zone/dns/records".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vendors_own_panels_are_linked() {
        let site = ResourceView {
            kind: ResourceKind::Site,
            provider: "ploi".into(),
            id: "77".into(),
            name: "a.example".into(),
        };
        let real = Panels::of("https://ploi.io/api", "https://api.cloudflare.com/client/v4");
        assert_eq!(real.address(&site, Some("3")).as_deref(), Some("https://ploi.io/panel/servers/3/sites/77"));
        assert_eq!(real.address(&site, None), None, "without its server");
        let odd = ResourceView { id: "7/../8".into(), ..site.clone() };
        assert_eq!(real.address(&odd, Some("3")), None, "an id that is no number");
        let simulated = Panels::of("http://127.0.0.1:9/api", "http://127.0.0.1:9/client/v4");
        assert_eq!(simulated.address(&site, Some("3")), None);
    }
}
