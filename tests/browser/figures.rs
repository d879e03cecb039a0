//! What a page shows is what `status -o json` says at that moment; also without a script, and for a thousand clients.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Desk;
use crate::driver::{Browser, is_missing};
use crate::rig::{Rig, spec};

/// What the fleet's page shows, in the words of `status`.
const SHOWN: &str = "const at = (row, label) => row.querySelector(`[data-label='${label}']`);
  const time = (cell) => cell?.querySelector('time')?.dateTime ?? null;
  return {
    counts: Object.fromEntries([...document.querySelectorAll('[data-count]')].map((it) => [it.dataset.count, Number(it.innerText)])),
    clients: [...document.querySelectorAll('.fleet tbody tr')].map((row) => ({
      name: row.querySelector('th a').textContent, domain: row.querySelector('.domain').textContent,
      url: row.querySelector('.domain a')?.getAttribute('href'),
      phase: at(row, 'Phase').innerText, message: at(row, 'Says').textContent, next: time(at(row, 'Next look')) })) }";

fn standing(client: &Value) -> &'static str {
    let ready =
        client["conditions"].as_array().into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
    match client["phase"].as_str().unwrap_or_default() {
        "Offline" | "Terminating" => "leaving",
        "Paused" | "Suspended" => "paused",
        "Failed" => "broken",
        "Active" if ready => "ready",
        _ => "waiting",
    }
}

fn told(status: &Value) -> Value {
    let clients = status["clients"].as_array().expect("clients");
    let count = |word: &str| clients.iter().filter(|client| standing(client) == word).count();
    let words = ["ready", "waiting", "broken", "paused", "leaving"];
    let rows: Vec<Value> = clients
        .iter()
        .map(|it| json!({ "name": it["name"], "domain": it["domain"], "url": it["url"], "phase": it["phase"], "message": it["message"], "next": it["nextAttempt"] }))
        .collect();
    json!({ "counts": words.map(|word| (word, count(word))).into_iter().collect::<std::collections::BTreeMap<_, _>>(), "clients": rows })
}

/// The page is loaded between two readings of the state that say the same, so all three are of one moment.
async fn compare(desk: &Desk, browser: &Browser) {
    for _ in 0..40 {
        let before = told(&desk.rig.status().await);
        browser.go("/").await;
        let shown = browser.run(SHOWN).await;
        if told(&desk.rig.status().await) == before {
            assert_eq!(shown, before);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the fleet never stood still between two readings");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_is_the_one_of_status() {
    if is_missing() {
        return;
    }
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "60s");
    rig.write("figready.yaml", &spec("figready", ""));
    rig.write("figpaused.yaml", &spec("figpaused", ""));
    rig.write(
        "figbroken.yaml",
        &spec("figbroken", "  source: { repository: agency/nowhere }\n").replacen(
            "  source: { repository: agency/cms, branch: main }\n",
            "",
            1,
        ),
    );
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    desk.rig.ready("figready").await;
    desk.rig.ready("figpaused").await;
    let paused = desk.rig.run(&["pause", "figpaused", "--reason", "holidays"]).await;
    assert!(paused.status.success());
    desk.rig.until("figpaused", 30, |record| record.pause.is_some()).await;
    compare(&desk, browser).await;

    // A client's page against the same source: each condition, resource and release.
    browser.go("/clients/figready").await;
    let shown = browser.run("return [...document.querySelectorAll('.steps li')].map((it) => [it.querySelector('strong').innerText, it.querySelector('.chip').innerText, it.querySelector('code').innerText, it.querySelector('p').textContent])").await;
    let status = desk.rig.status().await;
    let client = status["clients"].as_array().expect("clients").iter().find(|it| it["name"] == "figready").expect("it");
    let wanted: Vec<Value> = client["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|it| json!([it["type"], it["status"], it["reason"], it["message"]]))
        .collect();
    assert_eq!(shown, json!(wanted));
    let ids = browser
        .run("return [...document.querySelectorAll('.resources li > .soft code')].map((it) => it.innerText)")
        .await;
    let wanted: Vec<&Value> = client["resources"].as_array().expect("resources").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, json!(wanted));

    // Without a script everything can still be read, and nothing pretends that it can be pressed.
    browser.scripts(false).await;
    browser.go("/clients/figready").await;
    browser.scripts(true).await;
    assert!(browser.text("main").await.contains("the world matches the spec"));
    assert!(browser.text(".actions pre").await.contains("sitewright reconcile figready"));
    assert_eq!(browser.text("#live-word").await, "Not live");
}
