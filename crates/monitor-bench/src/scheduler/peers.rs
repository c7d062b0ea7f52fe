//! The others: what one would write by hand, and wheels and queues of other crates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::quad_wheel::QuadWheelWithOverflow;
use tokio::runtime::{Builder, Runtime};
use tokio_util::time::DelayQueue;

use super::gauge::Gauge;
use super::{Facts, runtime};

fn alone() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .build()
        .expect("a runtime on this thread")
}

/// A task for each key, which sleeps from one firing to the next.
pub(super) fn tasks(gauge: &Arc<Gauge>) -> Facts {
    let runtime = runtime();
    spawn_all(gauge, &runtime);
    gauge.wait();
    Facts::new()
}

pub(super) fn spawn_all(gauge: &Arc<Gauge>, runtime: &Runtime) {
    let period = Duration::from_millis(gauge.load.period_ms);
    gauge.insert(|_, first_ms| {
        let gauge = Arc::clone(gauge);
        runtime.spawn(async move {
            let mut due = gauge.instant(first_ms);
            loop {
                tokio::time::sleep_until(due.into()).await;
                gauge.fired(due);
                due += period;
            }
        });
    });
}

pub(super) fn delay_queue(gauge: &Arc<Gauge>) -> Facts {
    alone().block_on(async {
        let mut queue = DelayQueue::new();
        let period = Duration::from_millis(gauge.load.period_ms);
        gauge.insert(|_, first_ms| {
            let due = gauge.instant(first_ms);
            queue.insert_at(due, due.into());
        });
        while !gauge.is_over() {
            for _ in 0..64 {
                let Some(expired) = poll_fn(|context| queue.poll_expired(context)).await else {
                    return;
                };
                let due = expired.into_inner();
                gauge.fired(due);
                queue.insert_at(due + period, (due + period).into());
            }
        }
    });
    Facts::new()
}

pub(super) fn binary_heap(gauge: &Arc<Gauge>) -> Facts {
    alone().block_on(async {
        let mut heap = BinaryHeap::new();
        gauge.insert(|key, first_ms| heap.push(Reverse((first_ms, key))));
        while !gauge.is_over() {
            let now_ms = gauge.now_ms();
            while let Some(Reverse((due_ms, key))) = heap.peek().copied()
                && due_ms <= now_ms
            {
                heap.pop();
                gauge.fired(gauge.instant(due_ms));
                heap.push(Reverse((due_ms + gauge.load.period_ms, key)));
            }
            if let Some(Reverse((due_ms, _))) = heap.peek() {
                tokio::time::sleep_until(gauge.instant(*due_ms).into()).await;
            }
        }
    });
    Facts::new()
}

pub(super) fn hash_wheel(gauge: &Arc<Gauge>) -> Facts {
    let mut wheel = QuadWheelWithOverflow::<(u32, u64)>::default();
    let mut tick_ms = gauge.now_ms();
    gauge.insert(|key, first_ms| {
        let delay = Duration::from_millis(first_ms - tick_ms);
        drop(wheel.insert_with_delay((key, first_ms), delay));
    });
    while !gauge.is_over() {
        while tick_ms < gauge.now_ms() {
            tick_ms += 1;
            for (key, due_ms) in wheel.tick() {
                gauge.fired(gauge.instant(due_ms));
                let next_ms = due_ms + gauge.load.period_ms;
                let delay = Duration::from_millis(next_ms - tick_ms);
                drop(wheel.insert_with_delay((key, next_ms), delay));
            }
        }
        let skip = match wheel.can_skip() {
            Skip::Millis(ms) => u64::from(ms),
            Skip::None | Skip::Empty => 0,
        };
        gauge.sleep_until(tick_ms + 1 + skip);
    }
    Facts::new()
}
