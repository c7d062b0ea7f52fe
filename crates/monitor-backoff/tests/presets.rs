//! The table of all presets: every sequence is printed, and asserted to the millisecond.

use std::time::Duration;

use monitor_backoff::{Jitter, JitterKind, Policy};

/// Waits in milliseconds without jitter, after 0, 1, 2, ... failures.
struct Row {
    preset: &'static str,
    interval_s: u64,
    nominal_ms: [u64; 10],
    /// The window of the last column, which every preset has at its cap.
    last_window_ms: (u64, u64),
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { preset: "gate2", interval_s: 60,
        nominal_ms: [MINUTE, 2000, 5000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000],
        last_window_ms: (8_000, 12_000) },
    Row { preset: "monitor", interval_s: 60,
        nominal_ms: [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, 32 * MINUTE, HOUR, HOUR, HOUR, HOUR],
        last_window_ms: (54 * MINUTE, HOUR) },
    Row { preset: "monitor", interval_s: 1,
        nominal_ms: [1000, 5000, 5000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000],
        last_window_ms: (460_800, 563_200) },
    Row { preset: "monitor", interval_s: 7200,
        nominal_ms: [2 * HOUR; 10],
        last_window_ms: (2 * HOUR, 2 * HOUR) },
    Row { preset: "socket", interval_s: 60,
        nominal_ms: [MINUTE, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000, 10_000],
        last_window_ms: (10_000, 10_000) },
    Row { preset: "mail", interval_s: 300,
        nominal_ms: [300_000, 600_000, 1_200_000, 2_400_000, HOUR, HOUR, HOUR, HOUR, HOUR, HOUR],
        last_window_ms: (48 * MINUTE, HOUR) },
    Row { preset: "jobs_claim", interval_s: 5,
        nominal_ms: [5000, 100, 200, 400, 400, 400, 400, 400, 400, 400],
        last_window_ms: (400, 400) },
    Row { preset: "jobs_retry", interval_s: 5,
        nominal_ms: [5000, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000],
        last_window_ms: (60_000, 60_000) },
    Row { preset: "retry", interval_s: 60,
        nominal_ms: [MINUTE, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000],
        last_window_ms: (0, 10_000) },
    Row { preset: "hardened", interval_s: 60,
        nominal_ms: [MINUTE, 2000, 2000, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, 32 * MINUTE, HOUR, HOUR],
        last_window_ms: (48 * MINUTE, HOUR) },
    Row { preset: "hardened", interval_s: 1,
        nominal_ms: [1000, 1000, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000],
        last_window_ms: (102_400, 153_600) },
    Row { preset: "hardened", interval_s: 7200,
        nominal_ms: [2 * HOUR, 2000, 2000, 2 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR],
        last_window_ms: (2 * HOUR, 2 * HOUR) },
];

/// PRB-9, PRB-10, PRB-35, ROB-42, ROB-44, ROB-45, JOB-5: all sequences of all presets.
#[test]
fn every_preset_has_its_sequence() {
    println!("waits after 0, 1, 2, ... failures, without jitter; then the last one with jitter");
    for row in TABLE {
        let policy = Policy::preset(row.preset).expect("a known preset");
        let interval = Duration::from_secs(row.interval_s);
        let last = policy.range(9, interval);
        let nominal: Vec<_> = (0..10)
            .map(|failures| policy.nominal(failures, interval))
            .collect();
        println!(
            "{:10} every {interval:5?}: {nominal:?}, {last:?}",
            row.preset
        );
        assert_eq!(
            nominal,
            row.nominal_ms.map(Duration::from_millis),
            "{}",
            row.preset
        );
        let (low, high) = row.last_window_ms;
        assert_eq!(
            last,
            Duration::from_millis(low)..=Duration::from_millis(high)
        );
    }
}

#[test]
fn every_name_is_a_valid_preset_and_in_the_table() {
    for name in Policy::PRESETS {
        let policy = Policy::preset(name).expect("a known preset");
        assert_eq!(policy.to_builder().build().as_ref(), Ok(&policy), "{name}");
        assert!(
            TABLE.iter().any(|row| row.preset == *name),
            "{name} is not in the table"
        );
    }
    assert!(
        TABLE
            .iter()
            .all(|row| Policy::PRESETS.contains(&row.preset))
    );
    assert_eq!(Policy::preset("gate3"), None);
    assert_eq!(Policy::default(), Policy::hardened());
}

/// PRB-11, ROB-43: which presets spread what, and how far.
#[test]
fn every_preset_has_its_jitter() {
    let jitter = |name| *Policy::preset(name).expect("a known preset").jitter();
    for (name, ratio, normal_interval) in [
        ("gate2", 0.2, true),
        ("monitor", 0.1, true),
        ("mail", 0.2, false),
        ("hardened", 0.2, true),
    ] {
        assert_eq!(jitter(name).ratio(), ratio, "{name}");
        assert_eq!(jitter(name).normal_interval, normal_interval, "{name}");
    }
    assert_eq!(jitter("retry"), Jitter::FULL);
    for name in ["socket", "jobs_claim", "jobs_retry"] {
        assert_eq!(jitter(name).kind, JitterKind::None, "{name}");
    }
}

/// PRB-11: the windows of the 2 s, 5 s and 10 s steps, and of the normal interval.
#[test]
fn gate2_windows_are_exactly_twenty_percent_wide_on_each_side() {
    let policy = Policy::gate2();
    for (failures, low_ms, high_ms) in [
        (0, 48_000, 72_000),
        (1, 1600, 2400),
        (2, 4000, 6000),
        (3, 8000, 12_000),
    ] {
        assert_eq!(
            policy.range(failures, Duration::from_secs(60)),
            Duration::from_millis(low_ms)..=Duration::from_millis(high_ms),
            "after {failures} failures"
        );
    }
}

/// PRB-13: a confirming look comes at the interval at the latest, also after jitter.
#[test]
fn hardened_confirms_quickly_but_never_later_than_the_interval() {
    let policy = Policy::hardened();
    let windows = |interval_ms| {
        [0, 1, 2, 3].map(|failures| {
            let range = policy.range(failures, Duration::from_millis(interval_ms));
            (range.start().as_millis(), range.end().as_millis())
        })
    };
    let minute = [
        (48_000, 72_000),
        (1600, 2400),
        (1600, 2400),
        (96_000, 144_000),
    ];
    assert_eq!(windows(60_000), minute);
    // 2 s + 20 % would be later than an interval of 2.2 s.
    assert_eq!(windows(2200)[1], (1600, 2200));
    assert_eq!(
        windows(1000),
        [(800, 1200), (800, 1000), (800, 1000), (1600, 2400)]
    );
}
