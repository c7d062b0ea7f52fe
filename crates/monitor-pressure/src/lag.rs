//! The event-loop lag of a tokio runtime: a timer that looks how late it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};

use crate::{Lag, lateness::Lateness};

/// Measures how late the timers of a runtime fire, by a task with nothing else to do.
///
/// The task ends when the probe is dropped.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_pressure::LagProbe;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let probe = LagProbe::spawn(Duration::from_millis(100));
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// let lag = probe.take();
/// assert!(lag.samples >= 599 && lag.mean.is_zero());
/// # }
/// ```
#[derive(Debug)]
pub struct LagProbe {
    origin: Instant,
    lateness: Arc<Mutex<Lateness>>,
    task: JoinHandle<()>,
}

impl LagProbe {
    /// A timer of this period and not below a millisecond, which is what tokio's timers resolve.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without timers.
    #[must_use]
    pub fn spawn(period: Duration) -> Self {
        let period = period.max(Duration::from_millis(1));
        let origin = Instant::now();
        let lateness = Arc::new(Mutex::new(Lateness::new(period)));
        let shared = Arc::clone(&lateness);
        let task = tokio::spawn(async move {
            let mut next = period;
            loop {
                tokio::time::sleep_until(origin + next).await;
                let now = origin.elapsed();
                next = now + period;
                let mut lateness = shared.lock().unwrap_or_else(PoisonError::into_inner);
                lateness.fired(now, next);
            }
        });
        Self {
            origin,
            lateness,
            task,
        }
    }

    /// Returns what was measured since the last call. A timer that is overdue now counts as far as
    /// it is, so a runtime that stands still is seen from another thread.
    pub fn take(&self) -> Lag {
        let now = self.origin.elapsed();
        let mut lateness = self.lateness.lock().unwrap_or_else(PoisonError::into_inner);
        lateness.take(now)
    }
}

impl Drop for LagProbe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// ROB-77: a loop that is held up is late by as much.
    #[tokio::test(start_paused = true)]
    async fn a_held_up_loop_is_late_by_as_much() {
        let probe = LagProbe::spawn(ms(100));
        tokio::time::sleep(ms(1_050)).await;
        let idle = probe.take();
        assert_eq!((idle.samples, idle.max), (10, ms(0)));
        // Time passes and nobody gets to run: the timer of 1100 ms is 250 ms late.
        tokio::time::advance(ms(300)).await;
        assert_eq!(probe.take().max, ms(250));
        tokio::time::sleep(ms(1_000)).await;
        assert_eq!(
            probe.take().max,
            ms(0),
            "the same lateness is not told twice"
        );
    }

    /// ROB-79, STB-4: the task ends with its probe.
    #[tokio::test(start_paused = true)]
    async fn no_task_is_left() {
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        let probe = LagProbe::spawn(ms(100));
        assert_eq!(tasks(), before + 1);
        drop(probe);
        tokio::task::yield_now().await;
        assert_eq!(tasks(), before);
    }
}
