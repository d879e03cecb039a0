//! The simulated Cloudflare against the facts of contracts/cloudflare.md as raw JSON, and against its OpenAPI description:
//! not through our own client, so that both cannot be wrong in the same way.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sitewright::provider::cloudflare::sim::{CloudflareSim, ErrorShape, Plan};
use sitewright::provider::world::dns::DnsTable;
use sitewright::provider::world::faults::Faults;

use crate::loopback::Served;

const TOKEN: &str = "simulated-token";
const ZONE: &str = "agency.example";

/// The description, where the shelf is.
fn description() -> Option<Value> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shelf = std::env::var_os("SITEWRIGHT_SHELF").map_or(beside, PathBuf::from);
    let path = shelf.join("contracts/cloudflare-dns.openapi.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the test harness, which swallows what a passing test prints.
        let text = "is not there, answers are not held against the OpenAPI description";
        #[allow(clippy::explicit_write)] // the test harness hides what eprintln! prints
        writeln!(std::io::stderr(), "SKIPPED: {} {text}", path.display()).unwrap();
        return None;
    };
    Some(serde_json::from_str(&text).expect("the description is JSON"))
}

/// OpenAPI 3.0 says `nullable`, JSON Schema says `null`.
fn as_json_schema(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(as_json_schema),
        Value::Object(members) => {
            members.values_mut().for_each(as_json_schema);
            if members.remove("nullable") == Some(json!(true))
                && let Some(Value::String(kind)) = members.get("type").cloned()
            {
                members.insert("type".into(), json!([kind, "null"]));
            }
        }
        _ => (),
    }
}

struct Api {
    sim: Arc<CloudflareSim>,
    zone: String,
    client: reqwest::Client,
    served: Served,
    description: Option<Value>,
}

struct Said {
    status: u16,
    body: Value,
    headers: reqwest::header::HeaderMap,
}

impl Said {
    fn code(&self) -> i64 {
        assert_eq!((&self.body["success"], &self.body["result"]), (&json!(false), &Value::Null));
        self.body["errors"][0]["code"].as_i64().expect("a code")
    }

    fn result(&self) -> &Value {
        assert_eq!((self.status, &self.body["success"]), (200, &json!(true)), "{}", self.body);
        &self.body["result"]
    }
}

impl Api {
    async fn start(plan: Plan) -> Api {
        let sim = CloudflareSim::new(TOKEN, Arc::new(DnsTable::default()));
        let zone = sim.add_zone(ZONE, plan);
        let served = Served::start(sim.router(Arc::new(Faults::default()))).await;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let description = description().map(|mut value| {
            as_json_schema(&mut value);
            value
        });
        Api { sim, zone, client, served, description }
    }

    async fn raw(&self, method: &str, path: &str, body: Option<String>, token: &str) -> Said {
        let method: reqwest::Method = method.parse().expect("a method");
        let path = path.replace("{zone}", &self.zone);
        let mut request = self.client.request(method.clone(), self.served.url(&format!("/client/v4{path}")));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        self.hold(method.as_str(), &path, status, &body);
        Said { status, body, headers }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Said {
        let body = (!body.is_null()).then(|| body.to_string());
        self.raw(method, path, body, TOKEN).await
    }

    async fn post(&self, body: Value) -> Said {
        self.call("POST", "/zones/{zone}/dns_records", body).await
    }

    /// Every answer of every test is held against the description.
    fn hold(&self, method: &str, path: &str, status: u16, body: &Value) {
        let Some(description) = &self.description else { return };
        let path = path.split('?').next().unwrap_or_default();
        let paths = description["paths"].as_object().expect("paths");
        let fits = |template: &str| {
            let (ours, theirs): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
            ours.len() == theirs.len() && theirs.iter().zip(&ours).all(|(t, o)| t.starts_with('{') || t == o)
        };
        // A literal path goes before one with a parameter: `batch` is no record id.
        let mut known: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
        known.sort_by_key(|template| template.matches('{').count());
        let Some(operation) = known.first().and_then(|t| paths[*t].get(method.to_lowercase())) else {
            assert!(status >= 400, "{method} {path} is not described and answers {status}");
            return;
        };
        let class = format!("{}XX", status / 100);
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get(&class));
        let response = response.unwrap_or(&responses["400"]);
        let mut schema = response["content"]["application/json"]["schema"].clone();
        assert!(schema.is_object(), "{method} {path} {status} has a schema");
        schema["components"] = description["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let wrong: Vec<String> =
            validator.iter_errors(body).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert_eq!(wrong, Vec::<String>::new(), "{method} {path} {status}: {body}");
    }
}

#[tokio::test]
async fn the_validation_can_fail() {
    let api = Api::start(Plan::Free).await;
    if api.description.is_none() {
        return;
    }
    let path = format!("/zones/{}/dns_records", api.zone);
    let wrong = json!({ "success": true, "errors": [], "messages": [], "result": { "id": "short" } });
    let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| api.hold("POST", &path, 200, &wrong)));
    assert!(held.is_err(), "a record with nothing but a bad id passes for a record");
}

