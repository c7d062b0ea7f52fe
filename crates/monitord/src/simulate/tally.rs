//! Counting: what the report is made of.

use monitor_scheduler::MissedReason;

use super::Ms;
use super::audit::Violation;

/// How many columns the plot has.
const BINS: u64 = 240;

/// What came of a simulation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Checks that began.
    pub checks: u64,
    /// How late checks began after the time that their timer was set to.
    pub lag: Lag,
    /// The most checks that ran at once.
    pub peak_concurrency: u64,
    /// Due times that came to nothing, by reason, in the order of [`MissedReason::ALL`].
    pub missed: [u64; MissedReason::ALL.len()],
    /// Due times at which no process ran, between two of them.
    pub not_running: u64,
    /// How checks ended.
    pub outcomes: OutcomeCounts,
    /// What the pools of connections did.
    pub connections: ConnectionCounts,
    /// What went wrong around the prober.
    pub faults: FaultCounts,
    /// The course of it, in pieces of one length.
    pub bins: Vec<Bin>,
    /// How long each piece is, in milliseconds.
    pub bin_ms: u64,
    /// Events that were simulated.
    pub events: u64,
    /// What must not be, the first few.
    pub violations: Vec<Violation>,
    /// How many there were in all.
    pub violations_total: u64,
    /// A hash of all that happened, in order: the same for two runs of one plan.
    pub digest: u64,
}

/// How checks ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomeCounts {
    /// The target answered.
    pub up: u64,
    /// The target failed, or did not answer in time.
    pub down: u64,
    /// The prober cannot tell: it was stalled itself.
    pub unknown: u64,
    /// The breaker was open: nobody looked.
    pub suppressed: u64,
    /// Called off, or refused at the commit, for the monitor had changed.
    pub cancelled: u64,
    /// The check panicked or was given up.
    pub broken: u64,
}

/// What the pools of connections did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionCounts {
    /// Connections handed out.
    pub acquired: u64,
    /// Of those, to checks that had to wait.
    pub after_wait: u64,
    /// Offered to a check that did not come, and taken back for another one.
    pub revoked: u64,
    /// Checks whose deadline came while they waited.
    pub timed_out: u64,
}

/// What went wrong around the prober.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Targets that went down alone.
    pub outages: u64,
    /// Groups of targets that went down together.
    pub group_outages: u64,
    /// Times the driver was held up.
    pub stalls: u64,
    /// Times the process or the machine stood still.
    pub suspends: u64,
    /// Times the wall clock was set.
    pub clock_steps: u64,
    /// Checks by hand.
    pub triggers: u64,
    /// Monitors paused.
    pub pauses: u64,
    /// Monitors edited.
    pub edits: u64,
    /// Monitors deleted.
    pub deletes: u64,
    /// Times a class was slowed down.
    pub paces: u64,
    /// Times the process ended, in order or not, and another one went on.
    pub restarts: u64,
}

/// One piece of the course of a simulation.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Bin {
    /// When it begins, in milliseconds since the start.
    pub from_ms: u64,
    /// How late half of the checks began at most, in milliseconds.
    pub lag_p50_ms: u64,
    /// The same of 99 in 100.
    pub lag_p99_ms: u64,
    /// The latest.
    pub lag_max_ms: u64,
    /// The most checks at once.
    pub peak_concurrency: u64,
    /// Due times that came to nothing.
    pub missed: u64,
    /// Checks that began.
    pub checks: u64,
}

/// How late: a histogram of milliseconds, exact up to 128 and to within one in 64 above.
#[derive(Debug, Clone, Default)]
pub struct Lag {
    counts: Vec<u64>,
    total: u64,
    max: Ms,
}

impl Lag {
    const EXACT: u64 = 128;

    fn add(&mut self, lag: Ms) {
        let index = Self::index(lag);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
        self.max = self.max.max(lag);
    }

    /// 64 steps for each power of two.
    fn index(lag: Ms) -> usize {
        if lag < Self::EXACT {
            return lag as usize;
        }
        let shift = lag.ilog2() - 6;
        (u64::from(shift) * 64 + (lag >> shift)) as usize
    }

    fn lowest(index: usize) -> Ms {
        let index = index as u64;
        if index < Self::EXACT {
            return index;
        }
        let shift = index / 64 - 1;
        (index - shift * 64) << shift
    }

    /// How late this share of the checks began at most, in milliseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts below 2^53, and a share is none below zero"
    )]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Self::lowest(index).min(self.max);
            }
        }
        self.max
    }

    /// The latest, in milliseconds.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.max) = (0, 0);
    }
}

