//! What fails in a task of the daemon stays there, and is shown.

use std::io::{self, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use monitor_core::pool::{Manager, Pool};
use monitor_model::{Event, EventKind, MemoryStore, MonitorId, Outcome, Source};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::lasting::Stop;
use super::*;
use crate::config::{Config, MonitorSpec, Overrides};
use crate::server::bind;

/// Every periodic task that the daemon has.
const TASKS: [&str; 7] = [
    "jobs", "journal", "page", "pools", "pressure", "server", "store",
];

/// Far longer than anything takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);

/// A log in memory.
#[derive(Clone, Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// The next line with this in it is not written: the log panics.
    fault: Arc<Mutex<Option<&'static str>>>,
}

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
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has a line with this in it, and returns that.
    async fn line(&self, what: &str) -> String {
        let found = tokio::time::timeout(HANG, async {
            loop {
                if let Some(line) = self.text().lines().find(|line| line.contains(what)) {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {what:?} in:\n{}", self.text()))
    }

    /// It will panic at the next line with this in it.
    fn fail_at(&self, what: &'static str) {
        *self.fault.lock().unwrap() = Some(what);
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let fault = self
            .fault
            .lock()
            .unwrap()
            .take_if(|what| line.contains(*what));
        assert!(fault.is_none(), "sabotaged line");
        let mut log = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
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
    let ending = daemon.shutdown(HANG).await;
    assert_eq!((ending.lost(), ending.stuck.len()), (None, 0));
    assert_eq!(supervisor.live_tasks(), 0);
}

/// STB-1, STB-2, STB-11, STB-12: a panic in the journal: the daemon lives, the fault is in `/health`,
/// in the metrics and in the log, which goes on and says what is not in it.
#[tokio::test]
async fn a_panic_in_the_journal_is_shown_and_the_journal_goes_on() {
    let (log, _until_here) = Log::start();
    let folder = tempfile::tempdir().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let (daemon, base) = start(folder.path(), &target, |_| {}).await;
    let id: MonitorId = "a".parse().unwrap();
    log.line("status changed").await;
    log.fail_at("lifecycle=paused");
    daemon.core().pause(&id).await.unwrap();
    let failed = log.line("journal, tick").await;
    assert!(failed.contains("panic: sabotaged line"), "{failed}");
    daemon.core().resume(&id).await.unwrap();
    log.line("lifecycle=active").await;
    let left_out = log.line("events left out here").await;
    assert!(left_out.contains("left_out=1"), "{left_out}");
    log.line("well again").await;

    let get = async |path: &str| reqwest::get(format!("{base}{path}")).await.unwrap();
    let health: Value = get("/health?verbose").await.json().await.unwrap();
    let tasks = health["tasks"].as_array().unwrap();
    let journal = tasks.iter().find(|task| task["name"] == "journal").unwrap();
    assert_eq!(
        (&journal["failed"]["panic"], &journal["healthy"]),
        (&json!(1), &json!(true))
    );
    let metrics = get("/metrics").await.text().await.unwrap();
    let series = "health_check_failures_total{component=\"journal\",kind=\"panic\"} 1";
    assert!(metrics.lines().any(|line| line == series), "{metrics}");

    let ending = daemon.shutdown(HANG).await;
    assert_eq!((ending.lost(), ending.stuck.len()), (None, 0));
}

/// A reader of events that falls behind accounts for each: by a line, or as left out.
#[tokio::test]
async fn a_journal_that_falls_behind_says_by_how_much() {
    let (sender, events) = broadcast::channel(2);
    for sequence in 1..=5 {
        let monitor = "a".parse().unwrap();
        let kind = EventKind::Deleted { monitor };
        sender.send(Arc::new(Event { sequence, kind })).unwrap();
    }
    let (log, _until_here) = Log::start();
    // Told to end at once, it tells what came before.
    journal::Journal::new(events).keep(Stop::at_once()).await;
    let lines = log.text();
    assert!(lines.contains("left_out=3"), "{lines}");
    assert_eq!(lines.matches("deleted").count(), 2, "{lines}");
}

/// STB-1, STB-2, STB-12: a panic in the server, and another: they are shown, and who asks meanwhile
/// is answered.
#[tokio::test]
async fn a_panic_in_the_server_is_shown_and_it_serves_again() {
    let (log, _until_here) = Log::start();
    let core = Core::builder(Arc::new(MemoryStore::new()))
        .start()
        .await
        .unwrap();
    let parts = Parts::new();
    let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.local_addr();
    let app = App::new(core.clone(), parts, AppOptions::default());
    let begun = AtomicU32::new(0);
    let server = Lasting::start(&core, "server", move |mut stop| {
        let fails = begun.fetch_add(1, Relaxed) < 2;
        let serve = bound.serve(app.clone(), async move { stop.told().await });
        async move {
            assert!(!fails, "sabotaged server");
            serve.await;
        }
    });
    let server = server.unwrap();
    let client = reqwest::Client::builder().timeout(HANG).build().unwrap();
    let get = async |path: &str| client.get(format!("http://{address}{path}")).send().await;
    let health = get("/health?verbose").await.unwrap();
    let health: Value = health.json().await.unwrap();
    let tasks = health["tasks"].as_array().unwrap();
    let task = tasks.iter().find(|task| task["name"] == "server").unwrap();
    assert_eq!(task["healthy"], false);
    assert_eq!(task["last"], "panic: sabotaged server");
    assert_eq!(task["failed"]["panic"], 2);
    log.line("well again").await;
    assert!(server.end(HANG).await);
    let stuck = core.supervisor().stop(HANG).await;
    assert!(stuck.is_empty());
    assert!(
        get("/livez").await.unwrap_err().is_connect(),
        "nobody listens any more"
    );
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
