//! From an empty form to a client that serves, on one page that is never loaded anew.

use crate::Desk;
use crate::driver::is_missing;
use crate::rig::{Rig, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_saved_in_the_wizard_becomes_ready_on_screen_without_a_reload() {
    if is_missing() {
        return;
    }
    let rig = Rig::roomy().await;
    rig.write("wizold.yaml", &spec("wizold", ""));
    let desk = Desk::open(rig).await;
    let browser = &desk.browser;
    browser.go("/new").await;
    browser.until("it is live", "document.querySelector('#live').dataset.state === 'on'").await;
    desk.mark().await;

    // What is wrong is told while it is typed, beside its field.
    browser.fill("#name", "Wiz New").await;
    browser
        .until("the name is refused", "document.querySelector('#name').getAttribute('aria-invalid') === 'true'")
        .await;
    assert!(!browser.text("#name-problem").await.is_empty());
    browser.run("document.querySelector('#name').value = ''").await;
    browser.fill("#name", "wizold").await;
    browser.fill("#domain", "wizold.agency.example").await;
    browser.until("a name is taken", "document.querySelector('#name-problem').innerText.includes('already')").await;
    browser.run("document.querySelector('#name').value = ''").await;
    browser.fill("#name", "wiznew").await;
    browser
        .until("the domain is taken", "document.querySelector('#domain-problem').innerText.includes('claimed')")
        .await;
    browser.run("document.querySelector('#domain').value = ''").await;
    browser.fill("#domain", "wiznew.agency.example").await;
    browser.fill("#repository", "agency/cms").await;
    browser.fill("#environment", "GREETING=hello").await;
    let settled = "document.querySelector('#verdict').innerText.includes('Every rule is kept') && document.querySelector('#spec').innerText.includes('GREETING: hello')";
    browser.until("it is valid", settled).await;
    assert_eq!(
        browser.run("return document.querySelector('#environment').value").await,
        "GREETING=hello",
        "what was typed stays"
    );

    // What it would lead to, before anything is written.
    browser.click("a[data-fetch]").await;
    browser.until("the plan is shown", "document.querySelector('#plan-place .diff')").await;
    let plan = browser.text("#plan-place").await;
    assert!(plan.contains("create Site wiznew.agency.example") && plan.contains("Cost:"), "{plan}");
    assert!(desk.rig.client("wiznew").await.is_none(), "a look wrote something");
    browser.picture("new").await;

    // The download is the text on the screen.
    let text = browser.run("return document.querySelector('#spec').textContent").await;
    let fetched = "return fetch(document.querySelector('a[download]').href).then((answer) => answer.text())";
    assert_eq!(browser.run(fetched).await, text);

    browser.click("form[data-ask='/api/v1/specs'] button").await;
    desk.give_token().await;
    browser.until("it is in force", "document.querySelector('#verdict').innerText.includes('in force')").await;
    let saved = std::fs::read_to_string(desk.rig.path("specs/wiznew.yaml")).expect("saved");
    assert_eq!(Some(saved.as_str()), text.as_str());
    browser.until("it is Active", "document.querySelector('#verdict .chip.ready')?.innerText === 'Active'").await;
    desk.assert_not_reloaded().await;
    desk.rig.ready("wiznew").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // It is kept under its own name alone: a second save finds it taken.
    let again = format!(
        "return fetch('/api/v1/specs', {{ method: 'POST', headers: {{ Authorization: 'Bearer {}', 'Content-Type': 'application/json' }}, \
         body: JSON.stringify({{ text: {} }}) }}).then((answer) => answer.status)",
        crate::TOKEN,
        text
    );
    assert_eq!(browser.run(&again).await, 422);
}
