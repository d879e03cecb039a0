//! What was: deploys with their logs, rollbacks, and every write, as people read them later.

use futures::FutureExt as _;
use sitewright::resource::name::ClientName;
use sitewright::store::history::{Deployment, DeploymentKind, DeploymentState, History as _, Write};
use sitewright::store::{Ask, Store as _};

use crate::fate::{Course, Fate};
use crate::life::{PATIENCE, quiet_world, spec};
use crate::many::in_virtual_time;
use crate::world::{RESYNC, Sim};

fn shop() -> ClientName {
    ClientName::trusted("shop")
}

/// Oldest first.
async fn deploys(sim: &Sim) -> Vec<Deployment> {
    let mut rows = sim.disk.deployments(Some(&shop()), None, 99).await.unwrap();
    rows.reverse();
    rows
}

fn ask(sim: &Sim, ask: &Ask) -> i64 {
    sim.disk.ask(ask, sim.now()).now_or_never().expect("memory answers at once").unwrap()
}

/// The commit of what serves, once nothing is under way.
async fn serving(sim: &mut Sim) -> String {
    let at_rest = async |sim: &Sim| {
        let record = sim.record("shop").await;
        record.is_some_and(|record| record.status.is_ready() && record.owned.releases.in_flight.is_none())
    };
    sim.pass(RESYNC * 2).await;
    assert!(sim.until(PATIENCE, at_rest).await);
    let live = sim.record("shop").await.unwrap().owned.releases.live.unwrap();
    live.fingerprint.commit.unwrap().to_string()
}

fn push(sim: &Sim) -> String {
    sim.world.state().git.push("agency/cms", "main")
}

#[test]
fn a_deploy_is_remembered_from_its_order_to_its_end() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        let begun = async |sim: &Sim| deploys(sim).await.iter().any(|row| row.state == DeploymentState::Running);
        assert!(sim.until(PATIENCE, begun).await);
        let growing = async |sim: &Sim| {
            let id = deploys(sim).await[0].id;
            sim.disk.deployment_log(id).await.unwrap().is_some_and(|log| log.contains("Installing packages"))
        };
        assert!(sim.until(PATIENCE, growing).await, "the log grows while the build runs");
        assert_eq!(deploys(&sim).await[0].state, DeploymentState::Running);
        sim.until_ready("shop", 0).await.unwrap();
        sim.pass(RESYNC * 2).await;
        let rows = deploys(&sim).await;
        let [first] = rows.as_slice() else { panic!("{rows:#?}") };
        assert_eq!((first.kind, first.state), (DeploymentKind::First, DeploymentState::Succeeded));
        assert!(first.finished_at > Some(first.started_at) && first.reconcile.is_some());
        assert_eq!(first.configuration["NOTE"], "one");
        assert_eq!(first.configuration["PAYLOAD_SECRET"], "(secret)");
        assert_eq!(first.health.as_deref(), Some("Healthy"));
        let log = sim.disk.deployment_log(first.id).await.unwrap().unwrap();
        assert!(log.contains("Released") && log.contains("client_shop_a:(secret)@"), "{log}");

        sim.specs.write("shop.yaml", &spec("shop", "www", "two"));
        sim.until_ready("shop", 1).await.unwrap();
        let rows = deploys(&sim).await;
        assert_eq!((rows.len(), rows[1].kind), (2, DeploymentKind::Update));
        assert_eq!(rows[1].trigger, "environment changed");
        let events = sim.disk.events(Some(&shop()), 0, 999).await.unwrap();
        let told = events.iter().find(|event| event.reason == "DeployBegun" && event.reconcile == rows[1].reconcile);
        assert!(told.is_some(), "the event of the same pass carries its id");

        // Every record that stands there was written, and the audit says by whom and what it was before.
        let writes = sim.disk.writes(Some(&shop()), 0, 999).await.unwrap();
        let of_text: Vec<_> = writes.iter().filter(|write| write.resource.name.contains("TXT")).collect();
        assert_eq!(of_text.iter().map(|write| write.op.as_str()).collect::<Vec<_>>(), ["create", "create", "delete"]);
        let content = |write: &Write| {
            let change = write.changes.iter().find(|change| change.path == "content").cloned();
            change.map(|change| (change.from.unwrap_or_default(), change.to.unwrap_or_default()))
        };
        assert!(content(of_text[1]).is_some_and(|(from, to)| from.is_empty() && to.contains("two")), "{of_text:#?}");
        assert!(content(of_text[2]).is_some_and(|(from, to)| from.contains("one") && to.is_empty()), "{of_text:#?}");
    });
}

