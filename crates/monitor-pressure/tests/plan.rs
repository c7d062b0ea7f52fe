//! What is done at which level.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::time::Duration;

use monitor_pressure::{Config, Level, Measure, Plan, Pressure, Priority, Reading, Source, Usage};

const MINUTE: Duration = Duration::from_secs(60);

/// ROB-81, ROB-82: low priority first, twice, then four times as seldom, then not at all; what is
/// critical goes on.
#[test]
fn low_priority_gives_way_first() {
    let plan = Plan::default();
    let intervals = |level| {
        Priority::ALL.map(|priority| {
            let interval = plan.measure(level, priority).interval(MINUTE);
            interval.map(|interval| interval.as_secs() / 60)
        })
    };
    let seen = Level::ALL.map(intervals);
    let expected = [
        [Some(1), Some(1), Some(1)],
        [Some(2), Some(1), Some(1)],
        [Some(4), Some(2), Some(1)],
        [None, Some(4), Some(1)],
    ];
    assert_eq!(seen, expected);
}

/// ROB-81: critical work has no measure in any plan, and is in no decision.
#[test]
fn inv_pressure_4_critical_work_is_never_touched() {
    for plan in [Plan::default(), Plan::ONLY_CRITICAL] {
        for level in Level::ALL {
            assert_eq!(plan.measure(level, Priority::Critical), Measure::Keep);
        }
    }
    let suspended = Plan::ONLY_CRITICAL.measure(Level::Critical, Priority::Normal);
    assert_eq!(suspended, Measure::Suspend);
}

/// ROB-82: each change of what is done is said once, with its cause, on the way up and down.
#[test]
fn nothing_is_suspended_or_resumed_without_a_word() {
    let (plan, mut pressure) = (Plan::default(), Pressure::new(Config::default()));
    let mut told = Vec::new();
    for (minute, used) in [50, 70, 99, 10, 10, 10, 10, 10, 10, 10]
        .into_iter()
        .enumerate()
    {
        let reading = Reading::new(Source::THREADS, Usage::count(used, 100));
        let transitions = pressure.observe([reading], MINUTE * minute as u32);
        let decisions = transitions
            .iter()
            .flat_map(|transition| plan.decide(transition));
        told.extend(decisions.map(|decision| decision.to_string()));
    }
    assert_eq!(
        told,
        [
            "optional work: keep -> stretch x2, pressure normal -> elevated by threads: 70 of 100",
            "optional work: stretch x2 -> suspend, pressure elevated -> critical by threads: \
             99 of 100",
            "normal work: keep -> stretch x4, pressure elevated -> critical by threads: 99 of 100",
            "optional work: suspend -> stretch x4, pressure critical -> degraded by threads: \
             10 of 100",
            "normal work: stretch x4 -> stretch x2, pressure critical -> degraded by threads: \
             10 of 100",
            "optional work: stretch x4 -> stretch x2, pressure degraded -> elevated by threads: \
             10 of 100",
            "normal work: stretch x2 -> keep, pressure degraded -> elevated by threads: 10 of 100",
            "optional work: stretch x2 -> keep, pressure elevated -> normal by threads: 10 of 100",
        ]
    );
}

/// ROB-82: a plan that contradicts itself is refused with both names.
#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let refused = |optional, normal| Plan::new(optional, normal).unwrap_err().to_string();
    let (keep, twice, stop) = (Measure::Keep, Measure::stretch(2), Measure::Suspend);
    assert_eq!(
        refused([twice, keep, stop], [keep; 3]),
        "optional.elevated is stretch x2 and optional.degraded is keep: \
         a higher level must not take less away"
    );
    assert_eq!(
        refused([keep, keep, twice], [keep, keep, stop]),
        "normal.critical is suspend and optional.critical is stretch x2: \
         optional work gives way before normal work"
    );
    assert!(Plan::new([keep, twice, stop], [keep, twice, stop]).is_ok());
}

#[test]
fn stretching_saturates() {
    let long = Measure::stretch(u32::MAX).interval(Duration::MAX);
    assert_eq!(long, Some(Duration::MAX));
    assert_eq!(Measure::stretch(0), Measure::Keep);
    assert_eq!(Measure::stretch(1), Measure::Keep);
}
