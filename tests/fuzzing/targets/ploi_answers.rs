//! Ploi's answers: every reader of the wire takes any body, and what it gives is within its bounds.

use serde_json::Value;
use sitewright::provider::ploi::wire::{self, EXCERPT_BYTES_MAX};
use sitewright::resource::name::{HostName, ServerId};
use sitewright::resource::release::tail;
use sitewright::resource::site::RunState;

/// Any bytes as a body.
pub fn run(data: &[u8]) {
    for words in [Some(wire::words(data)), wire::json(data).ok().and_then(|value| wire::error_inside(&value))] {
        let Some(words) = words else { continue };
        assert!(!words.contains(|c: char| c.is_control()), "words with a control character: {words:?}");
        assert!(words.chars().count() <= 300 && !words.is_empty());
    }
    if wire::is_taken(data) {
        assert!(wire::words(data) != "no readable reason");
    }
    let _ = wire::names_fields(data);
    let _ = wire::file(data, &["content", "nginx_config", "deploy_script"]);
    if let Ok(page) = wire::page(data) {
        page.items.iter().for_each(item);
    }
    if let Ok(value) = wire::json(data) {
        item(&value);
        whole(&value);
    }
    let text = String::from_utf8_lossy(data);
    let tail = tail(&text, EXCERPT_BYTES_MAX);
    assert!(text.ends_with(tail) && tail.len() <= EXCERPT_BYTES_MAX);
    let _ = wire::timestamp(&text);
}

/// One of a list: a site, a certificate, a log entry.
fn item(value: &Value) {
    let server = ServerId::trusted("1");
    if let Ok(site) = wire::site(value, &server) {
        assert_eq!(Some(&site.id), wire::id(value).as_ref());
        assert_eq!(site.value.server, server);
        assert!(!site.value.system_user.is_empty());
    }
    if let Ok(certificate) = wire::certificate(value) {
        assert!(certificate.value.names.iter().all(|name| !name.as_str().is_empty()));
    }
    let _ = (wire::text(value.get("type")), value.get("id").and_then(wire::integer));
}

/// A resource of its own, in either envelope.
fn whole(value: &Value) {
    let root = HostName::parse("shop.example").expect("a host");
    if let Ok(names) = wire::aliases(value, &root) {
        assert!(!names.contains(&root), "the root domain is none of its aliases");
    }
    if let Ok(RunState::Finished { exit_code, output }) = wire::run_state(value) {
        assert!(output.len() <= EXCERPT_BYTES_MAX);
        assert!(exit_code != 0 || wire::single(value).get("exit_code").is_some(), "success without an exit code");
    }
    if let Ok(Some(repository)) = wire::repository(value) {
        assert!(!repository.slug.as_str().is_empty());
    }
    let _ = wire::server(value, &ServerId::trusted("1"));
}
