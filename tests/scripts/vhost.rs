//! Virtual host texts: what is read, what is edited, and what real nginx says of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use sitewright::resource::name::HostName;
use sitewright::resource::vhost::{mend, name_as_well, read};

use crate::program;

const ROOT: &str = "/home/ploi/shop.example";

/// A Node.js site as the host makes it, with every shape of loopback address, and words that only look like one.
const SITE: &str = r#"# proxy_pass http://localhost:3000; stays a comment {
upstream backend { server 127.0.0.1:3000; keepalive 8; }
upstream other { server 192.0.2.9:3000; }
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
server {
    listen 127.0.0.1:18080;
    server_name shop.example www.shop.example;
    root /var/www/html;
    location ^~ /.well-known/acme-challenge/ { root /var/www/html; } # root /var/www/html;
    location ~ /\.(?!well-known).* { deny all; }
    location / {
        add_header X-Note "proxy_pass http://localhost:3000; }" always;
        proxy_pass http://localhost:3000;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection ${connection_upgrade};
    }
    location /ws { proxy_pass http://127.0.0.1:3000/socket?x=1; }
    location /six/ { proxy_pass "http://[::1]:3000/"; }
    location /bare { proxy_pass http://localhost; }
    location /up { proxy_pass http://backend; }
    location /far { proxy_pass http://other; }
    location /away { proxy_pass http://192.0.2.7:3000; }
}
server {
    listen 127.0.0.1:18081;
    location /.well-known { auth_basic off; }
    location = /.well-known/acme-challenge/x { alias /srv/x; }
    location /.well-known/security.txt { root /srv/security; }
    location / { proxy_pass http://localhost:3000; }
}
"#;

#[test]
fn a_name_that_was_left_out_is_answered_to_wherever_the_domain_is() {
    let host = |name: &str| HostName::parse(name).unwrap();
    let names: BTreeSet<HostName> = [host("book.shop.example"), host("www.shop.example")].into();
    let lacking = read(SITE).unwrap().lacking(&names);
    assert_eq!(lacking, [host("book.shop.example")].into());
    let after = name_as_well(SITE, &host("shop.example"), &lacking).unwrap();
    let with = "server_name shop.example www.shop.example book.shop.example;";
    assert_eq!(after, SITE.replace("server_name shop.example www.shop.example;", with));
    assert!(read(&after).unwrap().lacking(&names).is_empty());
    assert_eq!(name_as_well(SITE, &host("shop.example"), &[].into()).unwrap(), SITE);
    assert!(name_as_well(SITE, &host("other.example"), &lacking).unwrap_err().contains("no server block"));
}

#[test]
fn every_loopback_address_gets_the_port_and_nothing_else_changes() {
    let before = read(SITE).unwrap();
    assert_eq!(before.ports, [80, 3000].into());
    assert!(!before.is_right(4001, ROOT));
    let after = mend(SITE, 4001, ROOT).unwrap();
    let right = SITE
        .replace("{ server 127.0.0.1:3000;", "{ server 127.0.0.1:4001;")
        .replace("        proxy_pass http://localhost:3000;", "        proxy_pass http://localhost:4001;")
        .replace("http://127.0.0.1:3000/socket", "http://127.0.0.1:4001/socket")
        .replace("[::1]:3000", "[::1]:4001")
        .replace("proxy_pass http://localhost; }", "proxy_pass http://localhost:4001; }")
        .replace("/ { proxy_pass http://localhost:3000; }", "/ { proxy_pass http://localhost:4001; }")
        .replace("acme-challenge/ { root /var/www/html; }", &format!("acme-challenge/ {{ root {ROOT}; }}"))
        .replace("{ auth_basic off; }", &format!("{{ root {ROOT}; auth_basic off; }}"))
        .replace("{ alias /srv/x; }", &format!("{{ root {ROOT}; }}"));
    assert_eq!(after, right);
    assert!(read(&after).unwrap().is_right(4001, ROOT));
    assert_eq!(mend(&after, 4001, ROOT).unwrap(), after, "mending twice changes the text");
}

#[test]
fn a_right_text_comes_back_byte_for_byte_and_no_location_is_invented() {
    let text = "server {\r\n  location / { proxy_pass http://127.0.0.1:4001; }\r\n}";
    assert_eq!(mend(text, 4001, ROOT).unwrap(), text);
    assert!(read(text).unwrap().acme_roots.is_empty());
    let inherits = format!(
        "server {{ root {ROOT}; location /.well-known {{ }} location / {{ proxy_pass http://localhost:4001; }} }}"
    );
    assert_eq!(mend(&inherits, 4001, ROOT).unwrap(), inherits, "an inherited right root is right");
}

#[test]
fn what_cannot_be_read_for_certain_is_refused() {
    let refused = [
        "",
        "server { location / { proxy_pass http://localhost:3000; }",
        "server { proxy_pass http://localhost:3000; } }",
        "server { location / { proxy_pass http://localhost:3000 } }",
        "server { location / { return 200; } }",
        "server { location / { proxy_pass http://192.0.2.7:3000; } }",
        "server { location / { proxy_pass http://$up:3000; } }",
        "server { add_header X \"open; location / { proxy_pass http://localhost:3000; } }",
        "# proxy_pass http://localhost:3000;",
        "server { content_by_lua_block { x = 1; } location / { proxy_pass http://localhost:3000; } }",
        "{ ; }",
        ";",
    ];
    for text in refused {
        assert!(read(text).is_err(), "read: {text}");
        assert!(mend(text, 4001, ROOT).is_err(), "mended: {text}");
    }
    for root in ["", "relative", "/a b", "/a;", "/a}", "/a\n", "/$x", "/a'"] {
        assert!(mend(SITE, 4001, root).is_err(), "root {root:?} passed");
    }
    assert!(mend(SITE, 0, ROOT).is_err());
    assert!(read(&format!("{}{}", "a{".repeat(40), "}".repeat(40))).is_err());
}

/// nginx knows four blanks; what else is one elsewhere is part of a word there.
#[test]
fn odd_characters_are_part_of_their_word() {
    let text = "server {\u{c} location / { proxy_pass http://localhost:3000\u{c}; } }";
    assert_eq!(read(text).unwrap_err(), read("").unwrap_err(), "no address can be read with it");
    for address in ["[::1]x:3000", "[::1]:+3000"] {
        let text = format!("upstream a {{ server {address}; }} server {{ location / {{ proxy_pass http://a; }} }}");
        assert!(mend(&text, 4001, ROOT).is_err(), "what stands behind an address is its port or nothing: {address}");
    }
    let beside = "server { \u{c}x\u{c} 'y'; location / { proxy_pass http://localhost:3000; } }";
    assert_eq!(mend(beside, 4001, ROOT).unwrap(), beside.replace(":3000", ":4001"));
}

#[test]
fn texts_cut_anywhere_never_come_out_as_right() {
    let mended = mend(SITE, 4001, ROOT).unwrap();
    let end = mended.trim_end().len();
    for at in (0..end).filter(|at| mended.is_char_boundary(*at)) {
        if let Ok(text) = mend(&mended[..at], 4001, ROOT) {
            assert!(mended.starts_with(&text), "a cut text was changed at {at}");
            assert_eq!(text.matches('{').count(), text.matches('}').count(), "{at}");
        }
    }
}

/// `nginx -t` over a text as the only virtual host, in a folder of its own.
fn nginx_accepts(nginx: &Path, vhost: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    std::fs::write(folder.path().join("site.conf"), vhost).unwrap();
    let main = format!(
        "pid {at}/pid; error_log stderr; events {{}} http {{ access_log off; client_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; include {at}/site.conf; }}"
    );
    std::fs::write(folder.path().join("nginx.conf"), main).unwrap();
    let output = Command::new(nginx)
        .arg("-t")
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nginx.conf"))
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn nginx_accepts_the_mended_text_and_refuses_a_broken_one() {
    let Some(nginx) = program("nginx") else { return };
    let (good, said) = nginx_accepts(&nginx, SITE);
    assert!(good, "the text itself: {said}");
    let mended = mend(SITE, 4001, ROOT).unwrap();
    let (good, said) = nginx_accepts(&nginx, &mended);
    assert!(good, "the mended text: {said}");
    let (good, _) = nginx_accepts(
        &nginx,
        &mended.replacen("proxy_pass http://localhost:4001;", "proxy_pass http://localhost:4001", 1),
    );
    assert!(!good, "nginx -t took a broken text: the test could not fail");
}
