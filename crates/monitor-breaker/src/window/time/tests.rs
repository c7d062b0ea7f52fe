//! The time window against a list of calls, and its models.

use std::time::Duration;

use super::*;

const GOOD: Record = Record {
    failed: false,
    slow: false,
};
const FAILED: Record = Record {
    failed: true,
    slow: false,
};

/// A window of 16 s, hence ticks of 1 s.
const SPAN: Duration = Duration::from_secs(TICKS as u64);

#[cfg(not(monitor_loom))]
mod sequential {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// ROB-13: INV-BREAKER-7: the counts are those of the calls of the last 16 ticks, whatever
        /// the number of shards and however long nobody called.
        #[test]
        fn inv_breaker_7_the_counts_are_those_of_the_last_ticks(
            shards in 1_usize..5,
            calls in prop::collection::vec(
                (0_u64..3000, any::<bool>(), any::<bool>(), 0_usize..8), 0..200),
            idle in 0_u64..40_000,
            clear in prop::option::of(0_usize..200),
        ) {
            let window = TimeWindow::new(SPAN, shards);
            let (mut millis, mut list) = (0, Vec::new());
            for (index, (wait, failed, slow, thread)) in calls.into_iter().enumerate() {
                millis += wait;
                if clear == Some(index) {
                    window.clear(index as u64);
                    list.clear();
                }
                let now = Duration::from_millis(millis);
                let call = Record { failed, slow };
                prop_assert_eq!(window.record(thread, now, call, || true), Recorded::Counted);
                list.push((millis / 1000, failed, slow));
                prop_assert_eq!(window.counts(now), of_list(&list, millis), "INV-BREAKER-7");
            }
            millis += idle;
            let counts = window.counts(Duration::from_millis(millis));
            prop_assert_eq!(counts, of_list(&list, millis), "INV-BREAKER-7");
        }

        /// ROB-13: a tick begins where it should, at any span and age.
        #[test]
        fn ticks_have_the_right_length(millis in 16_u64..86_400_000, tick in 0_u32..100_000) {
            let window = TimeWindow::new(Duration::from_millis(millis), 1);
            let length = Duration::from_millis(millis).as_nanos() as u64 / TICKS as u64;
            let start = Duration::from_nanos(length) * tick;
            prop_assert_eq!(window.stamp(start), Stamp::of_tick(u64::from(tick)));
        }
    }

    fn of_list(list: &[(u64, bool, bool)], millis: u64) -> Counts {
        let tick = millis / 1000;
        let current = list.iter().filter(|call| call.0 + TICKS as u64 > tick);
        Counts {
            calls: current.clone().count() as u64,
            failures: current.clone().filter(|call| call.1).count() as u64,
            slow_calls: current.filter(|call| call.2).count() as u64,
        }
    }

    /// A record of a tick that has left the window does not disturb the present one.
    #[test]
    fn a_late_record_is_dropped() {
        let window = TimeWindow::new(SPAN, 1);
        let now = SPAN + Duration::from_secs(1);
        window.record(0, now, GOOD, || true);
        window.record(0, now - SPAN, FAILED, || true);
        let only_one = Counts {
            calls: 1,
            ..Counts::default()
        };
        assert_eq!(window.counts(now), only_one);
    }

    /// A clock that jumped far ahead and came back blinds no cell for the time in between.
    #[test]
    fn a_record_from_far_ahead_is_overwritten() {
        let window = TimeWindow::new(SPAN, 1);
        for far in [Duration::from_secs(1 << 20), Duration::MAX] {
            (0..16).for_each(|_| {
                window.record(0, far, FAILED, || true);
            });
            for second in 0..16 {
                window.record(0, Duration::from_secs(second), GOOD, || true);
            }
            let counts = window.counts(Duration::from_secs(15));
            assert_eq!((counts.calls, counts.failures), (16, 0));
            window.clear(1);
        }
    }

    /// INV-BREAKER-7: of an older epoch: nothing is counted.
    #[test]
    fn inv_breaker_7_a_stale_record_changes_nothing() {
        let window = TimeWindow::new(SPAN, 2);
        for call in [GOOD, FAILED] {
            let recorded = window.record(1, Duration::ZERO, call, || false);
            assert_eq!(recorded, Recorded::Stale);
        }
        assert_eq!(window.counts(Duration::ZERO), Counts::default());
    }
}

