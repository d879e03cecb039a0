//! `/metrics` of a real daemon: it says what `status -o json` says, and every expression in `deploy/` finds what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use promql_parser::parser::{self, Expr, VectorSelector};
use serde_json::Value;

use crate::rig::{Rig, spec};

/// One line of the exposition: name, labels, value.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn samples(text: &str) -> Vec<Sample> {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(n, l)| (n, l.trim_end_matches('}')));
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').expect("a label");
            (key.to_owned(), value.trim_matches('"').to_owned())
        };
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(pair).collect();
        Sample { name: name.to_owned(), labels, value: value.parse().expect("a number") }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

/// Every selector of an expression.
fn selectors(expression: &str) -> Vec<VectorSelector> {
    fn walk(expr: &Expr, found: &mut Vec<VectorSelector>) {
        match expr {
            Expr::VectorSelector(one) => found.push(one.clone()),
            Expr::MatrixSelector(one) => found.push(one.vs.clone()),
            Expr::Aggregate(one) => walk(&one.expr, found),
            Expr::Unary(one) => walk(&one.expr, found),
            Expr::Paren(one) => walk(&one.expr, found),
            Expr::Subquery(one) => walk(&one.expr, found),
            Expr::Binary(one) => [&one.lhs, &one.rhs].into_iter().for_each(|side| walk(side, found)),
            Expr::Call(one) => one.args.args.iter().for_each(|argument| walk(argument, found)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }
    let parsed = parser::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut found = Vec::new();
    walk(&parsed, &mut found);
    assert!(!found.is_empty(), "{expression} asks for nothing");
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn expressions() -> BTreeSet<String> {
    let rules: Value = serde_yaml::from_str(&read("deploy/prometheus/rules.yaml")).expect("the rules are YAML");
    let board: Value = serde_json::from_str(&read("deploy/grafana/sitewright.json")).expect("the board is JSON");
    let text = |value: &Value| value["expr"].as_str().expect("an expression").to_owned();
    let alerts = rules["groups"][0]["rules"].as_array().expect("rules").iter().map(text);
    let panels = board["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets")).map(text);
    alerts.chain(targets).collect()
}

async fn scrape(address: &str) -> String {
    let url = format!("http://{address}/metrics");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Ok(answer) = reqwest::get(&url).await
            && answer.status().is_success()
        {
            let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
            assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
            return answer.text().await.expect("a text");
        }
        assert!(std::time::Instant::now() < deadline, "nobody serves {url}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn metrics_say_what_stands_and_every_alert_finds_its_series() {
    let mut rig = Rig::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let address = format!("127.0.0.1:{port}");
    rig.set("SITEWRIGHT_LISTEN", &address);
    rig.write("meter.yaml", &spec("meter", "  health: { interval: 10s }\n"));
    let daemon = rig.daemon();
    rig.until("meter", 60, |record| {
        let uptime = &record.owned.uptime;
        let is_watched = uptime.looks.is_some_and(|(first, last)| first < last);
        record.status.is_ready() && record.owned.details.probe.is_some() && is_watched
    })
    .await;
    let text = scrape(&address).await;
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    let all = samples(&text);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let has = |sample: &&Sample| labels.iter().all(|(k, v)| sample.labels.get(*k).map(String::as_str) == Some(v));
        let found: Vec<f64> = all.iter().filter(|s| s.name == name).filter(has).map(|s| s.value).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?} in {text}");
        found[0]
    };
    let ready =
        |status| value("sitewright_client_condition", &[("client", "meter"), ("type", "Ready"), ("status", status)]);
    assert_eq!((ready("True"), ready("False"), ready("Unknown")), (1.0, 0.0, 0.0));
    assert_eq!(value("sitewright_clients", &[("phase", "Active")]), 1.0);
    assert_eq!(value("sitewright_commit_to_ready_seconds_count", &[]), 1.0);
    assert!(value("sitewright_provider_requests_total", &[("provider", "ploi"), ("code", "200")]) > 1.0);
    assert!(value("sitewright_reconcile_total", &[("result", "requeue_after")]) > 1.0);
    assert_eq!(value("sitewright_reconcile_total", &[("result", "panic")]), 0.0);
    let status = rig.status().await;
    for provider in status["providers"].as_array().expect("providers") {
        let name = provider["name"].as_str().expect("a name");
        let limit = provider["limit"].as_f64().expect("a limit");
        assert_eq!(value("sitewright_provider_rate_limit", &[("provider", name)]), limit);
    }
    let expires = status["clients"][0]["health"]["certificateExpiresAt"]
        .as_str()
        .unwrap_or_else(|| panic!("no certificate: {}", status["clients"][0]));
    let expires: jiff::Timestamp = expires.parse().expect("a time");
    let measured = value("sitewright_certificate_expiry_timestamp_seconds", &[("client", "meter")]);
    assert!((measured - expires.as_duration().as_secs_f64()).abs() < 1.0);

    let mut lacking = BTreeSet::new();
    for expression in expressions() {
        for selector in selectors(&expression) {
            let name = selector.name.clone().expect("a name");
            // A value that only trouble brings (a code, a result) need not be there; its label must.
            let labels: Vec<&str> = selector.matchers.matchers.iter().map(|matcher| matcher.name.as_str()).collect();
            let fits = |s: &&Sample| s.name == name && labels.iter().all(|label| s.labels.contains_key(*label));
            if !all.iter().any(|sample| fits(&sample)) {
                lacking.insert(format!("{name}{labels:?} of {expression}"));
            }
        }
    }
    assert!(lacking.is_empty(), "no such series: {lacking:#?}\n{text}");
    drop(daemon);
}
