//! A browser under the WebDriver protocol, as far as these tests need it; chromedriver and Chromium are the machine's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// The longest that a page may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(90);
/// The key under which an element travels (WebDriver, 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The keys of WebDriver that these tests press.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

/// One browser window; ends when dropped.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    base: String,
}

/// Whether there is a browser here; says aloud where not.
pub fn is_missing() -> bool {
    let found =
        |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let missing: Vec<&str> = ["chromium", "chromedriver"].into_iter().filter(|name| !found(name)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: {} not found; nothing of the dashboard was looked at in a browser", missing.join(" and "));
    }
    !missing.is_empty()
}

impl Browser {
    /// A window of a desk's size over pages of `base`.
    pub async fn open(base: &str) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("its stdout")).lines();
        let port = lines
            .find_map(|line| {
                line.expect("a line").rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver names its port");
        std::thread::spawn(move || lines.for_each(drop)); // a full pipe would hold it up
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-proxy-server",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" }
        } } });
        let sessions = format!("http://127.0.0.1:{port}/session");
        let answer: Value =
            http.post(&sessions).json(&wanted).send().await.expect("chromedriver answers").json().await.expect("JSON");
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        let browser = Browser { driver, http, session: format!("{sessions}/{id}"), base: base.to_owned() };
        browser.size(1440, 900, false).await;
        browser
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let sent = self.http.post(format!("{}/{path}", self.session)).json(&body).send().await;
        let answer: Value = sent.expect("chromedriver answers").json().await.expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.call("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// A desk's window, or a phone.
    pub async fn size(&self, width: u32, height: u32, phone: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// `light` or `dark`; nothing moves.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Lets scripts run, or not.
    pub async fn scripts(&self, run: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !run })).await;
    }

    /// Opens a page.
    pub async fn go(&self, path: &str) {
        self.call("url", json!({ "url": format!("{}{path}", self.base) })).await;
    }

    /// What a script gives.
    pub async fn run(&self, script: &str) -> Value {
        self.call("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The text of an element; empty where there is none.
    pub async fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? ''", json!(selector));
        self.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a condition of the page holds.
    pub async fn until(&self, what: &str, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({condition})")).await != json!(true) {
            if Instant::now() > deadline {
                let page = self.run("return location.href + '\\n' + document.body.innerText").await;
                panic!("{what}: not within {PATIENCE:?}\n{}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.call("element", json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// A real click.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.call(&format!("element/{element}/click"), json!({})).await;
    }

    /// Types into an element.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.call(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let steps: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        let keyboard = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": steps }] });
        self.call("actions", keyboard).await;
    }

    /// Presses Tab until the focused element fits; gives how often.
    pub async fn tab_to(&self, selector: &str) -> usize {
        for pressed in 1..200 {
            self.press(TAB).await;
            let fits = format!("return document.activeElement.matches({})", json!(selector));
            if self.run(&fits).await == json!(true) {
                return pressed;
            }
        }
        panic!("{selector} cannot be reached with the Tab key");
    }

    /// What the page's console holds of errors: a refused script, a failed load.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.call("se/log", json!({ "type": "browser" })).await;
        let severe = log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    /// A picture of the window, among the build's own files.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let answer: Value = self
            .http
            .get(format!("{}/screenshot", self.session))
            .send()
            .await
            .expect("a picture")
            .json()
            .await
            .expect("JSON");
        let bytes = base64::engine::general_purpose::STANDARD.decode(answer["value"].as_str().expect("base64"));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&directory).expect("made");
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, bytes.expect("base64")).expect("written");
        path
    }
}

impl Drop for Browser {
    /// The driver ends its browser when it is asked to; killed alone, it would leave it behind.
    fn drop(&mut self) {
        let _ = self.quit();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    fn quit(&self) -> Option<()> {
        let (host, path) = self.session.strip_prefix("http://")?.split_once('/')?;
        let mut stream = std::net::TcpStream::connect(host).ok()?;
        let head = format!("DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.read_to_end(&mut Vec::new()).ok().map(|_| ())
    }
}