#[test]
fn a_rollback_holds_until_the_spec_names_another_source_or_its_time_is_over() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        let first = push(&sim);
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        let second = push(&sim);
        sim.pass(RESYNC * 3).await;
        assert_eq!(serving(&mut sim).await, second);

        let back = |to, until| Ask::Rollback { client: shop(), to, reason: "checkout broken".into(), until };
        ask(&sim, &back(1, None));
        assert_eq!(serving(&mut sim).await, first);
        let rolled = deploys(&sim).await.pop().unwrap();
        assert_eq!((rolled.kind, rolled.state), (DeploymentKind::Rollback, DeploymentState::Succeeded));
        let third = push(&sim);
        sim.stop();
        sim.start();
        assert_eq!(serving(&mut sim).await, first, "a new head, or a restart, ends no rollback");
        let status = sim.record("shop").await.unwrap().status;
        let deployed = status.conditions.iter().find(|c| c.reason == "RolledBack").expect("it is told");
        assert!(deployed.message.contains("release 1") && deployed.message.contains("checkout broken"), "{deployed:?}");
        sim.still().await.unwrap();

        let generation = sim.generation("shop").await;
        let pinned = spec("shop", "www", "one").replace("branch: main", &format!("branch: main, commit: {second}"));
        sim.specs.write("shop.yaml", &pinned);
        sim.until_ready("shop", generation).await.unwrap();
        assert_eq!(serving(&mut sim).await, second, "another commit in the spec ends it");
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.until_ready("shop", generation + 1).await.unwrap();
        assert_eq!(serving(&mut sim).await, third);

        let until = sim.now() + jiff::SignedDuration::from_hours(1);
        ask(&sim, &back(1, Some(until)));
        assert_eq!(serving(&mut sim).await, first);
        sim.pass(std::time::Duration::from_secs(2 * 3600)).await;
        assert_eq!(serving(&mut sim).await, third, "its time is over");

        ask(&sim, &back(1, None));
        assert_eq!(serving(&mut sim).await, first);
        ask(&sim, &Ask::Deploy(shop()));
        assert_eq!(serving(&mut sim).await, third, "a deploy ends it");
        let id = ask(&sim, &back(77, None));
        sim.pass(RESYNC).await;
        let refused = sim.disk.request(id).await.unwrap().unwrap().answer.unwrap().unwrap_err();
        assert!(refused.contains("no release 77 of shop"), "{refused}");
        sim.verdict().unwrap();
    });
}

#[test]
fn a_deploy_whose_process_died_has_its_row_and_its_end() {
    in_virtual_time(async {
        let fate = Fate::new(Course::Told { crashes: Vec::new(), lost: false }, std::time::Duration::ZERO, 0);
        let mut sim = Sim::new(fate, None).await;
        sim.people_the_world();
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        let asked =
            async |sim: &Sim| sim.record("shop").await.is_some_and(|record| record.owned.releases.in_flight.is_some());
        assert!(sim.until(PATIENCE, asked).await);
        sim.stop();
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.pass(RESYNC * 2).await;
        let rows = deploys(&sim).await;
        // The plug was pulled when the intent was durable and nothing was sent: that one left no trace, the next one served.
        let states: Vec<_> = rows.iter().map(|row| (row.number, row.state)).collect();
        assert_eq!(states, [(1, DeploymentState::Lost), (2, DeploymentState::Succeeded)], "{rows:#?}");
    });
}