/// Counts as the simulation goes.
pub(super) struct Tally {
    pub(super) checks: u64,
    lag: Lag,
    pub(super) missed: [u64; MissedReason::ALL.len()],
    not_running: u64,
    /// What the processes before this one had counted: checks, and what was missed.
    before: (u64, [u64; MissedReason::ALL.len()]),
    pub(super) outcomes: OutcomeCounts,
    pub(super) connections: ConnectionCounts,
    pub(super) faults: FaultCounts,
    pub(super) events: u64,
    peak: u64,
    bins: Vec<Bin>,
    bin: Bin,
    bin_lag: Lag,
    bin_ms: Ms,
    digest: u64,
}

impl Tally {
    pub(super) fn new(duration: Ms) -> Self {
        Self {
            checks: 0,
            lag: Lag::default(),
            missed: [0; MissedReason::ALL.len()],
            not_running: 0,
            before: (0, [0; MissedReason::ALL.len()]),
            outcomes: OutcomeCounts::default(),
            connections: ConnectionCounts::default(),
            faults: FaultCounts::default(),
            events: 0,
            peak: 0,
            bins: Vec::new(),
            bin: Bin::default(),
            bin_lag: Lag::default(),
            bin_ms: (duration / BINS).max(1),
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// A check began.
    pub(super) fn started(&mut self, key: u32, due: Ms, lag: Ms, running: u64, now: Ms) {
        self.turn_to(now);
        self.checks += 1;
        self.bin.checks += 1;
        self.lag.add(lag);
        self.bin_lag.add(lag);
        self.peak = self.peak.max(running);
        self.bin.peak_concurrency = self.bin.peak_concurrency.max(running);
        self.digest(u64::from(key) << 1, due);
    }

    pub(super) fn missed(&mut self, key: u32, due: Ms, slots: u32, reason: MissedReason, now: Ms) {
        self.turn_to(now);
        let index = MissedReason::ALL.iter().position(|one| *one == reason);
        self.missed[index.unwrap_or_default()] += u64::from(slots);
        self.bin.missed += u64::from(slots);
        self.digest(u64::from(key) << 1 | 1, due);
    }

    /// No process ran.
    pub(super) fn absent(&mut self, slots: u32, now: Ms) {
        self.turn_to(now);
        self.not_running += u64::from(slots);
        self.bin.missed += u64::from(slots);
    }

    /// Checks, and what was missed, since the process started.
    pub(super) fn of_process(&self) -> (u64, [u64; MissedReason::ALL.len()]) {
        let mut missed = self.missed;
        let counts = missed.iter_mut().zip(self.before.1);
        counts.for_each(|(count, before)| *count -= before);
        (self.checks - self.before.0, missed)
    }

    pub(super) fn end_process(&mut self) {
        self.before = (self.checks, self.missed);
    }

    fn digest(&mut self, what: u64, due: Ms) {
        for word in [what, due] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Ends the bins that are over. The last one takes what is left, the end itself included.
    fn turn_to(&mut self, now: Ms) {
        while now >= self.bin.from_ms + self.bin_ms && self.bins.len() + 1 < BINS as usize {
            let from_ms = self.bin.from_ms + self.bin_ms;
            self.end_bin();
            self.bin.from_ms = from_ms;
        }
    }

    fn end_bin(&mut self) {
        let mut bin = std::mem::take(&mut self.bin);
        bin.lag_p50_ms = self.bin_lag.quantile(0.5);
        bin.lag_p99_ms = self.bin_lag.quantile(0.99);
        bin.lag_max_ms = self.bin_lag.max();
        self.bin_lag.clear();
        self.bins.push(bin);
    }

    pub(super) fn report(mut self, violations: Vec<Violation>, violations_total: u64) -> Report {
        self.end_bin();
        Report {
            checks: self.checks,
            lag: self.lag,
            peak_concurrency: self.peak,
            missed: self.missed,
            not_running: self.not_running,
            outcomes: self.outcomes,
            connections: self.connections,
            faults: self.faults,
            bins: self.bins,
            bin_ms: self.bin_ms,
            events: self.events,
            violations,
            violations_total,
            digest: self.digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_in_64() {
        let mut lag = Lag::default();
        for ms in 1..=100_000 {
            lag.add(ms);
        }
        for share in [0.001, 0.01, 0.5, 0.9, 0.99, 1.0] {
            let (exact, told) = (share * 100_000.0, lag.quantile(share) as f64);
            assert!((exact - told).abs() <= exact / 64.0, "{share}: {told}");
        }
        assert_eq!(lag.max(), 100_000);
        assert_eq!(Lag::default().quantile(0.5), 0);
    }
}
