//! Virtual host texts as Ploi writes them for a Node.js site, and what nginx makes of one (contracts/ploi.md 6.9, 9.1, 9.3).

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::provider::world::edge::LoadedHost;

/// The port that Ploi writes whatever was asked for.
pub const PORT_DEFAULT: u16 = 3000;
/// The ACME root that Ploi writes for Node.js sites; challenges are put elsewhere.
pub const ACME_ROOT_DEFAULT: &str = "/var/www/html";

/// What goes into a text.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// Root domain.
    pub domain: &'a str,
    /// All names, root first.
    pub names: &'a [String],
    /// Whether a certificate is installed.
    pub tls: bool,
    /// The port of every `proxy_pass`.
    pub port: u16,
    /// The ACME root.
    pub acme_root: &'a str,
}

/// The text.
pub fn render(parts: &Parts) -> String {
    let names = parts.names.join(" ");
    let domain = parts.domain;
    let mut text =
        format!("# Ploi Webserver Configuration, do not remove!\ninclude /etc/nginx/ploi/{domain}/before/*;\n");
    for tls in [false, true].into_iter().take(1 + usize::from(parts.tls)) {
        let listen = if tls { "443 ssl http2" } else { "80" };
        let port = parts.port;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nserver {{\n    listen {listen};\n    listen [::]:{listen};\n    server_name {names};\n    server_tokens off;\n"
        );
        if tls {
            let _ = write!(
                text,
                "    ssl_certificate /etc/letsencrypt/live/{domain}/fullchain.pem;\n    ssl_certificate_key /etc/letsencrypt/live/{domain}/privkey.pem;\n"
            );
        }
        let _ = write!(
            text,
            "\n    include /etc/nginx/ploi/{domain}/server/*;\n\n    location /.well-known/acme-challenge {{\n        root {root};\n        allow all;\n    }}\n\n    location / {{\n        proxy_pass http://localhost:{port};\n        proxy_http_version 1.1;\n        proxy_set_header Host $host;\n        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n\n    location /ws {{\n        proxy_pass http://localhost:{port};\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection \"upgrade\";\n    }}\n\n    access_log off;\n    error_log /var/log/nginx/{domain}-error.log error;\n}}\n",
            root = parts.acme_root
        );
    }
    let _ = writeln!(text, "\ninclude /etc/nginx/ploi/{domain}/after/*;");
    text
}

/// What nginx loads from a text, or what `nginx -t` says against it.
pub fn load(text: &str) -> Result<LoadedHost, String> {
    let mut host = LoadedHost::default();
    // Names of the blocks that are open.
    let mut open: Vec<String> = Vec::new();
    let (mut tls, mut proxied) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let at = index + 1;
        if let Some(name) = line.strip_suffix('{') {
            open.push(name.trim().to_owned());
        } else if line == "}" {
            let closed = open.pop().ok_or_else(|| format!("unexpected \"}}\" in the virtual host:{at}"))?;
            tls &= closed != "server";
        } else if let Some(directive) = line.strip_suffix(';') {
            directive_of(directive, &open, &mut host, &mut tls, &mut proxied).map_err(|e| format!("{e}:{at}"))?;
        } else if !line.is_empty() {
            return Err(format!("directive is not terminated by \";\" in the virtual host:{at}"));
        }
    }
    match (open.is_empty(), proxied) {
        (false, _) => Err("unexpected end of file, expecting \"}\" in the virtual host".to_owned()),
        (true, false) => Err("no proxy_pass in the virtual host of a Node.js site".to_owned()),
        (true, true) => Ok(host),
    }
}

fn directive_of(
    text: &str,
    open: &[String],
    host: &mut LoadedHost,
    tls: &mut bool,
    proxied: &mut bool,
) -> Result<(), String> {
    let mut words = text.split_whitespace();
    let location = open.last().and_then(|name| name.strip_prefix("location")).map(str::trim);
    match (words.next(), words.next()) {
        (Some("listen"), Some(port)) => *tls |= port.ends_with("443"),
        (Some("server_name"), Some(first)) => {
            let all: BTreeSet<String> = std::iter::once(first).chain(words).map(str::to_owned).collect();
            host.names.extend(all);
        }
        (Some("root"), Some(root)) if location.is_some_and(|l| l.contains("acme-challenge")) => {
            host.acme_root = Some(root.to_owned());
        }
        (Some("proxy_pass"), Some(target)) => {
            *proxied = true;
            let port = target.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let port = port.ok_or("invalid port in upstream")?;
            if location == Some("/") {
                let place = if *tls { &mut host.tls_port } else { &mut host.plain_port };
                *place = Some(port);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tls: bool) -> String {
        let names = ["shop.example.com".to_owned(), "www.shop.example.com".to_owned()];
        render(&Parts {
            domain: "shop.example.com",
            names: &names,
            tls,
            port: PORT_DEFAULT,
            acme_root: ACME_ROOT_DEFAULT,
        })
    }

    #[test]
    fn a_new_text_points_at_the_wrong_port_and_root() {
        let host = load(&sample(false)).unwrap();
        assert_eq!((host.plain_port, host.tls_port), (Some(3000), None));
        assert_eq!(host.acme_root.as_deref(), Some("/var/www/html"));
        assert_eq!(host.names.len(), 2);
        assert_eq!(load(&sample(true)).unwrap().tls_port, Some(3000));
    }

    #[test]
    fn a_broken_text_does_not_load() {
        let text = sample(true);
        assert!(load(&text.replacen('}', "", 1)).is_err());
        assert!(load(&format!("{text}}}")).is_err());
        assert!(load(&text.replace("proxy_pass", "pass")).is_err());
        assert!(load(&text.replacen("access_log off;", "access_log off", 1)).is_err());
    }
}
