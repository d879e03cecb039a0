//! The routes of the simulated API: who may call, listings with their filters and pages, batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::records::{Refusal, Stored, foreign};
use super::{Admission, CloudflareSim, State};

/// Records on a page: the default, and the most (contracts/cloudflare.md 1.4).
const RECORDS_PER_PAGE: (usize, usize) = (100, 5_000);
/// Zones on a page: the default, and the most (contracts/cloudflare.md 1.3).
const ZONES_PER_PAGE: (usize, usize) = (20, 50);

type Sim = Shared<Arc<CloudflareSim>>;
type Filters = Query<BTreeMap<String, String>>;

pub(super) fn router(sim: Arc<CloudflareSim>) -> Router {
    let record = get(record).put(overwrite_record).patch(change_record).delete(delete_record);
    let api = Router::new()
        .route("/user/tokens/verify", get(verify))
        .route("/zones", get(zones))
        .route("/zones/{zone}", get(zone))
        .route("/zones/{zone}/settings/{setting}", get(setting))
        .route("/zones/{zone}/dns_records", get(list_records).post(create_record))
        .route("/zones/{zone}/dns_records/batch", axum::routing::post(batch))
        .route("/zones/{zone}/dns_records/{record}", record)
        .method_not_allowed_fallback(async || {
            refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, 10_405, "Method not allowed"))
        })
        .fallback(async || refuse(&Refusal::new(StatusCode::NOT_FOUND, 7_003, "Could not route to the path")))
        .layer(middleware::from_fn_with_state(sim.clone(), admit))
        .with_state(sim);
    Router::new().nest("/client/v4", api)
}

fn refuse(refusal: &Refusal) -> Response {
    (refusal.status, Json(refusal.body(super::ErrorShape::Direct))).into_response()
}

/// The rate limit, then the token, then the content type.
async fn admit(Shared(sim): Sim, request: Request, next: Next) -> Response {
    let (admission, (limit, window), says_when) = {
        let mut state = sim.state.lock();
        (state.admit(), state.knobs.rate, state.knobs.retry_after)
    };
    let seconds = |d: Duration| d.as_millis().div_ceil(1000);
    let mut response = match &admission {
        Admission::Blocked(_) => {
            let text = format!("More than {limit} requests per {} seconds reached.", window.as_secs());
            refuse(&Refusal::new(StatusCode::TOO_MANY_REQUESTS, 10_100, text))
        }
        Admission::Open { .. } => match authorise(&sim, request.headers(), request.method().as_str()) {
            Err(refusal) => refuse(&refusal),
            Ok(()) => next.run(request).await,
        },
    };
    let (remaining, resets_in) = match admission {
        Admission::Open { remaining, resets_in } => (remaining, resets_in),
        Admission::Blocked(left) => (0, left),
    };
    let headers = response.headers_mut();
    let mut set = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    set("ratelimit", format!("\"default\";r={remaining};t={}", seconds(resets_in)));
    set("ratelimit-policy", format!("\"default\";q={limit};w={}", window.as_secs()));
    if matches!(admission, Admission::Blocked(_)) && says_when {
        set("retry-after", seconds(resets_in).to_string());
    }
    response
}

fn authorise(sim: &CloudflareSim, headers: &HeaderMap, method: &str) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text(header::AUTHORIZATION).strip_prefix("Bearer ") {
        None => return Err(Refusal::new(StatusCode::BAD_REQUEST, 6_003, "Invalid request headers")),
        Some(token) if token != sim.token => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, 1_000, "Invalid API Token"));
        }
        Some(_) => (),
    }
    let is_json = text(header::CONTENT_TYPE).starts_with("application/json");
    if matches!(method, "POST" | "PUT" | "PATCH") && !is_json {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, 9_207, "Content-type must be application/json."));
    }
    Ok(())
}

fn good(result: &Value) -> Response {
    Json(json!({ "success": true, "errors": [], "messages": [], "result": result })).into_response()
}

