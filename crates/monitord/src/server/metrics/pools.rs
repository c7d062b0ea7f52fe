//! Pools of connections, by the names that the pool itself gives its metrics.
//!
//! What pools tell is counted here; what they are at a scrape is read from the core. Only pools
//! that there are have series: those of a deleted monitor's pool end with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_core::pool::{Event, Status, metrics as names};
use monitor_core::{Core, PoolView};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Upper bounds in seconds: from an idle connection at hand to the longest usual timeout.
const BOUNDS: [f64; 12] = [
    0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0,
];

type State = (&'static str, fn(&Status) -> usize);
const STATES: [State; 6] = [
    ("connecting", |status| status.connecting),
    ("idle", |status| status.idle),
    ("offered", |status| status.offered),
    ("leased", |status| status.leased),
    ("checking", |status| status.checking),
    ("closing", |status| status.closing),
];

/// What pools have told so far, by their names.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<String, Counted>>);

#[derive(Debug, Clone, Default)]
struct Counted {
    acquires: BTreeMap<&'static str, Durations>,
    closed: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Durations {
    sum: Duration,
    count: u64,
    /// How many were in each bucket and not in the one before; beyond the last bound in the last.
    buckets: [u64; BOUNDS.len() + 1],
}

impl Durations {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Bounds and counts, in units of which a second has `per_second`.
    fn buckets(&self, per_second: f64) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|bound| bound * per_second);
        let bounds = bounds.chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

impl Told {
    /// Takes an event of a pool in. Never waits.
    pub(super) fn event(&self, pool: &str, event: &Event<'_>) {
        let mut by_pool = self.lock();
        if !by_pool.contains_key(pool) {
            by_pool.insert(pool.to_owned(), Counted::default());
        }
        let Some(counted) = by_pool.get_mut(pool) else {
            return;
        };
        let mut acquire = |outcome, waited| {
            let durations = counted.acquires.entry(outcome).or_default();
            durations.observe(waited);
        };
        match event {
            Event::Acquired { waited, .. } => acquire("acquired", *waited),
            Event::NotAcquired { outcome, waited } => acquire(outcome, *waited),
            Event::Closing { reason, .. } => {
                *counted.closed.entry(reason.as_str()).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Forgets a pool that is gone.
    pub(super) fn forget(&self, pool: &str) {
        self.lock().remove(pool);
    }

    /// All there is to say at this moment. `old_names`: also under the older names.
    pub(super) fn read(&self, core: &Core, old_names: bool) -> Pools {
        let views = core.pool_views();
        let mut by_pool = self.lock();
        by_pool.retain(|name, _| views.iter().any(|view| view.name == *name));
        Pools {
            told: by_pool.clone(),
            views,
            old_names,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading of all pools.
#[derive(Debug)]
pub(super) struct Pools {
    told: BTreeMap<String, Counted>,
    views: Vec<PoolView>,
    old_names: bool,
}

impl Pools {
    fn durations(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, unit): (&str, Option<&Unit>),
        per_second: f64,
    ) -> fmt::Result {
        let help = "From the first poll of an acquire to its end";
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (pool, counted) in &self.told {
            for (outcome, durations) in &counted.acquires {
                let labels = [("pool", pool.as_str()), ("outcome", *outcome)];
                metric
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(
                        durations.sum.as_secs_f64() * per_second,
                        durations.count,
                        &durations.buckets(per_second),
                        None,
                    )?;
            }
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&Status) -> u64,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for view in &self.views {
            metric
                .encode_family(&[("pool", view.name.as_str())])?
                .encode_gauge(&value(&view.status))?;
        }
        Ok(())
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&Status) -> u64,
    ) -> fmt::Result {
        let name = without("_total", name);
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for view in &self.views {
            metric
                .encode_family(&[("pool", view.name.as_str())])?
                .encode_counter::<NoLabelSet, _, f64>(&value(&view.status), None)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Callers that wait for a connection";
        self.gauge(encoder, (names::WAITING, help), |s| s.waiting as u64)?;
        let help = "The most connections there may be";
        self.gauge(encoder, (names::MAX_CONNECTIONS, help), |s| {
            s.max_size as u64
        })?;
        let (name, unit) = (
            without("_seconds", names::OLDEST_WAIT_SECONDS),
            Unit::Seconds,
        );
        let help = "How long the first of those who wait has waited";
        let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for view in &self.views {
            metric
                .encode_family(&[("pool", view.name.as_str())])?
                .encode_gauge(&view.status.oldest_wait.as_secs_f64())?;
        }
        let help = "Connections, by what they are doing";
        let name = names::CONNECTIONS;
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for view in &self.views {
            for (state, count) in STATES {
                metric
                    .encode_family(&[("pool", view.name.as_str()), ("state", state)])?
                    .encode_gauge(&(count(&view.status) as u64))?;
            }
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections opened";
        self.counter(encoder, (names::CONNECTS_TOTAL, help), |s| {
            s.totals.connected
        })?;
        let help = "Attempts to connect that failed";
        self.counter(encoder, (names::CONNECT_FAILURES_TOTAL, help), |s| {
            s.totals.connect_failures
        })?;
        let help = "Connections that came back without being out; always 0";
        self.counter(encoder, (names::RACES_TOTAL, help), |s| s.totals.races)?;
        let (name, help) = (names::CLOSED_TOTAL, "Connections closed, by the reason");
        let name = without("_total", name);
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (pool, counted) in &self.told {
            for (reason, count) in &counted.closed {
                metric
                    .encode_family(&[("pool", pool.as_str()), ("reason", *reason)])?
                    .encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        Ok(())
    }

    /// The same under the names that others have used. No metric has dots here, and a counter
    /// without `_total` has to be a gauge.
    fn under_old_names(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = names::ACQUIRE_DURATION_MS.replace('.', "_");
        self.durations(encoder, (&name, None), 1000.0)?;
        let name = names::RACE_DETECTED.replace('.', "_");
        let help = "Connections that came back without being out; always 0";
        self.gauge(encoder, (&name, help), |s| s.totals.races)?;
        let name = names::QUEUE_SIZE.replace('.', "_");
        let help = "Callers that wait for a connection";
        self.gauge(encoder, (&name, help), |s| s.waiting as u64)
    }
}

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.views.is_empty() {
            return Ok(());
        }
        let name = without("_seconds", names::ACQUIRE_DURATION_SECONDS);
        self.durations(&mut encoder, (name, Some(&Unit::Seconds)), 1.0)?;
        self.gauges(&mut encoder)?;
        self.counters(&mut encoder)?;
        if self.old_names {
            self.under_old_names(&mut encoder)?;
        }
        Ok(())
    }
}

/// A name as it is registered: the suffix is added when it is written.
fn without<'a>(suffix: &str, name: &'a str) -> &'a str {
    name.strip_suffix(suffix).unwrap_or(name)
}
