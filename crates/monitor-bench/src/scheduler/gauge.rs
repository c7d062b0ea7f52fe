//! What is seen of timers that fire, from when all are set and warm until the time is over.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::noise::process_cpu;

/// How many timers, how often each fires, and for how long they are watched after how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) keys: u32,
    pub(super) period_ms: u64,
    /// From when all are set.
    pub(super) warm_up: Duration,
    pub(super) watched: Duration,
}

/// Counts firings and how late they are.
pub(super) struct Gauge {
    pub(super) load: Load,
    origin: Instant,
    window: OnceLock<(Instant, Instant)>,
    /// So many for each 32 µs of lateness, up to 131 ms.
    late: Vec<AtomicU64>,
    worst_us: AtomicU64,
    /// The processor time when the window opened, and when it closed.
    opened: OnceLock<Duration>,
    closed: OnceLock<Duration>,
}

/// What was seen in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) fired: u64,
    pub(super) cpu: Duration,
    pub(super) late_p50_us: u64,
    pub(super) late_p99_us: u64,
    pub(super) late_max_us: u64,
}

impl Gauge {
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            origin: Instant::now(),
            window: OnceLock::new(),
            late: (0..4096).map(|_| AtomicU64::new(0)).collect(),
            worst_us: AtomicU64::new(0),
            opened: OnceLock::new(),
            closed: OnceLock::new(),
        }
    }

    /// Sets all timers: each at its place in a period that begins when that is done, as it is hoped.
    pub(super) fn insert(&self, mut set: impl FnMut(u32, u64)) {
        let since_ms = self.now_ms() + self.load.period_ms / 5;
        for key in 0..self.load.keys {
            set(key, since_ms + spread(key, self.load.period_ms));
        }
        let opens = self.instant(since_ms).max(Instant::now()) + self.load.warm_up;
        let _ = self.window.set((opens, opens + self.load.watched));
    }

    /// A timer that was due then has fired.
    pub(super) fn fired(&self, due: Instant) {
        let now = Instant::now();
        let Some((opens, closes)) = self.window.get() else {
            return;
        };
        if now < *opens || now >= *closes {
            return;
        }
        let late = now.saturating_duration_since(due).as_micros();
        let late_us = u64::try_from(late).unwrap_or(u64::MAX);
        let bucket = usize::try_from(late_us / 32).map_or(4095, |bucket| bucket.min(4095));
        self.late[bucket].fetch_add(1, Ordering::Relaxed);
        if late_us > self.worst_us.load(Ordering::Relaxed) {
            self.worst_us.fetch_max(late_us, Ordering::Relaxed);
        }
    }

    /// Whether the window has closed. Takes the processor time when it opens and when it closes:
    /// to be asked all the time.
    pub(super) fn is_over(&self) -> bool {
        let Some((opens, closes)) = self.window.get() else {
            return false;
        };
        let now = Instant::now();
        if now >= *opens {
            self.opened.get_or_init(process_cpu);
        }
        if now >= *closes {
            self.closed.get_or_init(process_cpu);
        }
        now >= *closes
    }

    /// Waits until the window has closed, while others fire.
    pub(super) fn wait(&self) {
        while !self.is_over() {
            let bounds = self.window.get().map(|(opens, closes)| [*opens, *closes]);
            let next = bounds.into_iter().flatten().find(|at| *at > Instant::now());
            thread::sleep(next.map_or(Duration::ZERO, |at| at - Instant::now()));
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn instant(&self, ms: u64) -> Instant {
        self.origin + Duration::from_millis(ms)
    }

    pub(super) fn sleep_until(&self, ms: u64) {
        thread::sleep(self.instant(ms).saturating_duration_since(Instant::now()));
    }

    /// What was seen. The window is closed.
    pub(super) fn seen(&self) -> Seen {
        let cpu = self.opened.get().zip(self.closed.get());
        Seen {
            fired: self.late.iter().map(|n| n.load(Ordering::Relaxed)).sum(),
            cpu: cpu.map_or(Duration::ZERO, |(opened, closed)| *closed - *opened),
            late_p50_us: self.quantile_us(0.5),
            late_p99_us: self.quantile_us(0.99),
            late_max_us: self.worst_us.load(Ordering::Relaxed),
        }
    }

    fn quantile_us(&self, quantile: f64) -> u64 {
        let counts = || self.late.iter().map(|count| count.load(Ordering::Relaxed));
        let wanted = (counts().sum::<u64>() as f64 * quantile) as u64;
        let mut seen = 0;
        for (bucket, count) in counts().enumerate() {
            seen += count;
            if seen > wanted {
                return (bucket as u64 + 1) * 32;
            }
        }
        0
    }
}

/// Where in its period a key fires.
pub(super) fn spread(key: u32, period_ms: u64) -> u64 {
    (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % period_ms
}