/// One page of a listing. A `per_page` beyond the most is refused.
fn paged(rows: Vec<Value>, filters: &BTreeMap<String, String>, (usual, most): (usize, usize)) -> Response {
    let number = |key: &str, usual: usize| filters.get(key).map_or(Some(usual), |text| text.parse().ok());
    let (Some(page @ 1..), Some(per_page)) = (number("page", 1), number("per_page", usual)) else {
        return refuse(&Refusal::new(StatusCode::BAD_REQUEST, 1_004, "page and per_page must be numbers."));
    };
    if !(1..=most).contains(&per_page) {
        return refuse(&Refusal::new(StatusCode::BAD_REQUEST, 1_004, format!("per_page must be at most {most}.")));
    }
    let total = rows.len();
    let rows: Vec<Value> = rows.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let info = json!({
        "page": page, "per_page": per_page, "count": rows.len(), "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    Json(json!({ "success": true, "errors": [], "messages": [], "result": rows, "result_info": info })).into_response()
}

async fn verify() -> Response {
    good(&json!({ "id": format!("{:032x}", 0x70_ce), "status": "active" }))
}

async fn zones(Shared(sim): Sim, Query(filters): Filters) -> Response {
    let state = sim.state.lock();
    let fits = |key: &str, value: &str| filters.get(key).is_none_or(|wanted| wanted.eq_ignore_ascii_case(value));
    let rows = state.zones.values().filter(|z| fits("name", &z.name) && fits("status", &z.status));
    paged(rows.map(|z| z.shown(&state.knobs.permissions)).collect(), &filters, ZONES_PER_PAGE)
}

async fn zone(Shared(sim): Sim, Path(zone): Path<String>) -> Response {
    let state = sim.state.lock();
    match known(&state, &zone) {
        Ok(()) => good(&state.zones.get(&zone).map(|z| z.shown(&state.knobs.permissions)).unwrap_or_default()),
        Err(refusal) => refuse(&refusal),
    }
}

async fn setting(Shared(sim): Sim, Path((zone, setting)): Path<(String, String)>) -> Response {
    let state = sim.state.lock();
    if let Err(refusal) = known(&state, &zone) {
        return refuse(&refusal);
    }
    let value = match setting.as_str() {
        "ssl" => state.knobs.ssl_mode.clone(),
        "always_use_https" => "off".into(),
        "min_tls_version" => "1.2".into(),
        _ => return refuse(&Refusal::new(StatusCode::BAD_REQUEST, 1_006, "Unrecognized zone setting name")),
    };
    good(&json!({ "id": setting, "value": value, "editable": true, "modified_on": null }))
}

/// A malformed id is a wrong route, a zone of somebody else looks like a bad credential.
fn known(state: &State, zone: &str) -> Result<(), Refusal> {
    if zone.len() != 32 || !zone.bytes().all(|b| b.is_ascii_hexdigit()) {
        let text = "Could not route to the zone, perhaps your object identifier is invalid?";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, 7_003, text));
    }
    if state.zones.contains_key(zone) { Ok(()) } else { Err(foreign()) }
}

async fn list_records(Shared(sim): Sim, Path(zone): Path<String>, Query(filters): Filters) -> Response {
    let state = sim.state.lock();
    if let Err(refusal) = known(&state, &zone) {
        return refuse(&refusal);
    }
    let Some(zone) = state.zones.get(&zone) else { return refuse(&foreign()) };
    let any = filters.get("match").is_some_and(|m| m == "any");
    let mut rows: Vec<Stored> = zone.listed(state.knobs.stale_list);
    rows.retain(|row| {
        let mut checks = filters.iter().filter_map(|(key, wanted)| passes(row, key, &wanted.to_ascii_lowercase()));
        if any { checks.any(|passed| passed) } else { checks.all(|passed| passed) }
    });
    match filters.get("order").map(String::as_str) {
        Some("name") => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("content") => rows.sort_by(|a, b| a.content.cmp(&b.content)),
        _ => rows.sort_by(|a, b| a.kind.cmp(&b.kind)),
    }
    if filters.get("direction").is_some_and(|d| d == "desc") {
        rows.reverse();
    }
    paged(rows.iter().map(Stored::shown).collect(), &filters, RECORDS_PER_PAGE)
}

