//! How busy the machine was with the work of others meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// The counters at one instant.
pub(crate) struct Noise {
    at: Instant,
    own: Duration,
    busy: Duration,
    stolen: Duration,
}

impl Noise {
    pub(crate) fn start() -> Self {
        let (busy, stolen) = machine().unwrap_or_default();
        Self {
            at: Instant::now(),
            own: process_cpu(),
            busy,
            stolen,
        }
    }

    /// How many processors others kept busy since, and how many the host took away.
    pub(crate) fn since(&self) -> (f64, f64) {
        let now = Self::start();
        let (seconds, own) = ((now.at - self.at).as_secs_f64(), now.own - self.own);
        let foreign = (now.busy - self.busy).saturating_sub(own);
        let stolen = now.stolen - self.stolen;
        (
            foreign.as_secs_f64() / seconds,
            stolen.as_secs_f64() / seconds,
        )
    }
}

/// The processor time of this process.
pub(crate) fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

/// The processor time of the current thread.
pub(crate) fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The busy and the stolen time of all processors since the start of the machine.
fn machine() -> Option<(Duration, Duration)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal, ...
    let [user, nice, system, _, _, irq, softirq, steal, ..] = *fields else {
        return None;
    };
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Some((time(user + nice + system + irq + softirq), time(steal)))
}
