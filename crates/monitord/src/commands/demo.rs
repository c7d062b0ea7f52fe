//! `monitord demo`: the whole of it at work on targets of its own.

mod screen;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use monitor_core::{Sink, pressure};
use monitor_model::Event;
use monitor_scheduler::Saturation;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::screen::Screen;
use super::Failure;
use crate::cli::DemoArgs;
use crate::daemon::{self, Daemon, Format, Signals, StoreOptions, start_logging};
use crate::demo::{self, Targets, defaults, definitions};
use crate::server::{self, AppOptions, BindError};
use crate::terminal::can_draw_over;

const CONCURRENT: NonZeroUsize = const { NonZeroUsize::new(20).unwrap() };
const REDRAW: Duration = Duration::from_millis(100);
const SHUTDOWN: Duration = Duration::from_secs(2);
/// Without `--for`, the end is this far away: no end.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 10);

/// Runs until ctrl-c, SIGTERM or the end of `--for`.
///
/// # Errors
/// When the page's port is taken, or the database cannot be made.
pub fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(show(args));
    runtime.shutdown_background();
    end
}

async fn show(args: DemoArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install()?;
    // Lines of a log would tear the table apart.
    start_logging(Format::Human, "off");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let bound = server::bind(address)
        .await
        .map_err(|error| taken(&error, args.port))?;
    let page = format!("http://{}/", bound.local_addr());
    let (_folder, database) = database(args.keep.as_ref())?;
    let targets = Targets::start().await?;
    let defaults = defaults();
    let (sink, mut events) = mpsc::unbounded_channel();
    let options = daemon::Options {
        // For as long as it runs, so that all of it can be counted at the end.
        store: StoreOptions::Sqlite(monitor_store::Options {
            retain_history: NEVER,
            ..monitor_store::Options::new(&database)
        }),
        max_concurrent: CONCURRENT,
        without_permit: Saturation::Queue { bound: 1024 },
        max_wait: None,
        pressure: pressure::Config::default(),
        app: AppOptions {
            title: "Demonstration".to_owned(),
            allow_admin: true,
            defaults: defaults.clone(),
            ..AppOptions::default()
        },
        definitions: definitions(&targets, &defaults)?,
        defaults,
        sink: Some(Arc::new(Forward(sink))),
        jobs: None,
        before_tick: None,
    };
    let live = can_draw_over(demo::LEAST_WIDTH) && !args.lines;
    let mut screen = Screen::new(page, live, args.duration);
    screen.begin()?;
    let daemon = Daemon::start(bound, options).await?;
    let end = sleep_until(Instant::now() + args.duration.unwrap_or(NEVER));
    tokio::pin!(end);
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some(event) = events.recv() => screen.event(&event)?,
            _ = redraw.tick(), if live => screen.draw(&daemon.core().views())?,
            _ = signals.first() => break,
            () = &mut end => break,
        }
    }
    if live {
        screen.draw(&daemon.core().views())?;
    }
    let ending = daemon.shutdown(SHUTDOWN).await;
    while let Ok(event) = events.try_recv() {
        screen.last_event(&event);
    }
    drop(targets);
    let lost = match ending.lost() {
        Some(lost) => Some(lost),
        None => screen.compare(&database).await.err(),
    };
    let mut out = std::io::stdout().lock();
    write!(out, "\n{}", screen.closing(&ending, lost.is_none()))?;
    if args.keep.is_some() {
        writeln!(out, "The database is {}", database.display())?;
    }
    lost.map_or(Ok(ExitCode::SUCCESS), |lost| Err(Failure::new(lost)))
}

/// Hands every event on to the screen.
struct Forward(mpsc::UnboundedSender<Event>);

impl Sink for Forward {
    fn event(&self, event: &Event) {
        // Fails only at the very end, when the screen is gone.
        let _ = self.0.send(event.clone());
    }
}

/// The database, in a folder that goes with the process unless it is to be kept.
fn database(keep: Option<&PathBuf>) -> Result<(Option<TempDir>, PathBuf), Failure> {
    const FILE: &str = "monitord-demo.db";
    match keep {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::new(format!(
                    "cannot make the folder {}: {error}",
                    folder.display()
                ))
            })?;
            Ok((None, folder.join(FILE)))
        }
        None => {
            let folder = tempfile::Builder::new()
                .prefix("monitord-demo-")
                .tempdir()?;
            let file = folder.path().join(FILE);
            Ok((Some(folder), file))
        }
    }
}

fn taken(error: &BindError, port: u16) -> Failure {
    match error {
        BindError::InUse { .. } => Failure::new(format!(
            "cannot show the page on port {port}: another program listens there; choose another \
             port with --port (0 takes any free one)"
        )),
        error => Failure::new(error),
    }
}
