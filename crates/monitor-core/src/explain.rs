//! Why a monitor is or is not being checked now: what each part that has a say in it says.

use std::sync::PoisonError;
use std::time::Duration;

use monitor_breaker::Snapshot;
use monitor_fault::Category;
use monitor_model::{Lifecycle, MonitorId};
use monitor_scheduler::Explanation;

use crate::shared::Shared;

/// Why a monitor is or is not being checked now, at one instant.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// What the schedule says, with the limits that hold. `None`: it is not in it, for the store
    /// did not take a change of it, or it is just being changed.
    pub schedule: Option<Explanation<MonitorId>>,
    /// Wall time at the origin that the times of the schedule count from, in unix time.
    pub origin_unix: Duration,
    /// Whether it is to be checked at all.
    pub lifecycle: Lifecycle,
    /// For how much longer somebody works on its target, and nobody looks but by hand.
    pub maintenance_left: Option<Duration>,
    /// What the breaker says.
    pub breaker: Option<Snapshot>,
    /// What failed last, and what that asks to wait, where the settings tell categories apart.
    pub category: Option<CategoryWait>,
    /// Why the store took no result lately: then checks go on and their results wait.
    pub store_error: Option<String>,
}

/// What a category of failures asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CategoryWait {
    /// What failed last.
    pub category: Category,
    /// How often in a row.
    pub failures: u32,
    /// How long to wait after the last of them. `None`: until the monitor is changed or somebody
    /// asks for a check.
    pub wait: Option<Duration>,
}

pub(crate) fn explain(shared: &Shared, id: &MonitorId) -> Option<Explained> {
    let entry = shared.entry(id)?;
    let now = shared.scheduler.now();
    let settings = &entry.definition.settings;
    let category = settings.by_category.as_ref().and_then(|policies| {
        let streaks = entry.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let category = streaks.last()?;
        let failures = streaks.of(category);
        Some(CategoryWait {
            category,
            failures,
            wait: policies.get(category).delay(failures, settings.interval),
        })
    });
    Some(Explained {
        schedule: shared.scheduler.explain(id),
        origin_unix: shared.origin_unix,
        lifecycle: entry.status().lifecycle,
        maintenance_left: settings
            .maintenance
            .until(shared.unix())
            .map(|until| until.saturating_sub(shared.unix())),
        breaker: entry.breaker.as_ref().map(|it| it.snapshot(now)),
        category,
        store_error: shared.store_error(),
    })
}
