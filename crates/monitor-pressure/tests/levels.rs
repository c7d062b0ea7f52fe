//! Levels, hysteresis and transitions, step by step.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::time::Duration;

use monitor_pressure::{
    Config, Level, Pressure, Reading, Rule, Scope, Source, Thresholds, Transition, Trend, Usage,
};

const MIB: u64 = 1 << 20;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn memory(mib: u64) -> Reading {
    Reading::new(Source::MEMORY, Usage::bytes(mib * MIB, 512 * MIB))
}

fn with(rule: Rule) -> Pressure {
    Pressure::new(Config::builder().rule(rule).build().unwrap())
}

/// The levels of the whole after looks at these numbers of percent, a minute apart.
fn levels(pressure: &mut Pressure, percents: &[u64]) -> Vec<Level> {
    let mut minute = 0;
    let look = |percent: &u64| {
        minute += 1;
        let usage = Usage::count(*percent, 100);
        pressure.observe([Reading::new(Source::THREADS, usage)], secs(60 * minute));
        pressure.level()
    };
    percents.iter().map(look).collect()
}

/// ROB-73: a hard limit of 512 MiB: 511 are fine, 513 act.
#[test]
fn a_hard_limit_acts_beyond_it() {
    let rule = Rule {
        thresholds: Thresholds::AT_LIMIT,
        ..Rule::default()
    };
    let mut pressure = with(rule);
    assert!(pressure.observe([memory(511)], secs(0)).is_empty());
    assert_eq!(pressure.level(), Level::Normal);
    let transitions = pressure.observe([memory(513)], secs(60));
    assert_eq!(pressure.level(), Level::Critical);
    assert_eq!(
        transitions[1].to_string(),
        "pressure normal -> critical by memory: 513.0 MiB of 512.0 MiB"
    );
}

/// ROB-73: the levels are at 60, 80 and 95 % of the limit, to the byte.
#[test]
fn the_levels_are_at_sixty_eighty_and_ninety_five_percent() {
    let limit = 512 * MIB;
    for (percent, below, at) in [
        (60, Level::Normal, Level::Elevated),
        (80, Level::Elevated, Level::Degraded),
        (95, Level::Degraded, Level::Critical),
    ] {
        let edge = (limit * percent).div_ceil(100);
        for (used, level) in [(edge - 1, below), (edge, at)] {
            let mut pressure = Pressure::new(Config::default());
            let reading = Reading::new(Source::MEMORY, Usage::bytes(used, limit));
            pressure.observe([reading], secs(0));
            assert_eq!(pressure.level(), level, "{used} of {limit}");
        }
    }
}

/// ROB-82: up at once; down by one level for each two minutes below, so that all comes back.
#[test]
fn up_at_once_and_down_in_steps() {
    use Level::{Critical, Degraded, Elevated, Normal};
    let mut pressure = Pressure::new(Config::default());
    let seen = levels(&mut pressure, &[10, 99, 10, 10, 10, 10, 10, 10, 10, 10]);
    let expected = [
        Normal, Critical, Critical, Critical, Degraded, Degraded, Elevated, Elevated, Normal,
        Normal,
    ];
    assert_eq!(seen, expected);
}

/// ROB-82: a usage that swings around a threshold by less than the margin changes the level once.
#[test]
fn no_flapping_on_the_edge() {
    let mut pressure = Pressure::new(Config::default());
    let swing: Vec<u64> = (0..1000)
        .map(|at| if at % 2 == 0 { 60 } else { 55 })
        .collect();
    let seen = levels(&mut pressure, &swing);
    assert!(seen.iter().all(|level| *level == Level::Elevated));
    assert_eq!(
        pressure.snapshot().sequence,
        2,
        "one change, of the source and of the whole"
    );
}

/// ROB-82: one reading that is high again begins the wait anew.
#[test]
fn a_fall_needs_every_reading() {
    let mut pressure = Pressure::new(Config::default());
    let seen = levels(&mut pressure, &[61, 10, 10, 56, 10, 10, 10]);
    let expected = [[Level::Elevated; 6].as_slice(), &[Level::Normal]].concat();
    assert_eq!(seen, expected);
}

/// ROB-77: where a moment's excess is no reason, the level rises when every reading asks for it,
/// to the least that was asked for.
#[test]
fn a_rise_can_be_made_to_wait() {
    let rule = Rule {
        hold_up: secs(120),
        ..Rule::default()
    };
    let mut pressure = with(rule);
    let seen = levels(&mut pressure, &[99, 10, 99, 85, 99]);
    let expected = [[Level::Normal; 4].as_slice(), &[Level::Degraded]].concat();
    assert_eq!(seen, expected);
}

/// ROB-77: the worst source decides, is named as the cause, and no other.
#[test]
fn the_cause_is_named() {
    let mut pressure = Pressure::new(Config::default());
    let looked = [
        memory(100),
        Reading::new(Source::DESCRIPTORS, Usage::count(1024, 1024)),
        Reading::new(Source::pool("db"), Usage::count(7, 10)),
        Reading::new(Source::QUEUE_AGE, Usage::time(secs(9), secs(10))),
    ];
    let transitions = pressure.observe(looked, secs(1));
    let told: Vec<_> = transitions.iter().map(Transition::to_string).collect();
    assert_eq!(
        told,
        [
            "descriptors normal -> critical: 1024 of 1024",
            "pool:db normal -> elevated: 7 of 10",
            "queue_age normal -> degraded: 9s of 10s",
            "pressure normal -> critical by descriptors: 1024 of 1024",
        ]
    );
    let snapshot = pressure.snapshot();
    let causes: Vec<_> = snapshot
        .causes()
        .map(|cause| cause.source.as_str())
        .collect();
    assert_eq!(causes, ["descriptors"]);
}

