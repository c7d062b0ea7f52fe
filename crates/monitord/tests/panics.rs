//! What could end a task of the real binary from outside, and must not.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;
mod served;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use monitor_testkit::targets::Target;
use process::{command, config};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// STB-1, STB-2, STB-12: a log that nobody reads any more, as behind `| head`, is no fault of any
/// task: all go on, checks too, and the end is in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_no_task() {
    let target = Target::healthy().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"m.db\"\n{}",
        served::file_monitor("web", &target)
    );
    let path = config(folder.path(), &text);
    let mut command = command(&["run", "--config", &path, "--log-format", "json"]);
    // Each look of each task has a line.
    command.env("RUST_LOG", "info,monitor_supervisor=debug");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = lines.find_map(|line| line.ok().filter(|line| line.contains("\"ready\"")));
    drop(lines);
    let ready: Value = serde_json::from_str(&ready.unwrap()).unwrap();
    let page = ready["page"].as_str().unwrap();
    let tasks = async || {
        let health = reqwest::get(format!("{page}health?verbose")).await.unwrap();
        let health: Value = health.json().await.unwrap();
        health["tasks"].as_array().unwrap().clone()
    };
    // Twice more than once a second each of the tasks that look so often.
    let has_gone_on = |task: &Value| {
        ["page", "server", "store", "journal"]
            .iter()
            .all(|name| task["name"] != *name)
            || task["ticks"].as_u64() >= Some(3)
    };
    let mut seen = tasks().await;
    while !seen.iter().all(has_gone_on) {
        tokio::task::yield_now().await;
        seen = tasks().await;
    }
    for task in seen {
        assert_eq!(task["failed"]["panic"], 0, "{task}");
        assert_eq!(task["healthy"], true, "{task}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
