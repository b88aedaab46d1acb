//! Debian's chromium without a window, driven over WebDriver (W3C) by its chromedriver.
#![allow(clippy::disallowed_methods)] // A harness uses the network and the disk.

use crate::cli::{PATIENCE, within};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Keys of WebDriver that are no characters.
pub const ENTER: char = '\u{e007}';
pub const ESCAPE: char = '\u{e00c}';
pub const PAGE_DOWN: char = '\u{e00f}';
pub const END: char = '\u{e010}';
pub const HOME: char = '\u{e011}';
pub const LEFT: char = '\u{e012}';
pub const UP: char = '\u{e013}';
pub const RIGHT: char = '\u{e014}';
pub const DOWN: char = '\u{e015}';

/// The longest that an answer may take.
const LONGEST: Duration = Duration::from_secs(90);

/// A browser with one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one, with an empty profile.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver");
        driver.arg(format!("--port={port}")).env("HOME", profile.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = driver.spawn().unwrap_or_else(|e| panic!("chromedriver: {e}; run tests/install-debian"));
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let ready = within(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(ready, "chromedriver does not listen");
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1400",
        ];
        let mut flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", browser._profile.path().join("profile").display()));
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let made = browser.request("POST", "/session", &wish);
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens a file and waits until it is loaded. On a busy machine the page that a window begins with may come in between.
    #[track_caller]
    pub fn open(&self, file: &Path) {
        let url = format!("file://{}", file.display());
        let there = || {
            self.command("url", &json!({ "url": url }));
            self.text("return document.readyState === 'complete' ? location.href : ''") == url
        };
        assert!(within(PATIENCE, there), "{url} is not shown, but {}", self.text("return location.href"));
    }

    /// Runs a function body in the page: what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A text that a script returns.
    pub fn text(&self, script: &str) -> String {
        self.run(script).as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys, one after another.
    pub fn press(&self, keys: &[char]) {
        let actions: Vec<_> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() })))
            .collect();
        self.command("actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// Asks for a scheme of colours: `dark` or `light`.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let wish = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "media": "", "features": features } });
        self.command("goog/cdp/execute", &wish);
    }

    /// What stands in the console since the last look.
    pub fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What was asked for since the last look, by address.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "performance" }));
        let message = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let messages = entries.as_array().unwrap().iter().filter_map(message);
        let asked = messages.filter(|message| message["message"]["method"] == "Network.requestWillBeSent");
        asked.map(|message| message["message"]["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.request("POST", &format!("/session/{}/{path}", self.session), body)
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut data = vec![0; length];
        answer.read_exact(&mut data).unwrap();
        let answer: Value = serde_json::from_slice(&data).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].clone()
    }
}

impl Drop for Browser {
    /// The driver ends its browser if it is asked to; also when a test has failed.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            _ = stream.set_read_timeout(Some(PATIENCE));
            let session = &self.session;
            _ = write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            _ = stream.read(&mut [0; 64]);
        }
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}
