//! The grid.

use proptest::prelude::*;

use super::super::{grid::Grid, tick::Tick};

proptest! {
    /// Slots lie where the formula in unix time says, seen from any origin.
    #[test]
    fn slots_are_phase_plus_n_intervals_in_unix_time(
        phase in any::<u64>(),
        interval_ms in 100_u32..3_000_000_000,
        origin in 0_u64..4_000_000_000_000,
        at in 0_u64..1_000_000_000_000,
    ) {
        let (grid, interval) = (Grid::of_unix(phase, interval_ms, origin), u64::from(interval_ms));
        let slot = grid.at_or_after(Tick(at));
        prop_assert!(slot.0 >= at && slot.0 - at < interval);
        prop_assert_eq!((slot.0 + origin) % interval, phase % interval);
        prop_assert_eq!(grid.at_or_after(slot), slot);
    }

    /// Slots are counted as by going through them.
    #[test]
    fn slots_are_counted_without_the_end(
        interval_ms in 100_u32..1000,
        from in 0_u64..5000,
        length in 0_u64..9000,
    ) {
        let (grid, interval) = (Grid::of_unix(17, interval_ms, 3), u64::from(interval_ms));
        let first = grid.at_or_after(Tick(from));
        let end = Tick(from + length);
        let slow = (0..).map(|n| first.0 + n * interval).take_while(|slot| *slot < end.0).count();
        prop_assert_eq!(grid.slots(first, end) as usize, slow);
        if slow > 0 {
            let last = first.0 + (slow as u64 - 1) * interval;
            prop_assert_eq!(grid.last(first, slow as u32), Tick(last));
        }
    }
}
