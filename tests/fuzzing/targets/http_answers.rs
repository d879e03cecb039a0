//! Answers as such: what status, headers and body mean for a read and for a write, and those of the smaller partners.

use axum::http::StatusCode;
use sitewright::provider::Git;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::github::GitHub;
use sitewright::provider::http::budget::CLOSED_MAX;
use sitewright::provider::outside::connection::Reply;
use sitewright::provider::outside::{cms, judge};
use sitewright::provider::postgres::{Found, Rights, read_catalog};
use sitewright::resource::desired::DesiredHealth;
use sitewright::resource::name::RepositorySlug;
use sitewright::resource::owned::ProbeOutcome;

use super::canned::{LIMIT, answer, client, in_virtual_time, is_presentable};

/// Any bytes as answers.
pub fn run(data: &[u8]) {
    in_virtual_time(async {
        called(data, false).await;
        called(data, true).await;
        head(data).await;
    });
    if let Some(answer) = answer(data) {
        let (parts, body) = answer.into_parts();
        looked_at(&Reply { status: parts.status, headers: parts.headers, body: body.clone() });
        catalog(&body);
    }
}

/// The class of a call, which does not depend on the provider.
async fn called(data: &[u8], write: bool) {
    let http = client(data);
    let outcome = match write {
        true => http.send(reqwest::Method::POST, "things", None).await,
        false => http.get("things", &[]).await,
    };
    let budget = http.budget.snapshot();
    assert!(budget.limit <= LIMIT.0 && budget.closed_for <= CLOSED_MAX, "{budget:?}");
    match outcome {
        Ok(Ok(answer)) => {
            assert!(answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED);
            let told: Result<Found, ErrorClass> = answer.json(&reqwest::Method::GET);
            assert!(!matches!(told, Err(ErrorClass::Unanswered(_))), "a read changes nothing");
        }
        Ok(Err(refusal)) => {
            assert!(refusal.status.is_client_error() && !matches!(refusal.status.as_u16(), 401 | 403 | 408 | 429));
            is_presentable(&http.error(&reqwest::Method::GET, "things", refusal.class()));
        }
        Err(error) => {
            is_presentable(&error);
            match error.class {
                ErrorClass::Unanswered(_) => assert!(write, "a read whose outcome matters: {error}"),
                ErrorClass::Unavailable(_) => assert!(!write, "a write that was sent and is said not to be: {error}"),
                _ => {}
            }
        }
    }
}

/// A branch's head is a commit or nothing.
async fn head(data: &[u8]) {
    let repository = RepositorySlug::parse("agency/shop").expect("a repository");
    match GitHub::new(client(data)).head(&repository, "feature/it's #1").await {
        Ok(Some(commit)) => {
            let good = (7..=40).contains(&commit.as_str().len());
            assert!(good && commit.as_str().bytes().all(|b| b.is_ascii_hexdigit()), "{commit}");
        }
        Ok(None) => {}
        Err(error) => is_presentable(&error),
    }
}

/// A visitor's look: only a 2xx that names this client, where that is asked for, is healthy.
fn looked_at(reply: &Reply) {
    for identity in [false, true] {
        let second = std::time::Duration::from_secs(1);
        let health = DesiredHealth { path: "/api/health".into(), timeout: second, interval: second, identity };
        match judge(reply, &health, "shop") {
            ProbeOutcome::Healthy => assert!(reply.status.is_success()),
            ProbeOutcome::WrongSite(who) => {
                assert!(identity && who.chars().count() <= 60 && !who.contains(|c: char| c.is_control()));
            }
            ProbeOutcome::Unhealthy(why) => assert!(!why.contains(|c: char| c.is_control())),
            other => panic!("an answer came: {other:?}"),
        }
    }
    let _ = cms::says_user(reply);
}

/// What a database server tells of itself.
fn catalog(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    if let Ok(catalog) = read_catalog(&text) {
        let marks = catalog.databases.iter().filter_map(|row| row.mark());
        marks.for_each(|mark| assert_eq!(mark.owner().instance, mark.instance));
    }
    let _ = serde_json::from_str::<Found>(&text);
    let _ = serde_json::from_str::<Rights>(&text);
}
