//! A running daemon and a client of it, for tests of what it serves.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use monitor_testkit::targets::Target;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::process::{HANG, Running, command, config};

/// `monitord run` on a free port of loopback, with a database of its own.
pub(crate) struct Served {
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) process: Running,
    pub(crate) folder: TempDir,
}

impl Served {
    /// Starts it with these lines of configuration below `[server]` and `[store]`.
    pub(crate) fn start(monitors: &str) -> Self {
        Self::listening("127.0.0.1:0", monitors)
    }

    pub(crate) fn listening(listen: &str, monitors: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), listen, monitors)
    }

    /// In a folder in which something may be already, such as `monitord.db`.
    pub(crate) fn within(folder: TempDir, listen: &str, monitors: &str) -> Self {
        Self::logging(folder, listen, monitors, "info")
    }

    /// With so much in its log.
    pub(crate) fn logging(folder: TempDir, listen: &str, monitors: &str, log: &str) -> Self {
        let database = folder.path().join("monitord.db");
        let text = format!(
            "[server]\nlisten = {listen:?}\ntitle = \"Test status\"\n\n[store]\npath = {:?}\n\n{monitors}",
            database.to_str().unwrap()
        );
        let path = config(folder.path(), &text);
        let mut command = command(&["run", "--config", &path, "--log-format", "json"]);
        command.env("TZ", "UTC").env("RUST_LOG", log);
        let mut process = Running::start(command);
        let ready = process.until("\"ready\"");
        let (_, rest) = ready.split_once("http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        let client = Client::builder().timeout(HANG).build().unwrap();
        Self {
            base: format!("http://{address}"),
            client,
            process,
            folder,
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Sends a state-changing request as a program would.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        let request = self.client.request(method, self.url(path));
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    /// Does something to a monitor, and insists that it was done.
    pub(crate) async fn act(&self, id: &str, action: &str) -> Value {
        let path = format!("/api/admin/probes/{id}/{action}");
        let response = self.send(Method::POST, &path, &json!({})).await;
        assert!(
            response.status().is_success(),
            "{action} {id}: {response:?}"
        );
        response.json().await.unwrap()
    }

    pub(crate) async fn define(&self, spec: Value) -> Value {
        let response = self.send(Method::POST, "/api/v1/monitors", &spec).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{spec}");
        response.json().await.unwrap()
    }

    pub(crate) async fn monitor(&self, id: &str) -> Value {
        self.json(&format!("/api/v1/monitors/{id}")).await
    }

    pub(crate) async fn history(&self, id: &str) -> Vec<Value> {
        let body = self
            .json(&format!("/api/v1/monitors/{id}/history?limit=1000"))
            .await;
        body["history"]
            .as_array()
            .unwrap_or_else(|| panic!("{body}"))
            .clone()
    }

    /// The value of one series; zero for one that does not exist.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.text("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) async fn stream(&self) -> Stream {
        self.stream_after(None).await
    }

    pub(crate) async fn stream_after(&self, last: Option<&str>) -> Stream {
        let mut request = self.client.get(self.url("/events"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            response,
            buffer: Vec::new(),
        }
    }
}

/// A monitor of the file that is checked often. What is well is up, however long this machine
/// stands still meanwhile: without a timeout of its own a check has no more than the interval.
pub(crate) fn file_monitor(id: &str, target: &Target) -> String {
    let url = target.url();
    format!("[[monitor]]\nid = {id:?}\nurl = {url:?}\ninterval = \"200ms\"\ntimeout = \"1m\"\n")
}

/// A daemon with the monitor `web`, which is up.
pub(crate) async fn up() -> (Served, Target) {
    let target = Target::healthy().await.unwrap();
    let served = Served::start(&file_monitor("web", &target));
    (served, target)
}

/// Insists that `response` is a problem with this status, and returns it.
pub(crate) async fn problem(response: Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status, "{response:?}");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    body
}

/// A reader of the live stream.
pub(crate) struct Stream {
    response: Response,
    buffer: Vec<u8>,
}

/// One message of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Stream {
    /// The next message; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match message(std::str::from_utf8(&block).unwrap()) {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let chunk = timeout(HANG, self.response.chunk())
                .await
                .expect("the stream hangs");
            self.buffer.extend_from_slice(&chunk.ok()??);
        }
    }

    /// The next message for which `wanted` holds.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&Message) -> bool) -> Message {
        let found = timeout(HANG, async {
            loop {
                let message = self.next().await.expect("the stream ended");
                if wanted(&message) {
                    return message;
                }
            }
        });
        found.await.expect("it does not come")
    }

    /// The next result of `monitor` with `outcome`.
    pub(crate) async fn result(&mut self, monitor: &str, outcome: &str) -> Value {
        let is_it = |m: &Message| {
            m.event == "result" && m.data["monitor"] == monitor && m.data["outcome"] == outcome
        };
        self.until(is_it).await.data
    }

    /// The next message named `event` of `monitor`.
    pub(crate) async fn event(&mut self, event: &str, monitor: &str) -> Value {
        self.until(|m| m.event == event && m.data["monitor"] == monitor)
            .await
            .data
    }
}

/// Comments and settings are no messages.
fn message(block: &str) -> Option<Message> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    Some(Message {
        id: field("id: ").map(str::to_owned),
        event: field("event: ")?.to_owned(),
        data: serde_json::from_str(field("data: ")?).unwrap(),
    })
}
