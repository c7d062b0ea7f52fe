//! What fails in a periodic task of the daemon stays there, and is shown.

use std::io::{self, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock, PoisonError};

use monitor_core::pool::{Manager, Pool};
use monitor_model::{MonitorId, Outcome, Source};
use serde_json::{Value, json};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::*;
use crate::config::{Config, MonitorSpec, Overrides};
use crate::server::bind;

/// Every periodic task that the daemon has.
const TASKS: [&str; 5] = ["jobs", "page", "pools", "pressure", "store"];

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what this thread logs from now on.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // With only one subscriber in the process, a line that another test's thread reaches first
        // would be switched off for all.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(NoSubscriber::new()));
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        (log, guard)
    }

    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that takes nothing.
struct Faulty;

impl Sink for Faulty {
    fn event(&self, event: &monitor_model::Event) {
        panic!("sabotaged event {}", event.sequence);
    }
}

/// Something to do once a year.
fn scheduled(folder: &std::path::Path) -> Plan {
    let text = "[doctor]\nschedule = \"@yearly\"\n[[monitor]]\nid = \"a\"\ntcp = \"h:1\"\n\
                [store]\npath = \"m.db\"\n";
    let path = folder.join("monitord.toml");
    let config = Config::parse(&path, text.as_bytes(), &Overrides::default(), |_| None);
    Plan::of(&config.unwrap()).unwrap().unwrap()
}

/// Starts a daemon with one monitor, `a`, a hook in its periodic tasks, and a sink that takes
/// nothing.
async fn start(
    folder: &std::path::Path,
    target: &TcpListener,
    before_tick: impl Fn(&str) + Send + Sync + 'static,
) -> (Daemon, String) {
    let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", bound.local_addr());
    let defaults = Defaults::default();
    let address = target.local_addr().unwrap().to_string();
    let spec = json!({ "id": "a", "tcp": address, "interval": "1s" });
    let spec = MonitorSpec::from_json(&spec).unwrap();
    let options = Options {
        store: StoreOptions::Sqlite(monitor_store::Options::new(folder.join("m.db"))),
        max_concurrent: NonZeroUsize::MIN,
        without_permit: Saturation::Queue { bound: 16 },
        max_wait: None,
        pressure: pressure::Config::default(),
        app: AppOptions::default(),
        definitions: vec![spec.definition(&defaults, Source::File).unwrap()],
        defaults,
        sink: Some(Arc::new(Faulty)),
        jobs: Some(scheduled(folder)),
        before_tick: Some(Box::new(before_tick)),
    };
    let daemon = Daemon::start(bound, options).await;
    (daemon.unwrap_or_else(|_| panic!("it starts")), base)
}

/// STB-11, STB-12, STB-18, STB-19: a panic in every tick of every periodic task: the daemon starts,
/// checks, answers and ends in order; each fault is in `/health`, in the metrics and in the log.
#[tokio::test]
async fn a_panic_in_every_periodic_task_is_shown_and_costs_nothing_else() {
    let (log, _until_here) = Log::start();
    let folder = tempfile::tempdir().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let sabotage = |name: &str| panic!("sabotaged {name}");
    let (daemon, base) = start(folder.path(), &target, sabotage).await;
    let supervisor = daemon.core().supervisor().clone();
    let (mut ticks, mut events) = (supervisor.subscribe(), daemon.core().subscribe());
    let has_ticked = || {
        let status = supervisor.status();
        status.len() == TASKS.len() && status.iter().all(|task| task.last.is_some())
    };
    while !has_ticked() {
        ticks.recv().await.unwrap();
    }
    let id: MonitorId = "a".parse().unwrap();
    while daemon.core().view(&id).unwrap().status.outcome != Some(Outcome::Up) {
        events.recv().await.unwrap();
    }

    let get = async |path: &str| reqwest::get(format!("{base}{path}")).await.unwrap();
    assert_eq!(get("/livez").await.status(), 200);
    let health = get("/health?verbose").await;
    assert_eq!(health.status(), 200, "the targets are well");
    let health: Value = health.json().await.unwrap();
    let metrics = get("/metrics").await.text().await.unwrap();
    let shown = health["tasks"].as_array().unwrap();
    assert_eq!(shown.len(), TASKS.len());
    for (name, task) in TASKS.into_iter().zip(shown) {
        let fault = format!("panic: sabotaged {name}");
        assert_eq!(
            (&task["name"], &task["last"]),
            (&json!(name), &json!(fault))
        );
        assert_eq!(task["healthy"], false);
        assert!(task["failed"]["panic"].as_u64() >= Some(1), "{task}");
        assert!(log.text().contains(&fault), "{}", log.text());
        let series = format!("health_check_failures_total{{component=\"{name}\",kind=\"panic\"}}");
        assert!(metrics.contains(&series), "{metrics}");
    }
    // Whoever is told of what happens is no task of its own, and is contained as well.
    assert!(
        log.text().contains("a sink of events panicked"),
        "{}",
        log.text()
    );
    let ending = daemon.shutdown(Duration::from_secs(5)).await;
    assert_eq!((ending.lost(), ending.stuck.len()), (None, 0));
    assert_eq!(supervisor.live_tasks(), 0);
}

struct Numbers;

impl Manager for Numbers {
    type Connection = usize;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<usize, Self::Error> {
        Ok(7)
    }
}

/// ROB-79, STB-51: who still holds a connection at the end is in the last lines, by place; so is a
/// periodic task that blocks its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_lines_say_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let (daemon, _) = start(folder.path(), &target, move |name| {
        if name == "page" {
            begins.notify_one();
            // Fails, as is meant, when the test is over.
            let _ = blocked.lock().unwrap().recv();
        }
    })
    .await;
    begun.notified().await;
    let pools = daemon.core().pools();
    let pool = pools.open("numbers", Pool::builder(Numbers)).unwrap();
    let held = pool.acquire().await.unwrap();
    let ending = daemon.shutdown(Duration::from_secs(4)).await;
    drop(release);
    let (log, _until_here) = Log::start();
    ending.log();
    let lines = log.text();
    let line = |what: &str| lines.lines().find(|line| line.contains(what)).unwrap();
    let left = line("connections were left");
    assert!(
        left.contains("numbers") && left.contains("tests.rs"),
        "{left}"
    );
    assert!(line("did not end").contains("page"), "{lines}");
    assert!(lines.trim_end().lines().last().unwrap().contains("stopped"));
    drop(held);
}
