//! Requests thrown at every operation, good ones with one part broken: nothing is our fault, nothing is undescribed.
//!
//! `SITEWRIGHT_API_SEED=17` tells one throw again; `SITEWRIGHT_API_THROWS=2000` throws more at each operation.

use fastrand::Rng;

use crate::document::{Document, full, good};
use crate::raw::{Answer, Call};

/// Requests to each operation.
const THROWS: u64 = 40;

const TEXTS: [&str; 18] = [
    "",
    "0",
    "-1",
    "1",
    "9223372036854775808",
    "shop",
    "nobody",
    "%00",
    "%ff%fe",
    "..%2f..",
    "a%20b",
    "%7B%7D",
    "true",
    "null",
    "Active",
    "tier%3Dgold",
    "x%3D",
    "%F0%9F%92%A9",
];
const KEYS: [&str; 9] = ["limit", "after", "before", "cursor", "selector", "phase", "client", "colour", "limit%5B%5D"];
const HEADERS: [&str; 8] = [
    "host",
    "origin",
    "authorization",
    "content-type",
    "last-event-id",
    "accept",
    "sec-fetch-site",
    "x-payload-secret",
];
const VALUES: [&str; 12] = [
    "",
    "localhost",
    "null",
    "https://evil.example",
    "Bearer",
    "Bearer x",
    "application/json",
    "text/plain",
    "-1",
    "7",
    "cross-site",
    "\u{e9}",
];
const BODIES: [&[u8]; 14] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b"\"x\"",
    b"{",
    b"{\"reason\":7}",
    b"{\"reason\":\"x\",\"until\":\"x\"}",
    b"{\"hash\":\"\"}",
    b"{\"clientId\":\"\"}",
    b"{\"to\":-1,\"reason\":\"x\"}",
    b"\xff\xfe",
    b"{\"a\":{\"a\":{\"a\":1}}}",
];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn any<'a, T: ?Sized>(dice: &mut Rng, choices: &[&'a T]) -> &'a T {
    choices[dice.usize(..choices.len())]
}

/// The good request with one part broken, or as it is.
fn thrown(dice: &mut Rng, path: &str, method: &str) -> Call {
    let mut call = good(path, method);
    match dice.u8(..7) {
        0 => {
            let text = any(dice, &TEXTS);
            call.target = path.replace("{name}", text).replace("{id}", text);
        }
        1 | 2 => {
            let pairs: Vec<String> =
                (0..dice.usize(1..4)).map(|_| format!("{}={}", any(dice, &KEYS), any(dice, &TEXTS))).collect();
            call.target = format!("{}?{}", call.target, pairs.join("&"));
        }
        3 => call.body = any(dice, &BODIES).to_vec(),
        4 => {
            let cut = dice.usize(..=call.body.len());
            call.body.truncate(cut);
            call.body.extend((0..dice.usize(..4)).map(|_| dice.u8(..)));
        }
        5 => {
            let (name, value) = (any(dice, &HEADERS), any(dice, &VALUES));
            call = if dice.bool() { call.instead(name, value) } else { call.with(name, value) };
        }
        _ if dice.u8(..8) == 0 => call.body = vec![b'['; dice.usize(1..40_000)],
        _ => {}
    }
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_our_fault_or_answered_as_nobody_said() {
    let rig = full().await;
    let document = Document::of(&rig).await;
    rig.post("/api/platform/provision", r#"{"clientId":"shop"}"#).await;
    let first = variable("SITEWRIGHT_API_SEED");
    let throws = if first.is_some() { 1 } else { variable("SITEWRIGHT_API_THROWS").unwrap_or(THROWS) };
    let mut refused = 0;
    for seed in first.unwrap_or(0)..first.unwrap_or(0) + throws {
        for (path, method, operation) in document.operations() {
            let call = thrown(&mut Rng::with_seed(seed), &path, &method);
            let said = format!("SITEWRIGHT_API_SEED={seed}: {method} {path}: {call:?}");
            let answer = if path == "/api/v1/events" {
                let open = call.open(rig.address).await;
                Answer { status: open.status, headers: open.headers, body: b"{}".to_vec() }
            } else {
                call.send(rig.address).await
            };
            refused += usize::from(answer.status >= 400);
            let may_be_busy = path.ends_with("/plan") || path == "/api/v1/events";
            assert!(answer.status < 500 || (answer.status == 503 && may_be_busy), "{said}: {answer:?}");
            // A path that became another one is answered as that one: of nothing there, or of another method.
            let is_elsewhere = matches!(answer.status, 404 | 405);
            assert!(!is_elsewhere || answer.header("content-type") == "application/problem+json", "{said}: {answer:?}");
            if !is_elsewhere && (path != "/api/v1/events" || answer.status == 200) {
                assert_eq!(document.flaw(&operation, &answer), None, "{said}: {answer:?}");
            }
        }
    }
    assert!(first.is_some() || refused > 100, "the throws break something: {refused}");
    assert_eq!(rig.get("/readyz").await.status, 200);
}
