//! Who is told what: the welcome once, a site that is down once, and its recovery; across a kill and a lost answer.

use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::provider::world::faults::{Effect, Rule};

use crate::rig::{Rig, spec};

const ADMIN: &str = "owner@telling.agency.example";

impl Rig {
    fn mails(&self, word: &str) -> Vec<serde_json::Value> {
        let has = |mail: &serde_json::Value| mail["tags"][0]["value"] == word;
        self.simulators.mail.mails().into_iter().filter(has).collect()
    }

    async fn until_mailed(&self, word: &str, count: usize) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
        while self.mails(word).len() < count {
            let events: Vec<String> =
                self.events().await.iter().map(|e| format!("{}: {}", e.reason, e.message)).collect();
            assert!(std::time::Instant::now() < deadline, "no {word}: {events:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_welcome_a_fall_and_the_recovery_are_told_once_each() {
    let mut rig = Rig::new().await;
    rig.set("SITEWRIGHT_NOTIFY_FROM", "Agency <notices@agency.example>");
    rig.set("SITEWRIGHT_NOTIFY_TO", "ops@agency.example");
    let api = rig.environment["RESEND_API_URL"].clone();
    rig.set("SITEWRIGHT_NOTIFY_WEBHOOK", &format!("{api}/hook"));
    let lost = Rule { effect: Effect::LostAfter, times: 1, ..resend() };
    rig.simulators.world.faults.add(lost);
    let more = format!(
        "  admin: {{ email: {ADMIN}, name: Owner }}\n  health: {{ interval: 5s }}\n  notify: {{ email: [dev@agency.example] }}\n"
    );
    rig.write("telling.yaml", &spec("telling", &more));
    let mut daemon = rig.daemon();
    rig.ready("telling").await;
    rig.until_mailed("welcome", 1).await;
    let welcome = &rig.mails("welcome")[0];
    assert_eq!(welcome["to"], serde_json::json!([ADMIN]));
    let text = welcome["text"].as_str().unwrap();
    let password = text.lines().find_map(|line| line.strip_prefix("Password: ")).expect("a password").to_owned();
    let known = rig.simulators.world.state().administrators.values().cloned().collect::<Vec<_>>();
    assert_eq!(known, [(ADMIN.to_owned(), password.clone())], "the one that signs in");

    daemon.kill();
    let daemon = rig.daemon();
    assert!(rig.simulators.world.state().processes.stop(SERVER_ID, "ploi", "telling"));
    rig.until_mailed("problem", 1).await;
    let problem = &rig.mails("problem")[0];
    assert_eq!(problem["subject"], "telling: Down");
    assert_eq!(problem["to"], serde_json::json!(["ops@agency.example", "dev@agency.example"]));
    assert!(rig.simulators.world.state().processes.restart(SERVER_ID, "ploi", "telling"));
    rig.until_mailed("recovery", 1).await;
    let told = rig.simulators.mail.told();
    assert!(told.iter().any(|text| text.starts_with("*telling: Down*")), "{told:?}");
    assert_eq!((rig.mails("welcome").len(), rig.mails("problem").len(), rig.mails("recovery").len()), (1, 1, 1));
    drop(daemon);
    let state = std::fs::read(rig.path(".sitewright/state.db")).expect("the state");
    let is_in = |needle: &str| state.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(is_in("telling") && !is_in(&password), "the password lies in the state sealed alone");
}

fn resend() -> Rule {
    serde_json::from_value(serde_json::json!({ "provider": "resend", "times": 1, "effect": "lostAfter" }))
        .expect("a rule")
}
