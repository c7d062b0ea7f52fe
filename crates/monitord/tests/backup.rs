//! `monitord backup` beside a running daemon: what it copies, and what stands in its way.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;

use std::path::Path;

use monitor_core::operation::Epoch;
use monitor_model::{Monitor, Observation, Phases, Record, Source, Store};
use monitor_store::{Options, SqliteStore};
use process::{run, stderr, stdout};

fn backup(database: &Path, to: &Path) -> std::process::Output {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run(&["backup", "--database", &text(database), "--to", &text(to)])
}

/// While this process has the store open, as a daemon would, another one copies it.
#[tokio::test]
async fn a_store_in_use_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (database, to) = (
        folder.path().join("m.sqlite"),
        folder.path().join("copy.sqlite"),
    );
    let store = SqliteStore::open(Options::new(&database)).unwrap();
    let id: monitor_model::MonitorId = "a".parse().unwrap();
    let (name, spec, source) = ("A".into(), "{}".into(), Source::Api);
    let monitor = Monitor {
        id: id.clone(),
        name,
        source,
        spec,
    };
    store.define(monitor, Epoch::new(1)).await.unwrap();
    let up = |due| {
        let observation = Observation::up();
        Record::observed(
            id.clone(),
            Epoch::new(1),
            due,
            observation,
            Phases::default(),
        )
    };
    store.commit(up(1000)).await.unwrap();
    let done = backup(&database, &to);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(
        stdout(&done).contains("copy.sqlite is a copy of "),
        "{}",
        stdout(&done)
    );
    assert_eq!(stderr(&done), "", "nothing is shown where nobody looks");
    store.commit(up(2000)).await.unwrap();
    let copy = SqliteStore::open(Options::new(&to)).unwrap();
    assert_eq!(copy.history(&id, 10).await.unwrap().len(), 1);

    // The configuration names it, too.
    let config = folder.path().join("monitord.toml");
    let text = format!(
        "[store]\ndatabase = {:?}\n[[monitor]]\nid = \"a\"\nurl = \"http://127.0.0.1:1/\"\n",
        database.to_str().unwrap()
    );
    std::fs::write(&config, text).unwrap();
    let (config, other) = (config.to_str().unwrap(), folder.path().join("other.sqlite"));
    let done = run(&[
        "backup",
        "--config",
        config,
        "--to",
        other.to_str().unwrap(),
    ]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(other.exists());

    let again = backup(&database, &to);
    assert_eq!(again.status.code(), Some(1));
    let text = stderr(&again);
    assert!(
        text.starts_with("monitord: ") && text.contains("it exists already"),
        "{text}"
    );
    let nowhere = backup(&database, &folder.path().join("no/where"));
    assert!(
        stderr(&nowhere).contains("create it first"),
        "{}",
        stderr(&nowhere)
    );
    let nothing = backup(&folder.path().join("nothing"), &folder.path().join("x"));
    assert!(
        stderr(&nothing).contains("there is no such file"),
        "{}",
        stderr(&nothing)
    );
    let neither = run(&["backup", "--to", "x"]);
    assert_eq!(neither.status.code(), Some(2));
}