/// Whether a row passes one filter; `None` for what is no filter. Text filters do not look at case.
fn passes(row: &Stored, key: &str, wanted: &str) -> Option<bool> {
    let (field, how) = key.split_once('.').unwrap_or((key, "exact"));
    let comment = row.comment.clone().unwrap_or_default();
    let value = match field {
        "type" => &row.kind,
        "name" => &row.name,
        "content" => &row.content,
        "comment" => &comment,
        "proxied" => return Some(row.proxied.to_string() == wanted),
        _ => return None,
    }
    .to_ascii_lowercase();
    Some(match how {
        "exact" => value == wanted,
        "contains" => value.contains(wanted),
        "startswith" => value.starts_with(wanted),
        "endswith" => value.ends_with(wanted),
        "present" => !value.is_empty(),
        "absent" => value.is_empty(),
        _ => return None,
    })
}

/// Runs one change of records under the lock; a body that is no JSON never gets there.
fn act(sim: &CloudflareSim, zone: &str, change: impl FnOnce(&mut State) -> Result<Value, Refusal>) -> Response {
    let mut state = sim.state.lock();
    let shape = state.knobs.error_shape;
    let result = match known(&state, zone) {
        Ok(()) => sim.transact(&mut state, zone, change),
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(result) => good(&result),
        Err(refusal) => (refusal.status, Json(refusal.body(shape))).into_response(),
    }
}

fn json_body(bytes: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, 6_007, "Malformed JSON in request body"))
}

async fn record(Shared(sim): Sim, Path((zone, id)): Path<(String, String)>) -> Response {
    act(&sim, &zone, |state| {
        let stored = state.zones.get(&zone).and_then(|z| z.records.get(&id));
        let missing = || Refusal::new(StatusCode::NOT_FOUND, 81_044, "Record does not exist.");
        stored.map(Stored::shown).ok_or_else(missing)
    })
}

async fn create_record(Shared(sim): Sim, Path(zone): Path<String>, bytes: Bytes) -> Response {
    act(&sim, &zone, |state| Ok(state.create(&zone, &json_body(&bytes)?)?.shown()))
}

async fn change_record(Shared(sim): Sim, Path((zone, id)): Path<(String, String)>, bytes: Bytes) -> Response {
    act(&sim, &zone, |state| Ok(state.change(&zone, &id, &json_body(&bytes)?)?.shown()))
}

async fn overwrite_record(Shared(sim): Sim, Path((zone, id)): Path<(String, String)>, bytes: Bytes) -> Response {
    act(&sim, &zone, |state| Ok(state.overwrite(&zone, &id, &json_body(&bytes)?)?.shown()))
}

async fn delete_record(Shared(sim): Sim, Path((zone, id)): Path<(String, String)>) -> Response {
    act(&sim, &zone, |state| Ok(json!({ "id": state.delete(&zone, &id)?.id })))
}

/// Deletes, patches, puts, posts, in this order; all or nothing, and only the first error is told.
async fn batch(Shared(sim): Sim, Path(zone): Path<String>, bytes: Bytes) -> Response {
    act(&sim, &zone, |state| {
        let body = json_body(&bytes)?;
        let held = state.zones.get(&zone).map(|z| (z.records.clone(), z.history.clone()));
        let result = state.batch(&zone, &body);
        if let (Err(_), Some(zone), Some((records, history))) = (&result, state.zones.get_mut(&zone), held) {
            zone.records = records;
            zone.history = history;
        }
        result
    })
}

impl State {
    fn batch(&mut self, zone: &str, body: &Value) -> Result<Value, Refusal> {
        let list = |key: &str| body.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let lists = ["deletes", "patches", "puts", "posts"].map(|key| (key, list(key)));
        let count: usize = lists.iter().map(|(_, list)| list.len()).sum();
        let most = self.zones.get(zone).map(|z| z.plan.operations_max()).ok_or_else(foreign)?;
        if count == 0 || count > most {
            let text = format!("A batch holds 1 to {most} operations.");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, 9_207, text));
        }
        let mut result = serde_json::Map::new();
        for (key, list) in lists {
            let mut shown = Vec::new();
            for item in &list {
                let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
                let done = match key {
                    "deletes" => self.delete(zone, id),
                    "patches" => self.change(zone, id, item),
                    "puts" => self.overwrite(zone, id, item),
                    _ => self.create(zone, item),
                };
                shown.push(done?.shown());
            }
            result.insert(key.to_owned(), if shown.is_empty() { Value::Null } else { Value::Array(shown) });
        }
        Ok(Value::Object(result))
    }
}
