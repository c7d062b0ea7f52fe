//! How hard-pressed the process is: looked at by a supervised task, told in events, kept for show;
//! and what is done about it: whole classes of monitors are checked less often, or not at all.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_model::EventKind;
#[cfg(target_os = "linux")]
use monitor_pressure::ProcessReader;
use monitor_pressure::{
    Config, LagProbe, Measure, Plan, Pressure, Priority, Reading, Scope, Snapshot, Source,
    Transition, Usage,
};
use monitor_scheduler::{Class, Pace};

use crate::shared::Shared;

/// Checks that wait longer than this for a permit are too many: it is the longest timeout of a
/// check that has none of its own.
const QUEUE_AGE_LIMIT: Duration = Duration::from_secs(30);
/// A named pool for whose connections somebody waits this long is exhausted. That all of its
/// connections are out is no pressure as long as nobody waits: they are there to be used.
#[cfg(feature = "pool")]
const POOL_WAIT_LIMIT: Duration = Duration::from_secs(5);
/// The period of the timer whose lateness is that of the event loop.
const LAG_PERIOD: Duration = Duration::from_millis(100);

/// Everything that is looked at, and what was made of it.
pub(crate) struct Watch {
    levels: Mutex<Pressure>,
    plan: Plan,
    /// Opened with the first look that can.
    #[cfg(target_os = "linux")]
    process: Mutex<Option<ProcessReader>>,
    lag: LagProbe,
}

/// Looks around for as long as the core is there, and for the first time before this returns.
pub(crate) async fn watch(shared: &Arc<Shared>, config: Config, plan: Plan) {
    let interval = config.resource_check_interval();
    let watch = Watch {
        levels: Mutex::new(Pressure::new(config)),
        plan,
        #[cfg(target_os = "linux")]
        process: Mutex::default(),
        lag: LagProbe::spawn(LAG_PERIOD),
    };
    // Set once: nobody else starts a core.
    let _ = shared.pressure.set(watch);
    let weak = Arc::downgrade(shared);
    let task = shared.tasks.spawn_own("pressure", interval, move || {
        weak.upgrade().map_or(Ok(()), |shared| look(&shared))
    });
    if let Some(task) = task {
        task.first().await;
    }
}

/// Looks once, acts on what has changed, and tells it. What cannot be read is the outcome of the look; the
/// levels are made of the rest.
fn look(shared: &Shared) -> io::Result<()> {
    let Some(watch) = shared.pressure.get() else {
        return Ok(());
    };
    let mut readings = vec![queue_age(shared)];
    #[cfg(feature = "pool")]
    readings.extend(pools(shared));
    let process = watch.read_process(&mut readings);
    let transitions = {
        let mut levels = watch.levels();
        let limit = levels.config().max_event_loop_lag();
        readings.push(watch.lag.take().reading(limit));
        levels.observe(readings, shared.tasks.supervisor().uptime())
    };
    for transition in transitions {
        for decision in watch.plan.decide(&transition) {
            tracing::warn!("{decision}");
            let pace = pace(decision.to);
            shared.scheduler.set_pace(class(decision.priority), pace);
        }
        shared.hub.publish(told(&transition));
    }
    process
}

const fn class(priority: Priority) -> Class {
    match priority {
        Priority::Optional => Class::Optional,
        Priority::Normal => Class::Normal,
        Priority::Critical => Class::Critical,
    }
}

const fn pace(measure: Measure) -> Pace {
    match measure {
        Measure::Keep => Pace::Full,
        Measure::Stretch(factor) => Pace::Stretched(factor),
        Measure::Suspend => Pace::Suspended,
    }
}

fn queue_age(shared: &Shared) -> Reading {
    let oldest = shared.scheduler.status().queue_oldest.unwrap_or_default();
    Reading::new(Source::QUEUE_AGE, Usage::time(oldest, QUEUE_AGE_LIMIT))
}

/// The named pools. One that a monitor keeps for itself serves one check at a time.
#[cfg(feature = "pool")]
fn pools(shared: &Shared) -> impl Iterator<Item = Reading> {
    let pools = shared.pools.handles().into_iter();
    pools.map(|(name, pool)| {
        let oldest = pool.status().oldest_wait;
        Reading::new(Source::pool(&name), Usage::time(oldest, POOL_WAIT_LIMIT))
    })
}

fn told(transition: &Transition) -> EventKind {
    let source = match transition.scope {
        Scope::Source => transition.source.to_string(),
        Scope::Combined => "process".to_owned(),
    };
    let seen = transition
        .usage
        .map_or_else(|| "not seen any more".to_owned(), |usage| usage.to_string());
    let detail = match transition.scope {
        Scope::Source => seen,
        Scope::Combined => format!("{}: {seen}", transition.source),
    };
    EventKind::Pressure {
        source,
        from: transition.from.as_str(),
        to: transition.to.as_str(),
        detail,
    }
}

impl Watch {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.levels().snapshot()
    }

    fn levels(&self) -> MutexGuard<'_, Pressure> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(target_os = "linux")]
    fn read_process(&self, readings: &mut Vec<Reading>) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.is_none() {
            let config = self.levels().config().clone();
            *process = Some(ProcessReader::open(&config)?);
        }
        if let Some(process) = &mut *process {
            readings.extend(process.read());
        }
        Ok(())
    }

    /// Other systems do not say.
    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        clippy::ptr_arg,
        reason = "as on Linux"
    )]
    fn read_process(&self, _: &mut Vec<Reading>) -> io::Result<()> {
        Ok(())
    }
}
