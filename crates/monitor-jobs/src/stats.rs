//! What has happened, as numbers to be scraped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Mutex, lock};
use crate::{Baseline, Outcome, Rescued, Settled, StoreErrorKind};

/// Upper bounds of the buckets, in seconds; a last one has no bound.
pub const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Durations by bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each of [`BUCKETS`] and no earlier one, and above all.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// The same, as far as a comparison with other times needs it.
    pub samples: Baseline,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())] += 1;
        self.count += 1;
        self.sum += took;
        self.samples.add(seconds);
    }
}

/// Everything counted by one [`Jobs`](crate::Jobs) and whatever was made from it, since its start.
///
/// Metric names in brackets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Registrations that stood (`jobs_registrations_total{result="ok"}`).
    pub registered: u64,
    /// Registrations that did not, by reason (`jobs_registrations_total{result="failed",reason}`).
    pub not_registered: BTreeMap<&'static str, u64>,
    /// Claims that brought something, and that brought nothing.
    pub claims: u64,
    /// Claims that brought nothing.
    pub empty_claims: u64,
    /// Jobs claimed (`jobs_claimed_total`).
    pub claimed: u64,
    /// Claims that met something else, by its kind and whether a repetition helped
    /// (`claim_conflicts_total{kind,recovered}`).
    pub conflicts: BTreeMap<(&'static str, bool), u64>,
    /// Ends of attempts that were accepted, by outcome (`jobs_settled_total{outcome}`).
    pub settled: BTreeMap<&'static str, u64>,
    /// Ends that had been accepted before.
    pub already: u64,
    /// Ends that came too late: the job was another's (`jobs_fenced_total`).
    pub stale: u64,
    /// Jobs that were found in the book of the database and in nobody's hands.
    pub orphans: u64,
    /// Jobs taken from workers that were given up, buried ones included
    /// (`jobs_rescued_total`).
    pub rescued: u64,
    /// Those of them that took too many workers down.
    pub buried: u64,
    /// Workers given up.
    pub workers_given_up: u64,
    /// Edges that a completion left for later (`jobs_released_later_total`).
    pub released_later: u64,
    /// Registrations that ended while they were used (`jobs_registrations_lost_total`).
    pub registrations_lost: u64,
    /// How long claims took in the database (`jobs_claim_seconds`).
    pub claim_seconds: Histogram,
    /// How long claims waited before they were repeated (`jobs_claim_repeat_seconds`).
    pub repeat_seconds: Histogram,
    /// How long ends took, with the release of what waited for them (`jobs_cascade_seconds`).
    pub cascade_seconds: Histogram,
}

/// Where they are counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<Stats>>);

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        lock(&self.0).clone()
    }

    pub(crate) fn registered(&self) {
        lock(&self.0).registered += 1;
    }

    pub(crate) fn not_registered(&self, reason: &'static str) {
        *lock(&self.0).not_registered.entry(reason).or_default() += 1;
    }

    pub(crate) fn claimed(&self, jobs: usize, took: Duration) {
        let mut stats = lock(&self.0);
        stats.claims += u64::from(jobs > 0);
        stats.empty_claims += u64::from(jobs == 0);
        stats.claimed += jobs as u64;
        stats.claim_seconds.add(took);
    }

    pub(crate) fn conflicts(&self, kind: &'static str, recovered: bool, times: u64) {
        *lock(&self.0)
            .conflicts
            .entry((kind, recovered))
            .or_default() += times;
    }

    pub(crate) fn repeated(&self, after: Duration) {
        lock(&self.0).repeat_seconds.add(after);
    }

    pub(crate) fn settled(&self, outcome: &Outcome, settled: Settled) {
        let mut stats = lock(&self.0);
        match settled {
            Settled::Done => {
                let name = crate::kernel::attempts::End::of(outcome).as_str();
                *stats.settled.entry(name).or_default() += 1;
            }
            Settled::Already => stats.already += 1,
            Settled::Stale => stats.stale += 1,
        }
    }

    pub(crate) fn cascade(&self, took: Duration) {
        lock(&self.0).cascade_seconds.add(took);
    }

    pub(crate) fn orphans(&self, jobs: usize) {
        lock(&self.0).orphans += jobs as u64;
    }

    pub(crate) fn registration_lost(&self) {
        lock(&self.0).registrations_lost += 1;
    }

    pub(crate) fn rescued(&self, rescued: Rescued) {
        let mut stats = lock(&self.0);
        stats.rescued += u64::from(rescued.requeued) + u64::from(rescued.buried);
        stats.buried += u64::from(rescued.buried);
        stats.workers_given_up += u64::from(rescued.retired);
    }

    pub(crate) fn released_later(&self, edges: u32) {
        lock(&self.0).released_later += u64::from(edges);
    }
}

/// The name of a kind of failure in metrics.
pub(crate) const fn kind_name(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Transient => "transient",
        StoreErrorKind::Conflict => "conflict",
        StoreErrorKind::Ambiguous => "ambiguous",
        StoreErrorKind::Full => "full",
        StoreErrorKind::Io => "io",
        StoreErrorKind::Denied => "denied",
        StoreErrorKind::Schema => "schema",
        StoreErrorKind::Closed => "closed",
        StoreErrorKind::Fatal => "fatal",
    }
}