#[tokio::test]
async fn tokens_zones_and_settings() {
    let api = Api::start(Plan::Free).await;
    assert_eq!(api.call("GET", "/user/tokens/verify", Value::Null).await.result()["status"], "active");
    let zones = api.call("GET", "/zones?per_page=50", Value::Null).await;
    assert_eq!(zones.result()[0]["name"], ZONE);
    assert_eq!(zones.body["result_info"]["total_count"], 1);
    assert_eq!(api.call("GET", "/zones?name=nobody.example", Value::Null).await.result(), &json!([]));
    assert_eq!(api.call("GET", "/zones/{zone}", Value::Null).await.result()["plan"]["legacy_id"], "free");
    assert_eq!(api.call("GET", "/zones/{zone}/settings/ssl", Value::Null).await.result()["value"], "full");
    assert_eq!(api.call("GET", "/zones?per_page=51", Value::Null).await.status, 400);
}

#[tokio::test]
async fn credentials_and_routes_fail_as_documented() {
    let api = Api::start(Plan::Free).await;
    let without = api.raw("GET", "/zones", None, "").await;
    assert_eq!((without.status, without.code()), (400, 6003));
    let wrong = api.raw("GET", "/zones", None, "another").await;
    assert_eq!((wrong.status, wrong.code()), (401, 1000));
    let foreign = api.call("GET", &format!("/zones/{}/dns_records", "f".repeat(32)), Value::Null).await;
    assert_eq!((foreign.status, foreign.code()), (403, 10000));
    let malformed = api.call("GET", "/zones/nonsense/dns_records", Value::Null).await;
    assert_eq!((malformed.status, malformed.code()), (400, 7003));
    let verb = api.call("DELETE", "/zones/{zone}/dns_records", Value::Null).await;
    assert_eq!((verb.status, verb.code()), (405, 10405));
    let text = api.raw("POST", "/zones/{zone}/dns_records", Some("{not json".into()), TOKEN).await;
    assert_eq!((text.status, text.code()), (400, 6007));
}

#[tokio::test]
async fn names_are_answered_in_full_in_punycode_and_belong_to_the_zone() {
    let api = Api::start(Plan::Free).await;
    for (sent, shown) in [
        ("www", "www.agency.example"),
        ("WWW2.Agency.Example.", "www2.agency.example"),
        ("@", "agency.example"),
        ("bücher", "xn--bcher-kva.agency.example"),
        ("_dmarc", "_dmarc.agency.example"),
        ("*", "*.agency.example"),
        ("mail.other.example", "mail.other.example.agency.example"),
    ] {
        let said = api.post(json!({ "type": "TXT", "name": sent, "content": "\"x\"", "ttl": 1 })).await;
        assert_eq!(said.result()["name"], shown, "{sent}");
    }
}

#[tokio::test]
async fn values_are_rewritten_as_documented() {
    let api = Api::start(Plan::Free).await;
    let six = api.post(json!({ "type": "AAAA", "name": "six", "content": "fe80::0:0:1", "ttl": 300 })).await;
    assert_eq!(six.result()["content"], "fe80::1");
    let proxied =
        api.post(json!({ "type": "A", "name": "p", "content": "192.0.2.1", "ttl": 300, "proxied": true })).await;
    assert_eq!((&proxied.result()["ttl"], &proxied.result()["proxied"]), (&json!(1), &json!(true)));
    let alias = api.post(json!({ "type": "CNAME", "name": "c", "content": "target.example.net.", "ttl": 1 })).await;
    assert_eq!((&alias.result()["content"], &alias.result()["comment"]), (&json!("target.example.net"), &Value::Null));
    let long = "x".repeat(300);
    let quoted = json!({ "type": "TXT", "name": "q", "content": format!("\"{long}\""), "ttl": 1 });
    let split = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
    assert_eq!(api.post(quoted).await.result()["content"], split);
    let plain = json!({ "type": "TXT", "name": "u", "content": long, "ttl": 1 });
    assert_eq!(api.post(plain).await.result()["content"], long);
    let caa = json!({ "type": "CAA", "name": "caa", "ttl": 1,
                      "data": { "flags": 0, "tag": "issue", "value": "letsencrypt.org" } });
    assert_eq!(api.post(caa).await.result()["content"], "0 issue \"letsencrypt.org\"");
}

