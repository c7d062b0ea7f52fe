//! The demonstration of the real binary.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use process::{Running, command, run, stdout};
use rusqlite::Connection;
use rustix::process::Signal;

/// PRB-39: it ends by itself, shows every kind of target for what it is, and what it says it
/// counted is what the database holds.
#[test]
fn it_ends_by_itself_and_counts_right() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().to_str().unwrap();
    let output = run(&["demo", "--for", "3s", "--port", "0", "--keep", keep]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text.starts_with("Status page: http://127.0.0.1:"),
        "the address first:\n{text}"
    );
    for (status, monitor) in [
        ("up", "healthy"),
        ("degraded", "slow"),
        ("up", "now-and-then"),
        ("up", "flapping"),
        ("down", "refusing"),
        ("down", "silent"),
    ] {
        let shown = text.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.windows(2).any(|pair| pair == [status, monitor])
        });
        assert!(shown, "{monitor} is not shown as {status}:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe");
    assert!(text.contains("nothing was lost"), "{text}");

    let due: i64 = text
        .lines()
        .find_map(|line| {
            line.split(" due times")
                .next()?
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        })
        .expect("a summary");
    let store = Connection::open(folder.path().join("monitord-demo.db")).unwrap();
    let stored: i64 = store
        .query_row("SELECT sum(slots) FROM history", [], |row| row.get(0))
        .unwrap();
    assert_eq!(due, stored, "{text}");
}

/// ROB-80: ctrl-c ends it in order, with exit code 0 and a summary, and its folder goes with it.
#[test]
fn ctrl_c_ends_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&["demo", "--port", "0"]);
    command.env("TMPDIR", folder.path());
    let mut demo = Running::start(command);
    demo.until("healthy");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "its database is in there"
    );
    demo.signal(Signal::INT);
    let (status, said) = demo.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("due times") && said.contains("nothing was lost"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}