/// ROB-82: one source up and another down in the same look is one change of the whole at most.
#[test]
fn the_whole_changes_once_per_look() {
    let rule = Rule {
        hold_down: Duration::ZERO,
        ..Rule::default()
    };
    let mut pressure = with(rule);
    let pool = |used| Reading::new(Source::pool("db"), Usage::count(used, 100));
    pressure.observe([memory(330), pool(10)], secs(0));
    let transitions = pressure.observe([memory(10), pool(61)], secs(60));
    let scopes: Vec<_> = transitions
        .iter()
        .map(|transition| transition.scope)
        .collect();
    assert_eq!(scopes, [Scope::Source, Scope::Source], "still elevated");
    assert_eq!(pressure.level(), Level::Elevated);
}

/// ROB-77: a source that cannot be read keeps its level and says why; it is given up in the end,
/// and that is told.
#[test]
fn a_source_that_is_not_seen_keeps_its_level_for_a_while() {
    let mut pressure = Pressure::new(Config::default());
    pressure.observe([memory(500)], secs(0));
    for at in [60, 120, 180, 240, 299] {
        let failed = Reading::failed(Source::MEMORY, "permission denied");
        assert!(pressure.observe([failed], secs(at)).is_empty());
        let snapshot = pressure.snapshot();
        assert_eq!(snapshot.level, Level::Critical);
        let seen = &snapshot.sources[0];
        assert_eq!(seen.problem.as_deref(), Some("permission denied"));
        assert_eq!(seen.age, Some(secs(at)));
    }
    let transitions = pressure.observe([], secs(300));
    assert_eq!(
        transitions[0].to_string(),
        "memory critical -> normal: not seen any more"
    );
    assert_eq!(pressure.level(), Level::Normal);
    assert!(pressure.snapshot().sources.is_empty());
}

/// ROB-82: what was read before a gap says nothing about the time in it.
#[test]
fn a_gap_is_no_time_below() {
    let mut pressure = Pressure::new(Config::default());
    pressure.observe([memory(500)], secs(0));
    pressure.observe([memory(10)], secs(60));
    pressure.observe([memory(10)], secs(10_000));
    assert_eq!(pressure.level(), Level::Critical);
}

/// ROB-77: a leak shows as a trend, and when it will be too late.
#[test]
fn a_leak_shows_before_it_hurts() {
    let mut pressure = Pressure::new(Config::default());
    for minute in 0..60 {
        let leaking = memory(100 + minute * 6);
        let steady = Reading::new(Source::THREADS, Usage::count(10, 100));
        let freed = Reading::new(Source::pool("db"), Usage::count(600 - minute * 10, 600));
        pressure.observe([leaking, steady, freed], secs(60 * minute));
    }
    let snapshot = pressure.snapshot();
    let trends: Vec<_> = snapshot.sources.iter().map(|seen| seen.trend).collect();
    assert_eq!(trends, [Trend::Rising, Trend::Falling, Trend::Steady]);
    // 58 MiB are left of 512, at 6 MiB a minute.
    let left = snapshot.sources[0].until_limit.unwrap();
    assert!((secs(9 * 60)..secs(11 * 60)).contains(&left), "{left:?}");
    assert_eq!(snapshot.sources[1].until_limit, None);
}

/// ROB-76: names without end do not become memory without end.
#[test]
fn more_sources_than_anyone_has_are_dropped_and_counted() {
    let mut pressure = Pressure::new(Config::default());
    let named = |at: u32| Reading::new(Source::from(format!("made-up-{at}")), Usage::count(9, 9));
    pressure.observe((0..5000).map(named), secs(0));
    let snapshot = pressure.snapshot();
    assert_eq!(
        (snapshot.sources.len(), snapshot.dropped),
        (1024, 5000 - 1024)
    );
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut pressure = Pressure::new(Config::default());
    pressure.observe([memory(500)], secs(1000));
    pressure.observe([memory(10)], secs(0));
    pressure.observe([memory(10)], secs(1));
    assert_eq!(pressure.level(), Level::Critical);
    assert_eq!(pressure.snapshot().sources[0].age, Some(secs(0)));
}

#[test]
fn a_limit_of_nothing_is_reached() {
    let mut pressure = Pressure::new(Config::default());
    pressure.observe([Reading::new(Source::THREADS, Usage::count(0, 0))], secs(0));
    assert_eq!(pressure.level(), Level::Critical);
    assert_eq!(Usage::count(0, 0).ratio(), 1.0);
}

/// ROB-83: only critical is a reason not to be ready.
#[test]
fn only_critical_is_not_ready() {
    let ready = Level::ALL.map(Level::is_ready);
    assert_eq!(ready, [true, true, true, false]);
    let names = Level::ALL.map(Level::as_str);
    assert_eq!(names, ["normal", "elevated", "degraded", "critical"]);
}
