//! Host × Origin × token × content type, for reading and writing, against the rule in words (S22, H9, X12 to X14).

use crate::raw::{Answer, Call};
use crate::rig::{HOST, Rig, TOKEN, record};
use sitewright::status::Phase;

/// A header, and whether it is one that the rule accepts. For hosts: whether it is loopback, and whether it is on the list.
const HOSTS: [(Option<&str>, bool, bool); 11] = [
    (Some("localhost"), true, true),
    (Some("LOCALHOST:7117"), true, true),
    (Some("127.0.0.1:80"), true, true),
    (Some("[::1]:7117"), true, true),
    (Some(HOST), false, true),
    (Some("ops.example:9"), false, true),
    (Some("narrow.example:8443"), false, true),
    (Some("narrow.example:8444"), false, false),
    (Some("evil.example"), false, false),
    (Some("localhost.evil.example"), false, false),
    (Some("user@localhost"), false, false),
];
const ORIGINS: [(Option<&str>, bool); 9] = [
    (None, true),
    (Some("http://localhost:7117"), true),
    (Some("https://ops.example"), true),
    (Some("null"), false),
    (Some("https://evil.example"), false),
    (Some("http://localhost.evil.example"), false),
    (Some("https://narrow.example"), false),
    (Some("file://localhost"), false),
    (Some(""), false),
];
const TOKENS: [(Option<&str>, bool); 6] = [
    (None, false),
    (Some("Bearer right-token-0123456789abcdef"), true),
    (Some("bearer right-token-0123456789abcdef"), true),
    (Some("Bearer right-token-0123456789abcdeX"), false),
    (Some("Bearer"), false),
    (Some("Basic right-token-0123456789abcdef"), false),
];
const KINDS: [(Option<&str>, bool); 6] = [
    (Some("application/json"), true),
    (Some("Application/JSON; charset=utf-8"), true),
    (Some("text/plain"), false),
    (Some("application/x-www-form-urlencoded"), false),
    (Some("application/jsonp"), false),
    (None, false),
];

fn call(method: &str, target: &str, headers: [(&str, Option<&str>); 4]) -> Call {
    let mut call = Call::new(method, target);
    call.headers.clear();
    call.body = b"{}".to_vec();
    headers.into_iter().fold(call, |call, (name, value)| match value {
        Some(value) => call.with(name, value),
        None => call,
    })
}

fn assert_cautious(answer: &Answer, what: &str) {
    assert!(answer.headers.keys().all(|name| !name.starts_with("access-control-")), "{what}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{what}");
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        assert_eq!(answer.json()["status"], answer.status, "{what}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_combination_of_headers_is_judged_as_the_rule_says() {
    for token in [Some(TOKEN), None] {
        let rig = Rig::with(token, &[]).await;
        rig.save(&[record("shop", "gold", Phase::Active)]).await;
        let mut let_in = 0;
        for (host, loopback, listed) in HOSTS {
            for (origin, ours) in ORIGINS {
                for (given, right) in TOKENS {
                    let what = format!("token {}: {host:?} {origin:?} {given:?}", token.is_some());
                    let headers =
                        |kind| [("host", host), ("origin", origin), ("authorization", given), ("content-type", kind)];
                    let expected = match () {
                        () if !loopback && token.is_none() => 421,
                        () if !ours => 403,
                        () if !loopback && !right => 401,
                        () => 200,
                    };
                    let read = call("GET", "/api/v1/clients/shop", headers(None)).send(rig.address).await;
                    assert_eq!(read.status, expected, "reading, {what}");
                    assert_cautious(&read, &what);
                    for (kind, json) in KINDS {
                        let expected = match () {
                            () if !listed => 421,
                            () if !ours || token.is_none() => 403,
                            () if !right => 401,
                            () if !json => 415,
                            () => 202,
                        };
                        let write =
                            call("POST", "/api/v1/clients/shop/reconcile", headers(kind)).send(rig.address).await;
                        assert_eq!(write.status, expected, "writing, {what} {kind:?}");
                        assert_cautious(&write, &what);
                        let_in += usize::from(write.status == 202);
                        if write.status == 403 && ours {
                            assert!(write.json()["detail"].as_str().unwrap().contains("set apiToken"), "{what}");
                        }
                    }
                }
            }
        }
        assert_eq!(rig.asked().await.len(), let_in, "what was refused left nothing");
        assert_eq!(let_in > 0, token.is_some());
    }
}

/// A page at a name that its owner made point here: the browser sends that name as Host, and for `fetch` as Origin.
#[tokio::test]
async fn a_rebound_name_reads_and_writes_nothing() {
    let rig = Rig::new().await;
    rig.save(&[record("shop", "gold", Phase::Active)]).await;
    let host = format!("rebound.example:{}", rig.address.port());
    let origin = format!("http://{host}");
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/api/v1/clients"),
        ("GET", "/api/v1/events"),
        ("GET", "/openapi.json"),
        ("POST", "/api/v1/clients/shop/deploy"),
        ("OPTIONS", "/api/v1/clients/shop/deploy"),
        ("DELETE", "/api/v1/clients/shop"),
    ] {
        for origin in [None, Some(origin.as_str())] {
            let headers = [
                ("host", Some(host.as_str())),
                ("origin", origin),
                ("x", None),
                ("content-type", Some("application/json")),
            ];
            let answer = call(method, target, headers).send(rig.address).await;
            assert!(matches!(answer.status, 401 | 403 | 421), "{method} {target}: {answer:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("shop.example"), "{method} {target}");
        }
    }
    assert!(rig.asked().await.is_empty());
    // What monitors ask names no client, under whatever name they ask.
    let headers = [("host", Some(host.as_str())), ("origin", None), ("x", None), ("y", None)];
    assert_eq!(call("GET", "/healthz", headers).send(rig.address).await.status, 200);
    assert!(matches!(call("POST", "/healthz", headers).send(rig.address).await.status, 401 | 403 | 421));
}

#[tokio::test]
async fn two_hosts_none_and_another_site_are_refused() {
    let rig = Rig::new().await;
    let twice = Call::new("GET", "/api/v1/clients").with("host", "localhost");
    assert_eq!(twice.send(rig.address).await.status, 400);
    let mut none = Call::new("GET", "/api/v1/clients");
    none.headers.clear();
    assert_eq!(none.send(rig.address).await.status, 401);
    let image =
        Call::new("GET", "/api/v1/clients").with("sec-fetch-site", "cross-site").with("sec-fetch-mode", "no-cors");
    assert_eq!(image.send(rig.address).await.status, 403);
    let link = Call::new("GET", "/").with("sec-fetch-site", "cross-site").with("sec-fetch-mode", "navigate");
    assert_eq!(link.send(rig.address).await.status, 200);
    let absolute = Call::new("GET", "http://evil.example/api/v1/clients");
    assert_eq!(absolute.send(rig.address).await.status, 401, "the target names the host");
}
