//! Every page, light and dark, on a desk and on a phone: 0 findings of accessibility, nothing refused, a picture of each.

use std::path::Path;

use serde_json::json;

use crate::Desk;
use crate::driver::is_missing;
use crate::rig::{Rig, spec};

const AUDIT: &str = include_str!("accessibility.js");
/// Pictures that the README shows.
const SHOWN: [&str; 4] = ["fleet-desk-light", "client-desk-light", "client-phone-dark", "new-desk-light"];
/// Where they are kept.
const KEPT: &str = "deploy/screenshots";

#[tokio::test(flavor = "multi_thread")]
async fn no_page_keeps_anybody_out() {
    if is_missing() {
        return;
    }
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_GRACE", "7d");
    for name in ["looks-bakery", "looks-cinema", "looks-florist", "looks-garage"] {
        rig.write(
            &format!("{name}.yaml"),
            &spec(name, "").replacen(&format!("name: {name}"), &format!("name: {name}\n  labels: {{ tier: gold }}"), 1),
        );
    }
    rig.write("looks-typo.yaml", "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata: { name: looks-typo }\nspec:\n  domain: typo.agency.example\n  templat: blog\n");
    let desk = Desk::open(rig).await;
    for name in ["looks-bakery", "looks-cinema", "looks-florist", "looks-garage"] {
        desk.rig.ready(name).await;
    }
    assert!(desk.rig.run(&["pause", "looks-cinema", "--reason", "the owner moves"]).await.status.success());
    desk.rig.remove("looks-garage.yaml");
    desk.rig.until("looks-garage", 60, |record| record.owned.removal.is_some()).await;
    let deployment = desk.rig.store().deployments(None, None, 1).await.expect("deployments").remove(0).id;

    let draft =
        "/new?name=looks-new&domain=looks-new.agency.example&labels=tier%3Dgold&features=blog&repository=agency%2Fcms";
    let release = format!("/deployments/{deployment}");
    let draft_plan = draft.replacen("/new", "/new/plan", 1);
    let pages = [
        ("fleet", "/"),
        ("filtered", "/?q=nobody&selector=gold"),
        ("client", "/clients/looks-bakery"),
        ("paused", "/clients/looks-cinema"),
        ("plan", "/clients/looks-bakery/plan"),
        ("release", &release),
        ("removals", "/deletions"),
        ("providers", "/providers"),
        ("empty", "/new"),
        ("new", draft),
        ("draft-plan", &draft_plan),
        ("mistaken", "/new?name=Bad+Name&labels=gold&environment=PORT%3D1"),
    ];
    let browser = &desk.browser;
    let mut found = Vec::new();
    for (device, width, height, phone) in [("desk", 1440, 900, false), ("phone", 390, 844, true)] {
        browser.size(width, height, phone).await;
        for scheme in ["light", "dark"] {
            browser.scheme(scheme).await;
            for (name, path) in pages {
                browser.go(path).await;
                browser
                    .until("it is live", "['on', 'still'].includes(document.querySelector('#live')?.dataset.state)")
                    .await;
                browser.run("document.querySelectorAll('details').forEach((it) => (it.open = true))").await;
                let findings = browser.run(AUDIT).await;
                let findings = findings.as_array().cloned().unwrap_or_else(|| vec![json!("the check itself failed")]);
                found.extend(findings.iter().map(|finding| format!("{name} {device} {scheme}: {finding}")));
                browser.run("document.querySelectorAll('details').forEach((it) => (it.open = false))").await;
                let picture = browser.picture(&format!("{name}-{device}-{scheme}")).await;
                keep(&format!("{name}-{device}-{scheme}"), &picture);
            }
        }
    }
    found.extend(browser.complaints().await);
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

/// With `SITEWRIGHT_SCREENSHOTS=keep` the README's pictures are made anew.
fn keep(name: &str, picture: &Path) {
    if SHOWN.contains(&name) && std::env::var("SITEWRIGHT_SCREENSHOTS").is_ok_and(|wish| wish == "keep") {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(KEPT);
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::copy(picture, directory.join(format!("{name}.png"))).expect("kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_are_looked_at_without_lag() {
    if is_missing() {
        return;
    }
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1h");
    for number in 0..1_000 {
        // Held still by its spec: a thousand sites need not be built to be shown.
        let name = format!("crowd-{number:04}");
        rig.write(&format!("{name}.yaml"), &spec(&name, "  reconcile: { mode: paused }\n"));
    }
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    browser.go("/").await;
    let counted =
        "[...document.querySelectorAll('[data-count]')].reduce((sum, it) => sum + Number(it.innerText), 0) === 1000";
    browser.until("all are counted", counted).await;
    assert_eq!(browser.run("return document.querySelectorAll('.fleet tbody tr').length").await, 100);
    // Putting a look into place holds nobody up: what the browser itself calls a long task is one of 50 ms and more.
    browser.run("window.long = []; new PerformanceObserver((list) => window.long.push(...list.getEntries().map((it) => it.duration))).observe({ type: 'longtask' })").await;
    let before = browser.text("#foot time").await;
    browser.run("document.dispatchEvent(new Event('visibilitychange'))").await;
    browser
        .until(
            "it was looked at again",
            &format!("document.querySelector('#foot time').innerText !== {}", json!(before)),
        )
        .await;
    let long = browser.run("return window.long").await;
    eprintln!("long tasks while a look at 1,000 clients was put into place, in ms: {long}");
    browser.fill("#q", "crowd-0777").await;
    browser.press(crate::driver::ENTER).await;
    browser.until("one is found", "document.querySelectorAll('.fleet tbody tr').length === 1").await;
}
