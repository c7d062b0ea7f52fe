//! The end of the real binary: in order, in time, and without a false word in the history.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use process::{HANG, Running, command, config};
use rusqlite::{Connection, TransactionBehavior};
use rustix::process::Signal;

/// Answers its first request with 200 and none after it; tells of each request.
fn answers_once() -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, held) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut stream = stream;
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            if number == 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            } else if tell.send(stream).is_err() {
                return;
            }
        }
    });
    (address, held)
}

/// In two fifths of this a check in flight may end, and what is called off then is written in as
/// much again, also by a disk that stands still for a while.
const TIMEOUT: &str = "10s";

fn daemon(folder: &Path, target: SocketAddr, timeout: &str) -> Running {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"m.db\"\n[[monitor]]\nid = \"a\"\n\
         url = \"http://{target}/\"\ninterval = \"200ms\"\ntimeout = \"1h\"\n"
    );
    let path = config(folder, &text);
    Running::start(command(&[
        "run",
        "--config",
        &path,
        "--shutdown-timeout",
        timeout,
    ]))
}

/// (outcome, reason, slots) of the history, in the order of its due times.
fn history(folder: &Path) -> Vec<(String, Option<String>, i64)> {
    let store = Connection::open(folder.join("m.db")).unwrap();
    let check: String = store
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let mut rows = store
        .prepare("SELECT outcome, reason, slots FROM line ORDER BY due_unix_ms")
        .unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn status(folder: &Path) -> (Option<String>, i64) {
    let store = Connection::open(folder.join("m.db")).unwrap();
    store
        .query_row("SELECT outcome, streak FROM status", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

/// ROB-80, STB-16, STB-17: a check that is in flight at SIGTERM is recorded as cancelled, with the
/// reason; the status stays what was seen last, and every row is on disk.
#[test]
fn what_was_in_flight_is_cancelled_and_never_down() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let (target, held) = answers_once();
        let mut daemon = daemon(folder.path(), target, TIMEOUT);
        daemon.until("status changed");
        let in_flight = held.recv_timeout(HANG).expect("a second check");
        daemon.signal(signal);
        let (ended, said) = daemon.end();
        assert_eq!(ended.code(), Some(0), "{said}");
        assert!(
            said.contains("stopped") && said.contains("cancelled=1"),
            "{said}"
        );
        drop(in_flight);

        assert_eq!(
            status(folder.path()),
            (Some("up".to_owned()), 1),
            "not touched"
        );
        let history = history(folder.path());
        let count = |outcome: &str| history.iter().filter(|row| row.0 == outcome).count();
        assert_eq!(
            (count("up"), count("down"), count("unknown")),
            (1, 0, 0),
            "{history:?}"
        );
        let cancelled: Vec<_> = history.iter().filter(|row| row.0 == "cancelled").collect();
        assert_eq!(cancelled.len(), 1, "{history:?}");
        assert_eq!(cancelled[0].1.as_deref(), Some("shutdown"));
    }
}

/// STB-17: the second signal ends it at once, with the exit code of that signal, and leaves what
/// is committed in good order.
#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = tempfile::tempdir().unwrap();
        let (target, held) = answers_once();
        let mut daemon = daemon(folder.path(), target, "1h");
        daemon.until("status changed");
        let in_flight = held.recv_timeout(HANG).expect("a second check");
        daemon.signal(Signal::TERM);
        daemon.until("stopping");
        daemon.signal(second);
        let (ended, said) = daemon.end();
        assert_eq!(ended.code(), Some(code), "{said}");
        assert!(said.contains("second signal, ended at once"), "{said}");
        drop(in_flight);
        assert_eq!(status(folder.path()), (Some("up".to_owned()), 1));
        assert_eq!(history(folder.path())[0].0, "up");
    }
}

/// The next start goes on where the last one ended: same monitor, same history, and what is no
/// longer in the file is gone.
#[test]
fn the_next_start_goes_on_and_follows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _held) = answers_once();
    let mut first = daemon(folder.path(), target, TIMEOUT);
    first.until("status changed");
    first.signal(Signal::TERM);
    assert_eq!(first.end().0.code(), Some(0));
    let rows = history(folder.path()).len();
    assert!(rows >= 1);

    let epoch = |folder: &Path| -> i64 {
        let store = Connection::open(folder.join("m.db")).unwrap();
        store
            .query_row("SELECT epoch FROM status", [], |row| row.get(0))
            .unwrap()
    };
    let before = epoch(folder.path());
    let mut second = daemon(folder.path(), target, TIMEOUT);
    second.until("ready");
    second.signal(Signal::TERM);
    assert_eq!(second.end().0.code(), Some(0));
    assert_eq!(
        epoch(folder.path()),
        before,
        "an unchanged monitor keeps its epoch"
    );
    assert!(history(folder.path()).len() >= rows, "nothing was lost");

    let text = "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"m.db\"\n[[monitor]]\n\
                id = \"b\"\ntcp = \"127.0.0.1:1\"\n";
    let path = config(folder.path(), text);
    let mut third = Running::start(command(&["run", "--config", &path]));
    third.until("ready");
    third.signal(Signal::TERM);
    assert_eq!(third.end().0.code(), Some(0));
    let store = Connection::open(folder.path().join("m.db")).unwrap();
    let ids: Vec<String> = store
        .prepare("SELECT id FROM monitor WHERE ended = 0")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(ids, ["b"]);
}

/// STB-17: results that the store did not take by the deadline are counted and said, and make the
/// exit code 1.
#[test]
fn lost_results_are_counted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _held) = answers_once();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"m.db\"\n[[monitor]]\nid = \"a\"\n\
         tcp = \"{target}\"\ninterval = \"200ms\"\n"
    );
    let path = config(folder.path(), &text);
    let mut daemon = Running::start(command(&[
        "run",
        "--config",
        &path,
        "--shutdown-timeout",
        "1s",
    ]));
    daemon.until("status changed");
    // Another program writes to the file, and does not end.
    let mut other = Connection::open(folder.path().join("m.db")).unwrap();
    other.busy_timeout(HANG).unwrap();
    let writing = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    daemon.until("results wait for the store");
    daemon.signal(Signal::TERM);
    let (ended, said) = daemon.end();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("could not be stored and"), "{said}");
    writing.rollback().unwrap();
    assert_eq!(
        status(folder.path()).0.as_deref(),
        Some("up"),
        "nothing in part"
    );
}