#[tokio::test]
async fn bad_bodies_have_their_codes() {
    let api = Api::start(Plan::Free).await;
    for (body, code) in [
        (json!({ "type": "A", "name": "a", "content": "not-an-address", "ttl": 1 }), 9005),
        (json!({ "type": "A", "name": "a", "content": "192.0.2", "ttl": 1 }), 9005),
        (json!({ "type": "A", "name": "a", "content": "192.0.2.1", "ttl": 5 }), 9021),
        (json!({ "type": "A", "name": "a", "content": "192.0.2.1", "ttl": "300" }), 9021),
        (json!({ "type": "A", "name": "a", "content": "10.0.0.1", "ttl": 1, "proxied": true }), 9003),
        (json!({ "type": "TXT", "name": "a", "content": "x", "ttl": 1, "proxied": true }), 9004),
        (json!({ "type": "A", "name": "a", "content": "192.0.2.1", "ttl": 1, "tags": ["a:b"] }), 9300),
        (json!({ "type": "A", "name": "a", "content": "192.0.2.1", "ttl": 1, "proxed": true }), 9207),
        (json!({ "type": "MX", "name": "a", "content": "mx.example.net", "ttl": 1 }), 9102),
        (json!({ "type": "A", "name": "a", "content": "192.0.2.1", "comment": "x".repeat(101) }), 9313),
        (json!({ "type": "TXT", "name": "a", "content": "", "ttl": 1 }), 9009),
        (json!({ "name": "a", "content": "192.0.2.1", "ttl": 1 }), 9000),
    ] {
        let said = api.post(body.clone()).await;
        assert_eq!((said.status, said.code()), (400, code), "{body}");
    }
    api.sim.turn(|knobs| knobs.error_shape = ErrorShape::Chained);
    let said = api.post(json!({ "type": "A", "name": "a", "content": "nope", "ttl": 1 })).await;
    assert_eq!((said.code(), &said.body["errors"][0]["error_chain"][0]["code"]), (1004, &json!(9005)));
    assert_eq!(api.sim.records(&api.zone), Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_there_already_is_refused() {
    let api = Api::start(Plan::Free).await;
    let a = json!({ "type": "A", "name": "here", "content": "192.0.2.1", "ttl": 300 });
    api.post(a.clone()).await.result();
    assert_eq!(api.post(a).await.code(), 81058);
    api.post(json!({ "type": "A", "name": "here", "content": "192.0.2.2", "ttl": 300 })).await.result();
    let cname = |name: &str| json!({ "type": "CNAME", "name": name, "content": "x.example.net", "ttl": 1 });
    assert_eq!(api.post(cname("here")).await.code(), 81053);
    api.post(cname("alias")).await.result();
    assert_eq!(api.post(json!({ "type": "A", "name": "alias", "content": "192.0.2.1", "ttl": 1 })).await.code(), 81054);
    api.post(json!({ "type": "TXT", "name": "alias", "content": "\"x\"", "ttl": 1 })).await.result();
}

#[tokio::test]
async fn patch_keeps_put_wipes_delete_ends() {
    let api = Api::start(Plan::Enterprise).await;
    let body = json!({ "type": "A", "name": "r", "content": "192.0.2.1", "ttl": 300, "comment": "by hand",
                       "tags": ["b:2", "a:1"] });
    let created = api.post(body).await;
    assert_eq!(created.result()["tags"], json!(["a:1", "b:2"]));
    let path = format!("/zones/{{zone}}/dns_records/{}", created.result()["id"].as_str().expect("an id"));
    let patched = api.call("PATCH", &path, json!({ "content": "192.0.2.2" })).await;
    let kept = patched.result();
    assert_eq!(
        (&kept["content"], &kept["comment"], &kept["ttl"]),
        (&json!("192.0.2.2"), &json!("by hand"), &json!(300))
    );
    let cleared = api.call("PATCH", &path, json!({ "comment": "" })).await;
    assert_eq!(cleared.result()["comment"], Value::Null);
    let put = api.call("PUT", &path, json!({ "type": "A", "name": "r", "content": "192.0.2.3" })).await;
    assert_eq!((&put.result()["ttl"], &put.result()["tags"]), (&json!(1), &json!([])));
    let swapped = api.call("PATCH", &path, json!({ "type": "CNAME", "content": "x.example.net" })).await;
    assert_eq!(swapped.result()["type"], "CNAME");
    assert_eq!(api.call("GET", &path, Value::Null).await.result()["content"], "x.example.net");
    assert_eq!(api.call("PATCH", &path, json!({})).await.status, 400);
    api.call("DELETE", &path, Value::Null).await.result();
    for method in ["DELETE", "GET"] {
        let gone = api.call(method, &path, Value::Null).await;
        assert_eq!((gone.status, gone.code()), (404, 81044));
    }
    assert_eq!(api.call("PATCH", &path, json!({ "ttl": 60 })).await.code(), 81044);
}

#[tokio::test]
async fn a_batch_runs_in_its_order_and_fails_as_a_whole() {
    let api = Api::start(Plan::Free).await;
    let old = api.post(json!({ "type": "CNAME", "name": "swap", "content": "x.example.net", "ttl": 1 })).await;
    let id = old.result()["id"].clone();
    let swap = json!({
        "posts": [{ "type": "A", "name": "swap", "content": "192.0.2.1", "ttl": 300 }],
        "deletes": [{ "id": id }],
    });
    let batch = "/zones/{zone}/dns_records/batch";
    let done = api.call("POST", batch, swap.clone()).await;
    assert_eq!((&done.result()["patches"], &done.result()["posts"][0]["type"]), (&Value::Null, &json!("A")));
    assert_eq!(api.call("POST", batch, swap).await.code(), 81044);
    let before = api.sim.records(&api.zone);
    let half = json!({ "posts": [
        { "type": "A", "name": "one", "content": "192.0.2.1", "ttl": 300 },
        { "type": "A", "name": "two", "content": "nope", "ttl": 300 },
        { "type": "A", "name": "three", "content": "192.0.2.1", "ttl": 5 },
    ] });
    let failed = api.call("POST", batch, half).await;
    assert_eq!((failed.code(), failed.body["errors"].as_array().map(Vec::len)), (9005, Some(1)));
    assert_eq!(api.sim.records(&api.zone), before);
    let many: Vec<Value> =
        (0..201).map(|n| json!({ "type": "A", "name": format!("m{n}"), "content": "192.0.2.1", "ttl": 1 })).collect();
    assert_eq!(api.call("POST", batch, json!({ "posts": many })).await.status, 400);
}

#[tokio::test]
async fn listings_are_paged_filtered_and_stale_for_a_while() {
    let api = Api::start(Plan::Free).await;
    for number in 0..150 {
        let mark = if number % 2 == 0 { "sitewright/v1 test 01" } else { "" };
        let body =
            json!({ "type": "A", "name": format!("n{number:03}"), "content": "192.0.2.1", "ttl": 1, "comment": mark });
        api.sim.create_by_hand(&api.zone, &body).expect("created");
    }
    let list = |query: &str| format!("/zones/{{zone}}/dns_records{query}");
    let first = api.call("GET", &list(""), Value::Null).await;
    let info = json!({ "page": 1, "per_page": 100, "count": 100, "total_count": 150, "total_pages": 2 });
    assert_eq!(first.body["result_info"], info);
    let last = api.call("GET", &list("?page=2&per_page=100"), Value::Null).await;
    assert_eq!(last.result().as_array().map(Vec::len), Some(50));
    for (query, count) in [
        ("?per_page=5000", 150),
        ("?comment.startswith=Sitewright%2Fv1", 75),
        ("?comment.absent=true&per_page=5000", 75),
        ("?name=N001.agency.example", 1),
        ("?name.startswith=n00", 10),
        ("?type=CNAME", 0),
        ("?type=A&content=192.0.2.9", 0),
        ("?match=any&name=n001.agency.example&name.endswith=n002.agency.example", 2),
        ("?page=3&per_page=100", 0),
    ] {
        let said = api.call("GET", &list(query), Value::Null).await;
        assert_eq!(said.result().as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(api.call("GET", &list("?per_page=5001"), Value::Null).await.status, 400);
    api.sim.turn(|knobs| knobs.stale_list = Duration::from_secs(3_600));
    assert_eq!(api.call("GET", &list("?per_page=5000"), Value::Null).await.result(), &json!([]));
}

#[tokio::test]
async fn a_zone_takes_two_hundred_records() {
    let api = Api::start(Plan::Free).await;
    for number in 0..200 {
        let body = json!({ "type": "A", "name": format!("n{number}"), "content": "192.0.2.1", "ttl": 1 });
        api.sim.create_by_hand(&api.zone, &body).expect("created");
    }
    let over = api.post(json!({ "type": "A", "name": "over", "content": "192.0.2.1", "ttl": 1 })).await;
    assert_eq!((over.status, over.code()), (400, 81045));
}

#[tokio::test]
async fn headers_count_down_and_then_everything_is_blocked() {
    let api = Api::start(Plan::Free).await;
    api.sim.turn(|knobs| knobs.rate = (2, Duration::from_secs(300)));
    let header =
        |said: &Said, name: &str| said.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let first = api.call("GET", "/zones", Value::Null).await;
    assert!(header(&first, "ratelimit").starts_with("\"default\";r=1;t="));
    assert_eq!(header(&first, "ratelimit-policy"), "\"default\";q=2;w=300");
    api.call("GET", "/zones", Value::Null).await.result();
    for _ in 0..2 {
        let blocked = api.call("GET", "/zones", Value::Null).await;
        assert_eq!((blocked.status, blocked.code()), (429, 10100));
        assert!(header(&blocked, "retry-after").parse::<u64>().is_ok_and(|s| (290..=300).contains(&s)));
    }
}
