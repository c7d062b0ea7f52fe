//! What a new start makes of what the last one left: monitors of the file and of the API.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;
mod served;

use monitor_testkit::targets::Target;
use process::{Running, command};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;
use served::Served;

const FILE: &str = "[[monitor]]\nid = \"of-file\"\ntcp = \"127.0.0.1:9\"\ninterval = \"1s\"\n";

/// Ends what runs on `folder`'s configuration, and starts it anew with `more` in that file.
fn restart(process: Running, folder: &std::path::Path, more: &str) -> Running {
    process.signal(Signal::TERM);
    let (status, said) = process.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let path = folder.join("monitord.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(more);
    std::fs::write(&path, text).unwrap();
    let mut process = Running::start(command(&["run", "--config", path.to_str().unwrap()]));
    process.until("ready");
    process
}

/// (id, source) of the monitors that live in the store.
fn stored(folder: &std::path::Path) -> Vec<(String, String)> {
    let store = Connection::open(folder.join("monitord.db")).unwrap();
    store
        .prepare("SELECT id, source FROM monitor WHERE ended = 0 ORDER BY id")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(id, source)| ((*id).to_owned(), (*source).to_owned()))
        .collect()
}

/// A monitor that was paused for three weeks, is resumed, and has no result yet when the daemon is
/// started anew: the pause is no gap in its history.
#[tokio::test]
async fn a_pause_is_no_gap_for_a_restart_that_follows_the_resume() {
    let served = Served::start(FILE);
    let target = Target::healthy().await.unwrap();
    let mut stream = served.stream().await;
    let spec = json!({ "id": "web", "url": target.url(), "interval": "1h" });
    served.define(spec).await;
    stream.result("web", "up").await;
    served.act("web", "pause").await;
    let past = Connection::open(served.folder.path().join("monitord.db")).unwrap();
    let weeks = 21 * 86_400_000_i64;
    let ago = format!(
        "UPDATE history SET due_unix_ms = due_unix_ms - {weeks};
         UPDATE status SET last_due_unix_ms = last_due_unix_ms - {weeks}"
    );
    past.execute_batch(&ago).unwrap();
    served.act("web", "resume").await;

    let process = restart(served.process, served.folder.path(), "");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
    let gap = "SELECT coalesce(sum(slots), 0) FROM line
        JOIN monitor ON monitor.number = line.monitor AND monitor.id = 'web'
        WHERE reason = 'not_running'";
    let gap: i64 = past.query_row(gap, [], |row| row.get(0)).unwrap();
    assert!(gap <= 1, "{gap} due times that were promised to nobody");
}

/// A monitor of the API comes back from its stored definition and is checked again; one that the
/// file defines as well is the file's from then on.
#[tokio::test]
async fn what_the_api_defined_comes_back() {
    let served = Served::start(FILE);
    // Nobody listens on a port that is bound and not listened on.
    let refusing = monitor_testkit::targets::Refusing::new().unwrap();
    let spec = json!({ "id": "of-api", "tcp": refusing.addr().to_string(), "interval": "200ms" });
    served.define(spec).await;
    let (process, folder) = (served.process, served.folder);
    let both = pairs(&[("of-api", "api"), ("of-file", "file")]);
    assert_eq!(stored(folder.path()), both);

    let process = restart(process, folder.path(), "");
    assert_eq!(stored(folder.path()), both);
    let store = Connection::open(folder.path().join("monitord.db")).unwrap();
    let rows = || -> i64 {
        let count = "SELECT count(*) FROM line JOIN monitor ON monitor.number = line.monitor
                     WHERE monitor.id = 'of-api' AND outcome = 'down'";
        store.query_row(count, [], |row| row.get(0)).unwrap()
    };
    let before = rows();
    let checked = async {
        while rows() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(process::HANG, checked)
        .await
        .expect("it is checked again");

    let takes_over = "\n[[monitor]]\nid = \"of-api\"\ntcp = \"127.0.0.1:9\"\n";
    let process = restart(process, folder.path(), takes_over);
    assert_eq!(
        stored(folder.path()),
        pairs(&[("of-api", "file"), ("of-file", "file")])
    );
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}
