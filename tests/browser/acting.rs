//! What a person does from the pages: watch a deploy, roll back, pause by the keyboard alone, approve by typing.

use std::time::Duration;

use crate::Desk;
use crate::driver::{ENTER, TAB, is_missing};
use crate::rig::{Rig, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_streams_its_log_and_an_earlier_release_is_gone_back_to() {
    if is_missing() {
        return;
    }
    let rig = Rig::with(|options| {
        options.ploi_limit = 1_000_000;
        options.delays.deploy = Duration::from_secs(5);
    })
    .await;
    rig.simulators.cloudflare.turn(|knobs| knobs.rate = (1_000_000, Duration::from_secs(2)));
    rig.write("rollpage.yaml", &spec("rollpage", ""));
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    desk.rig.until("rollpage", 60, |record| record.owned.releases.in_flight.is_some()).await;
    browser.go("/clients/rollpage").await;
    desk.mark().await;
    browser.run("window.seen = []; setInterval(() => { const text = document.querySelector('.log[data-follow]')?.textContent; if (text && text !== window.seen.at(-1)) window.seen.push(text); }, 50)").await;
    browser.until("a log is there", "window.seen.length > 0").await;
    browser.picture("deploying").await;
    browser.until("it is ready", "document.querySelector('.head .chip')?.innerText === 'Active'").await;
    let grew = "return window.seen.filter((text, at) => at > 0 && text.startsWith(window.seen[at - 1])).length";
    assert!(
        browser.run(grew).await.as_u64().is_some_and(|steps| steps >= 1),
        "{:?}",
        browser.run("return window.seen").await
    );
    desk.assert_not_reloaded().await;

    // A second commit comes, and is deployed.
    let first = desk.rig.ready("rollpage").await.owned.releases.live.expect("a release");
    desk.rig.simulators.world.state().git.push("agency/cms", "main");
    browser.click(".actions form[data-ask$='/deploy'] button").await;
    desk.give_token().await;
    let second = desk
        .rig
        .until("rollpage", 90, |record| {
            let live = record.owned.releases.live.as_ref();
            live.is_some_and(|live| live.fingerprint.commit != first.fingerprint.commit) && record.status.is_ready()
        })
        .await
        .owned
        .releases
        .live
        .expect("a release");
    let commit = first.fingerprint.commit.as_ref().expect("a commit").to_string();
    let offered = "document.querySelector('#rollback-to')?.selectedOptions[0].textContent";
    browser.until("the earlier commit is offered", &format!("{offered}.includes('{}')", &commit[..12])).await;

    browser.click("#rollback summary").await;
    browser.fill("#rollback-reason", "the checkout broke").await;
    browser.click("#rollback form button").await;
    browser.until("it is told", "document.querySelector('main').innerText.includes('Rolled back to release')").await;
    let notice = browser.text(".notice").await;
    assert!(notice.contains("the checkout broke"), "{notice}");
    let wanted = first.fingerprint.commit;
    desk.rig
        .until("rollpage", 90, |record| {
            record
                .owned
                .releases
                .live
                .as_ref()
                .is_some_and(|live| live.number > second.number && live.fingerprint.commit == wanted)
        })
        .await;
    desk.assert_not_reloaded().await;
    browser.picture("rolled-back").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_the_keyboard_alone() {
    if is_missing() {
        return;
    }
    let rig = Rig::roomy().await;
    rig.write("keyed.yaml", &spec("keyed", ""));
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    desk.rig.ready("keyed").await;
    browser.go("/").await;
    browser.press(TAB).await;
    assert_eq!(
        browser.run("return document.activeElement.className").await,
        "skip",
        "the way past the navigation is first"
    );
    browser.press(ENTER).await;
    assert_eq!(browser.run("return document.activeElement.id").await, "main");
    browser.tab_to("a[href='/clients/keyed']").await;
    browser.press(ENTER).await;
    browser.until("its page is there", "document.querySelector('h1')?.innerText === 'keyed'").await;
    browser.tab_to("#pause summary").await;
    browser.press(ENTER).await;
    browser.tab_to("#pause-reason").await;
    // The page is looked at again meanwhile; neither the focus nor what was typed is lost.
    browser.press("holidays").await;
    browser.run("document.dispatchEvent(new Event('visibilitychange'))").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(
        browser.run("return [document.activeElement.id, document.activeElement.value]").await,
        serde_json::json!(["pause-reason", "holidays"])
    );
    browser.tab_to("#pause form button").await;
    browser.press(ENTER).await;
    browser.until("the token is asked for", "document.querySelector('#key').open").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "key-text");
    browser.press("wrong").await;
    browser.press(ENTER).await;
    browser
        .until("a wrong token is told", "document.querySelector('#said').innerText.includes('not the right one')")
        .await;
    browser.run("document.querySelector('#pause').open = true").await;
    browser.tab_to("#pause form button").await;
    browser.press(ENTER).await;
    browser.until("the token is asked for again", "document.querySelector('#key').open").await;
    browser.press(crate::TOKEN).await;
    browser.press(ENTER).await;
    browser.until("it is paused", "document.querySelector('.head .chip')?.innerText === 'Paused'").await;
    assert_eq!(
        desk.rig.client("keyed").await.and_then(|record| record.pause).map(|pause| pause.reason).as_deref(),
        Some("holidays")
    );
    let kept = browser
        .run("return [location.href, document.cookie, localStorage.length, document.body.innerHTML]")
        .await
        .to_string();
    assert!(!kept.contains(crate::TOKEN), "the token is in the tab's session alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_set_goes_only_when_its_number_is_typed() {
    if is_missing() {
        return;
    }
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_GRACE", "1h");
    let names: Vec<String> = (0..6).map(|number| format!("heldpage{number}")).collect();
    for name in &names {
        rig.write(&format!("{name}.yaml"), &spec(name, ""));
    }
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    for name in &names {
        desk.rig.ready(name).await;
    }
    browser.go("/deletions").await;
    desk.mark().await;
    for name in &names[..4] {
        desk.rig.remove(&format!("{name}.yaml"));
    }
    browser.until("the set is held", "document.querySelectorAll('.held .names li').length === 4").await;
    let (status, _) = desk.rig.json(&["deletions", "-o", "json"]).await;
    assert!(browser.text(".held").await.contains(status["held"]["hash"].as_str().expect("a hash")));
    browser.picture("held").await;

    browser.fill("#held-typed", "6").await;
    browser.click(".held form button").await;
    browser.until("it is refused", "document.querySelector('#said').innerText.includes('4 must be typed')").await;
    assert!(!desk.rig.json(&["deletions", "-o", "json"]).await.0["held"].is_null());
    browser.run("document.querySelector('#held-typed').value = ''").await;
    browser.fill("#held-typed", "4").await;
    browser.click(".held form button").await;
    desk.give_token().await;
    browser.until("they are on the way out", "document.querySelectorAll('.calendar > li').length === 4").await;
    assert_eq!(browser.run("return document.querySelectorAll('.held').length").await, 0);
    let calendar = browser.text(".calendar").await;
    assert!(calendar.contains("put heldpage0.yaml back"), "{calendar}");
    desk.assert_not_reloaded().await;
    browser.picture("deletions").await;
}
