//! What all requests share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use monitor_core::{Core, Sink, pool};
use monitor_model::Event;

use super::assets::{ICON, SCRIPT, STYLE};
use super::live::Live;
use super::metrics::Metrics;
use super::page::PageCache;
use super::recent::Recent;
use crate::config::Defaults;
use crate::jobs::Watch;
use crate::view::{Frame, Moment};

/// What must exist before the core, because it takes the core's events.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    pub(super) live: Arc<Live>,
    pub(super) recent: Arc<Recent>,
    pub(super) metrics: Arc<Metrics>,
}

impl Parts {
    /// Empty parts, for a process that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sink that feeds the page, its stream and the metrics.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }
}

impl Sink for Parts {
    fn event(&self, event: &Event) {
        self.metrics.event(event);
        // The history first: who is told of a change finds it there.
        self.recent.event(event);
        self.live.event(event);
    }

    fn pool(&self, pool: &str, event: &pool::Event<'_>) {
        self.metrics.pool(pool, event);
    }
}

/// Settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// What the page is called. Default: `Status`.
    pub title: String,
    /// Whether the API may be used: right on a loopback listener, where everybody is an operator.
    /// Default: no.
    pub allow_admin: bool,
    /// When the process began, in unix milliseconds. Default: now.
    pub started_unix_ms: i64,
    /// Names besides `localhost` and addresses by which the API may be called. Default: none.
    pub hosts: Vec<String>,
    /// What holds for monitors made through the API. Default: as with an empty file.
    pub defaults: Defaults,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            title: "Status".to_owned(),
            allow_admin: false,
            started_unix_ms: unix_ms_now(),
            hosts: Vec::new(),
            defaults: Defaults::default(),
        }
    }
}

/// The HTTP side of a running core. Clones are handles to the same one.
#[derive(Clone)]
pub struct App(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) core: Core,
    pub(super) parts: Parts,
    pub(super) options: AppOptions,
    pub(super) frame: Frame,
    pub(super) page: PageCache,
    pub(super) is_stopping: AtomicBool,
    jobs: OnceLock<Arc<Watch>>,
    zone: TimeZone,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The HTTP side of `core`, which was started with the sink of `parts`.
    #[must_use]
    pub fn new(core: Core, parts: Parts, options: AppOptions) -> Self {
        let frame = Frame {
            title: options.title.clone(),
            is_admin: options.allow_admin,
            style: STYLE.path(),
            script: SCRIPT.path(),
            icon: ICON.path(),
        };
        parts.metrics.attach(&core);
        Self(Arc::new(Shared {
            core,
            parts,
            options,
            frame,
            page: PageCache::default(),
            is_stopping: AtomicBool::new(false),
            jobs: OnceLock::new(),
            zone: TimeZone::system(),
        }))
    }

    /// From now on it also shows the jobs of the process.
    pub(crate) fn show_jobs(&self, jobs: Arc<Watch>) {
        // There is one worker in a process.
        let _ = self.0.jobs.set(jobs);
    }

    /// `None`: the process has none.
    pub(super) fn jobs(&self) -> Option<&Watch> {
        self.0.jobs.get().map(|jobs| &**jobs)
    }

    pub(super) fn core(&self) -> &Core {
        &self.0.core
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            unix_ms: unix_ms_now(),
            zone: self.0.zone.clone(),
        }
    }

    /// From now on the process says that it is not ready. It still answers, and tells of the
    /// results that come in at the end, until the server is shut down.
    pub(crate) fn stop(&self) {
        self.0.is_stopping.store(true, Relaxed);
    }

    /// Ends the live streams, without which no connection of theirs would end.
    pub(super) fn close(&self) {
        self.stop();
        self.0.parts.live.close();
        self.0.parts.metrics.detach();
    }
}

/// Wall time in unix milliseconds.
pub(super) fn unix_ms_now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
