//! The command line of the real binary: exit codes and messages.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use process::{Running, command, config, run, stderr, stdout};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

/// A port that refuses: bound for as long as the socket lives, and never listened on.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Answers every request with `status` after reading its head.
fn answers(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head: Vec<u8> = Vec::new();
            let mut bytes = [0; 1024];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => head.extend(&bytes[..n]),
                }
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nhello");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn help_has_examples_and_exit_codes() {
    for args in [
        &["--help"][..],
        &["check", "--help"],
        &["demo", "--help"],
        &["run", "--help"],
        &["explain", "--help"],
        &["simulate", "--help"],
        &["doctor", "--help"],
        &["backup", "--help"],
        &["jobs", "--help"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0));
        let help = stdout(&output);
        for part in ["Usage:", "Examples:\n  ", "Exit codes:\n  0  "] {
            assert!(help.contains(part), "{args:?} lacks {part:?}:\n{help}");
        }
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn bad_usage_exits_with_2() {
    for (args, says) in [
        (&[][..], "Usage:"),
        (&["chekc"], "'check'"),
        (&["check"], "<URL|HOST:PORT>"),
        (
            &["check", "example.org"],
            "write https://example.org or example.org:443",
        ),
        (
            &["check", "htp://example.org/"],
            "scheme \"htp\" is not supported",
        ),
        (
            &["check", "localhost:70000"],
            "port \"70000\" is not a number from 1 to 65535",
        ),
        (&["check", "localhost:1", "--timeout", "5"], "has no unit"),
        (&["check", "localhost:1", "--timeout", "0s"], "is zero"),
        (
            &["check", "localhost:1", "--expect-status", "200"],
            "are for http and https",
        ),
        (
            &["check", "http://localhost:1/", "--degraded-over", "10s"],
            "--degraded-over is not below --timeout",
        ),
        (
            &["check", "http://localhost:1/", "--expect-status", "2000"],
            "is no HTTP status",
        ),
        (&["demo", "--port", "70000"], "70000"),
        (&["jobs", "list"], "name --config or --database"),
        (
            &["jobs", "list", "--database", "mysql://h/x"],
            "does not begin with postgres://",
        ),
        (&["demo", "--for", "20"], "has no unit"),
        (&["run"], "--config"),
        (
            &["run", "--config", "x", "--listen", "127.0.0.1:70000"],
            "port 70000 is out of range",
        ),
    ] {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{args:?} does not say {says}: {output:?}"
        );
        assert!(stdout(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_check_of_what_is_well_exits_with_0_and_shows_the_phases() {
    let url = format!("http://{}/", answers("200 OK"));
    let output = run(&["check", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    for part in [
        "up  http://127",
        "200 OK",
        "connect",
        "first byte",
        "transfer",
        "total",
        "█",
    ] {
        assert!(text.contains(part), "lacks {part:?}:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe");
    let degraded = run(&["check", &url, "--degraded-over", "1ms", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&degraded.stdout).unwrap();
    // A millisecond may or may not be enough for this machine; both are exit code 0.
    assert!(
        ["up", "degraded"].contains(&json["outcome"].as_str().unwrap()),
        "{json}"
    );
    assert_eq!(degraded.status.code(), Some(0));
}

#[test]
fn a_check_of_what_is_ill_exits_with_1_and_says_why() {
    let (_bound, address) = refusing();
    let output = run(&["check", &address.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("down") && text.contains("connection refused"),
        "{text}"
    );

    let url = format!("http://{}/", answers("503 Service Unavailable"));
    let output = run(&["check", &url, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["outcome"], "down");
    assert_eq!(json["fault"]["reason"], "server_error");
    assert_eq!(json["fault"]["blame"], "target");
    assert!(
        json["phases_ms"]["first_byte"].as_f64().unwrap() > 0.0,
        "{json}"
    );
    assert!(
        json["took_ms"].as_f64() >= json["phases_ms"]["first_byte"].as_f64(),
        "{json}"
    );
    let expected = run(&["check", &url, "--expect-status", "503"]);
    assert_eq!(expected.status.code(), Some(0), "asked for");
}

#[test]
fn a_target_that_never_answers_is_down_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let output = run(&["check", &url, "--timeout", "300ms", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["outcome"], &json["fault"]["reason"]),
        (&"down".into(), &"timeout".into())
    );
    assert!(
        json["phases_ms"]["connect"].is_number(),
        "how far it came: {json}"
    );
}

/// ROB-1, ROB-7: a broken configuration is told whole, with exit code 2, and nothing is started:
/// not even the database is made.
#[test]
fn a_broken_configuration_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[store]\npath = \"m.db\"\n[[monitor]]\nid = \"a\"\nurl = \"http://x:70000/\"\n\
                intervall = \"1s\"\n";
    let path = config(folder.path(), text);
    let output = command(&["run", "--config", &path])
        .env("BACKOFF_MULTIPLIER", "lots")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.starts_with(&format!("{path}:5:7: monitor[1].url = ")),
        "{text}"
    );
    assert!(
        text.contains(&format!("{path}:6:1: monitor[1].intervall: unknown key")),
        "{text}"
    );
    assert!(
        text.contains("environment: BACKOFF_MULTIPLIER = \"lots\": is text"),
        "{text}"
    );
    assert!(text.contains("3 problems; nothing was started"), "{text}");
    assert!(!folder.path().join("m.db").exists());
}

/// ROB-1: so is one that cannot be read at all.
#[test]
fn a_missing_configuration_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nothing.toml");
    let output = run(&["run", "--config", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("nothing.toml: there is no such file"),
        "{output:?}"
    );
    let output = run(&["run", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is a folder"), "{output:?}");
}

/// ROB-1: what never ends is given up, and what has no size beforehand is read all the same.
#[test]
fn a_configuration_may_be_a_pipe_but_not_endless() {
    let output = run(&["run", "--config", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("is larger than 16 MiB"),
        "{output:?}"
    );

    let output = command(&["run", "--config", "/dev/stdin"])
        .stdin(piped("[server]\nlisten = 5\n"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/dev/stdin:2:10: server.listen = 5"),
        "{output:?}"
    );
}

/// The reading end of a pipe that holds `text` and ends.
fn piped(text: &str) -> std::io::PipeReader {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader
}

/// ROB-80: a signal ends it also while it waits for its configuration, and nothing was started.
#[test]
fn a_signal_ends_it_while_it_waits_for_its_configuration() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = command(&["run", "--config", "/dev/stdin"]);
    command.stdin(reader).env("RUST_LOG", "debug");
    let mut daemon = Running::start(command);
    daemon.until("reading the configuration");
    daemon.signal(Signal::TERM);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("ended before anything was started"), "{said}");
    drop(writer);
}

fn minimal(folder: &tempfile::TempDir) -> String {
    // Whether it is up or down plays no part.
    let url = "http://127.0.0.1:9/";
    config(
        folder.path(),
        &format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"m.db\"\n\
             [[monitor]]\nid = \"a\"\nurl = \"{url}\"\n"
        ),
    )
}

/// The second of two on one address, or on one database, is refused and leaves the first alone.
#[test]
fn two_on_one_address_or_one_database_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = minimal(&folder);
    let mut first = Running::start(command(&["run", "--config", &path]));
    let line = first.until("ready");
    let address = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap();

    let other = tempfile::tempdir().unwrap();
    let database = other.path().join("other.db");
    let database = database.to_str().unwrap();
    let output = run(&[
        "run",
        "--config",
        &path,
        "--listen",
        address,
        "--database",
        database,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains(address) && text.contains("--listen"),
        "{text}"
    );
    assert!(
        !std::path::Path::new(database).exists(),
        "bound first, opened later"
    );

    let output = run(&["run", "--config", &path]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("m.db") && text.contains("in use by process"),
        "{text}"
    );

    let port = address.rsplit(':').next().unwrap();
    let output = run(&["demo", "--port", port, "--for", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(port) && text.contains("--port"), "{text}");

    first.signal(Signal::TERM);
    let (status, said) = first.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A store that cannot be had ends the start with exit code 1 and is left as it was.
#[test]
fn a_store_that_is_none_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = minimal(&folder);
    let database = folder.path().join("m.db");
    std::fs::write(
        &database,
        "this is a letter, not a database, and it is long enough to see",
    )
    .unwrap();
    let before = std::fs::read(&database).unwrap();
    let output = run(&["run", "--config", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("SQLite database, or is damaged"),
        "{output:?}"
    );
    assert_eq!(std::fs::read(&database).unwrap(), before);

    let missing = folder.path().join("no/such/folder/m.db");
    let output = run(&[
        "run",
        "--config",
        &path,
        "--database",
        missing.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("there is no directory"),
        "{output:?}"
    );

    let newer = folder.path().join("newer.db");
    let sqlite = rusqlite::Connection::open(&newer).unwrap();
    sqlite
        .execute_batch(
            "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL);
             INSERT INTO schema_version VALUES ('store', 999);",
        )
        .unwrap();
    drop(sqlite);
    let output = run(&[
        "run",
        "--config",
        &path,
        "--database",
        newer.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("version 999"), "{output:?}");
}

/// The log is one JSON object a line when asked for, from the first line to the last.
#[test]
fn the_log_is_json_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = minimal(&folder);
    let mut daemon = Running::start(command(&["run", "--config", &path, "--log-format", "json"]));
    daemon.until("\"ready\"");
    daemon.signal(Signal::INT);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0));
    for line in said.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            json["level"].is_string() && json["message"].is_string(),
            "{line}"
        );
    }
    assert!(
        said.lines().last().unwrap().contains("\"stopped\""),
        "{said}"
    );
}