#[cfg(monitor_loom)]
mod loom {
    use std::sync::Arc;

    use ::loom::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    const ONE_LAP: Duration = SPAN;

    /// B4, ROB-13: INV-BREAKER-7: two threads meet in a cell whose tick has long passed: one turns
    /// it over, the other adds, and neither record is lost or counted among the old ones.
    ///
    /// Breaks when `Cell::add` stores `next` instead of swapping it in.
    #[test]
    fn inv_breaker_7_a_cell_is_turned_over_once() {
        ::loom::model(|| {
            let window = Arc::new(TimeWindow::new(SPAN, 1));
            window.record(0, Duration::ZERO, FAILED, || true);
            let other = {
                let window = Arc::clone(&window);
                thread::spawn(move || window.record(0, ONE_LAP, FAILED, || true))
            };
            window.record(0, ONE_LAP, FAILED, || true);
            other.join().expect("no panic");
            let counts = window.counts(ONE_LAP);
            assert_eq!((counts.calls, counts.failures), (2, 2), "INV-BREAKER-7");
        });
    }

    /// B4: INV-BREAKER-7: a reader never sees a failure without its call, even as the cells are
    /// turned over under it.
    ///
    /// Breaks when `TimeWindow::counts` reads `calls` before `failures`.
    #[test]
    fn inv_breaker_7_no_failure_without_its_call() {
        ::loom::model(|| {
            let window = Arc::new(TimeWindow::new(SPAN, 1));
            window.record(0, Duration::ZERO, FAILED, || true);
            // The writer goes on first, and what the reader then loads may be old: loom would
            // not come back to a place between the writer's load of a cell and its swap.
            let reader = {
                let window = Arc::clone(&window);
                thread::spawn(move || window.counts(Duration::ZERO))
            };
            window.record(0, Duration::ZERO, FAILED, || true);
            let counts = reader.join().expect("no panic");
            assert!(
                (1..=2).contains(&counts.calls) && counts.failures <= counts.calls,
                "INV-BREAKER-7: {counts:?}"
            );
        });
    }

    /// B3, ROB-26: INV-BREAKER-7: a verdict of an epoch that ends meanwhile is not found in the
    /// next one, not even if that has the same tick.
    ///
    /// Breaks when `Cell::add` asks `is_current` before it loads the cell, or when `Cell::clear`
    /// leaves out the epoch.
    #[test]
    fn inv_breaker_7_a_late_verdict_is_not_in_the_next_window() {
        ::loom::model(|| {
            let window = Arc::new(TimeWindow::new(SPAN, 1));
            let epoch = Arc::new(AtomicU64::new(1));
            let late = {
                let (window, epoch) = (Arc::clone(&window), Arc::clone(&epoch));
                thread::spawn(move || {
                    window.record(0, Duration::ZERO, GOOD, || {
                        epoch.load(Ordering::Acquire) == 1
                    })
                })
            };
            // Opens, closes, opens and closes again.
            for next in 2..=3 {
                epoch.store(next, Ordering::Release);
                window.clear(next);
            }
            late.join().expect("no panic");
            assert_eq!(
                window.counts(Duration::ZERO),
                Counts::default(),
                "INV-BREAKER-7"
            );
        });
    }

    /// B5: INV-BREAKER-8: of two threads that count a failure on shards of their own and then sum
    /// up, one sees both: a threshold of two is not missed by both.
    ///
    /// Breaks when `TimeWindow::record_bad` leaves out the fence.
    #[test]
    fn inv_breaker_8_the_last_failure_sees_all() {
        ::loom::model(|| {
            let window = Arc::new(TimeWindow::new(SPAN, 2));
            let fails = |window: &TimeWindow, thread| {
                window.record(thread, Duration::ZERO, FAILED, || true);
                window.counts(Duration::ZERO).failures
            };
            let other = {
                let window = Arc::clone(&window);
                thread::spawn(move || fails(&window, 1))
            };
            let mine = fails(&window, 0);
            let theirs = other.join().expect("no panic");
            assert_eq!(mine.max(theirs), 2, "INV-BREAKER-8");
        });
    }
}
