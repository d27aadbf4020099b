//! Chromium without a window, driven through its debugging pipe: messages of JSON, each ended by a zero byte. No host has a name for
//! it, so that it reaches files and loopback addresses alone.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::house::LONG;

/// What Debian and others call it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What a page is shown on.
#[derive(Clone, Copy)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub scale: u32,
    pub dark: bool,
    pub scripts: bool,
}

pub const DESKTOP: Screen = Screen { width: 1200, height: 900, scale: 1, dark: false, scripts: true };
pub const PHONE: Screen = Screen { width: 360, height: 780, scale: 2, dark: true, scripts: true };

pub struct Chromium {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    sent: u64,
    /// What it told unasked since the last page was opened.
    told: Vec<Value>,
    _process: Child,
    _profile: TempDir,
}

impl Chromium {
    /// Starts one with a profile of its own; it ends with its value.
    pub async fn start() -> Self {
        let name = NAMES.into_iter().find(|name| {
            let version = std::process::Command::new(name).arg("--version").stderr(Stdio::null()).output();
            version.is_ok_and(|output| output.status.success())
        });
        let name = name.expect("Chromium; scripts/test installs it where there is apt-get");
        let profile = TempDir::new().expect("a folder");
        // It reads from descriptor 3 and writes to 4; a shell can put our pipes there.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", name])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
                "--hide-scrollbars",
            ])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let (input, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let mut chromium = Self {
            input,
            output: BufReader::new(output),
            session: None,
            sent: 0,
            told: Vec::new(),
            _process: process,
            _profile: profile,
        };
        let target = chromium.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = chromium.call("Target.attachToTarget", attach).await;
        chromium.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            chromium.call(&format!("{domain}.enable"), json!({})).await;
        }
        chromium
    }

    /// Shows a page, and returns when all of it is there.
    pub async fn open(&mut self, address: &str, screen: Screen) {
        let Screen { width, height, scale, dark, scripts } = screen;
        let mobile = width < 500;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [scheme] })).await;
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts })).await;
        self.told.clear();
        self.call("Page.navigate", json!({ "url": address })).await;
        let is_loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        while !self.told.iter().any(is_loaded) {
            let message = self.receive().await;
            self.told.push(message);
        }
    }

    /// The value of an expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{answer:#}\n{expression}");
        answer["result"]["value"].clone()
    }

    /// Presses a key and lets it go.
    pub async fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// What is on the screen, as a PNG in base64.
    pub async fn screenshot(&mut self) -> String {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        shot["data"].as_str().expect("a picture").to_owned()
    }

    /// What the page asked for since it was opened.
    pub fn requests(&self) -> Vec<&str> {
        let asked = self.told.iter().filter(|message| message["method"] == "Network.requestWillBeSent");
        asked.filter_map(|message| message["params"]["request"]["url"].as_str()).collect()
    }

    /// What went wrong in the page since it was opened: exceptions, and what its policy forbade.
    pub fn complaints(&self) -> Vec<&Value> {
        let wrong = ["Runtime.exceptionThrown", "Log.entryAdded"];
        self.told.iter().filter(|told| wrong.iter().any(|method| told["method"] == *method)).collect()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).await.expect("Chromium reads");
        loop {
            let message = self.receive().await;
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message:#}");
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    async fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = timeout(LONG, self.output.read_until(0, &mut bytes)).await.expect("an answer in time");
        assert!(read.expect("Chromium answers") > 0, "Chromium ended");
        bytes.pop();
        serde_json::from_slice(&bytes).expect("JSON")
    }
}
