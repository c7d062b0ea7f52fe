//! Alerts that rise with the persistence of a trouble.

use std::time::Duration;

use monitor_fault::{AlertChange, AlertStep, Category, Escalation, Policies, policy_for};
use proptest::prelude::*;

const fn mins(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The level that is told, if one is.
fn level(change: Option<AlertChange>) -> Option<usize> {
    match change {
        Some(AlertChange::Raised { level, .. }) => Some(level),
        _ => None,
    }
}

/// ROB-65: level 1 with the third failure, level 2 after 15 minutes, level 3 after an hour, and
/// the end; all by a clock that is a number.
#[test]
fn a_timeline() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    assert_eq!(alert.failure(mins(0), Category::Network, &policies), None);
    assert_eq!(alert.next_at(&policies), None, "it needs more failures");
    assert_eq!(alert.failure(mins(1), Category::Network, &policies), None);
    let first = alert.failure(mins(2), Category::Network, &policies);
    let expected = AlertChange::Raised {
        from: 0,
        level: 1,
        category: Category::Network,
        failures: 3,
        lasted: mins(2),
    };
    assert_eq!(first, Some(expected));
    assert_eq!(alert.next_at(&policies), Some(mins(15)));
    assert_eq!(alert.tick(mins(14), &policies), None);
    assert_eq!(level(alert.tick(mins(15), &policies)), Some(2));
    assert_eq!(alert.tick(mins(15), &policies), None, "told once");
    assert_eq!(level(alert.tick(mins(60), &policies)), Some(3));
    assert_eq!(alert.next_at(&policies), None, "there is no more");
    let resolved = AlertChange::Resolved {
        level: 3,
        lasted: mins(61),
    };
    assert_eq!(alert.success(mins(61)), Some(resolved));
    assert_eq!(alert.success(mins(62)), None, "it is over once");
    assert_eq!(alert, Escalation::new());
}

/// ROB-59, ROB-60: what waiting cannot better is told at once, also in the middle of another
/// trouble; a refused password is confirmed by its one retry.
#[test]
fn urgent_categories_are_told_at_once() {
    let policies = Policies::default();
    for category in [
        Category::Authentication,
        Category::Configuration,
        Category::Certificate,
    ] {
        let mut alert = Escalation::new();
        assert_eq!(level(alert.failure(mins(0), category, &policies)), Some(1));
    }
    let mut alert = Escalation::new();
    assert_eq!(alert.failure(mins(0), Category::Network, &policies), None);
    let told = alert.failure(mins(1), Category::Authentication, &policies);
    assert_eq!(level(told), Some(2), "two failures in a row");
    // The trouble is no younger with another face.
    let told = alert.failure(mins(16), Category::Network, &policies);
    assert_eq!(told, None, "level 2 has been told");
    assert_eq!(level(alert.tick(mins(60), &policies)), Some(3));
}

/// ROB-65: a prober that is out of something counts apart from the target, whose one failure
/// after it is no third.
#[test]
fn the_probers_own_failures_count_apart() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    for minute in 0..2 {
        let told = alert.failure(mins(minute), Category::Resource, &policies);
        assert_eq!(told, None);
    }
    assert_eq!(alert.failure(mins(2), Category::Network, &policies), None);
    let told = alert.failure(mins(3), Category::Resource, &policies);
    let expected = AlertChange::Raised {
        from: 0,
        level: 1,
        category: Category::Resource,
        failures: 3,
        lasted: mins(3),
    };
    assert_eq!(told, Some(expected));
}

/// ROB-65: who has acknowledged hears no more of it, but hears of the next trouble.
#[test]
fn acknowledged() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    assert!(!alert.acknowledge(), "there is nothing to acknowledge");
    assert_eq!(
        level(alert.failure(mins(0), Category::Certificate, &policies)),
        Some(1)
    );
    assert!(alert.acknowledge());
    assert_eq!(alert.next_at(&policies), None);
    assert_eq!(alert.tick(mins(100_000), &policies), None);
    assert!(matches!(
        alert.success(mins(100_001)),
        Some(AlertChange::Resolved { level: 1, .. })
    ));
    let next = alert.failure(mins(100_002), Category::Certificate, &policies);
    assert_eq!(level(next), Some(1));
}

/// ROB-65: silence delays what is reached in it, and what ends in it was never told.
#[test]
fn silenced() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    alert.silence(mins(30));
    assert_eq!(
        alert.failure(mins(0), Category::Configuration, &policies),
        None
    );
    assert_eq!(alert.success(mins(1)), None, "nobody was told");
    assert_eq!(
        alert.failure(mins(2), Category::Configuration, &policies),
        None
    );
    assert_eq!(alert.next_at(&policies), Some(mins(30)));
    assert_eq!(alert.tick(mins(29), &policies), None);
    assert_eq!(level(alert.tick(mins(30), &policies)), Some(1));
}

/// What is never told is never told: the check was called off.
#[test]
fn called_off() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    for minute in 0..100 {
        assert_eq!(
            alert.failure(mins(minute), Category::Cancelled, &policies),
            None
        );
    }
    assert_eq!((alert.since(), alert.success(mins(100))), (None, None));
}

/// One thing that happens, some seconds after the one before.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Failure(Category),
    Success,
    Tick,
    TickWhenDue,
    Acknowledge,
    SilenceFor(u64),
}

fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let category = (0..Category::ALL.len()).prop_map(|index| Category::ALL[index]);
    let what = prop_oneof![
        8 => category.prop_map(Happens::Failure),
        1 => Just(Happens::Success),
        3 => Just(Happens::Tick),
        3 => Just(Happens::TickWhenDue),
        1 => Just(Happens::Acknowledge),
        1 => (0u64..4000).prop_map(Happens::SilenceFor),
    ];
    (0u64..1200, what)
}

/// All that happened since the last success, from which every answer can be told anew.
#[derive(Debug, Default)]
struct Story {
    target: Vec<(Duration, Category)>,
    own: Vec<(Duration, Category)>,
    told: usize,
    is_acknowledged: bool,
    silent_until: Duration,
}

impl Story {
    /// The level by definition: the steps of the last category that hold, without a gap.
    fn level(&self, now: Duration, policies: &Policies) -> usize {
        let of = |side: &Vec<(Duration, Category)>| {
            let (Some((first, _)), Some((_, last))) = (side.first(), side.last()) else {
                return 0;
            };
            let holds = |step: &AlertStep| {
                side.len() >= step.failures as usize && now >= *first + step.after
            };
            let steps = &policies.get(*last).alerts;
            steps
                .iter()
                .position(|step| !holds(step))
                .unwrap_or(steps.len())
        };
        of(&self.target).max(of(&self.own))
    }

    /// What a tick tells.
    fn tick(&mut self, now: Duration, policies: &Policies) -> Option<usize> {
        let level = self.level(now, policies);
        if self.is_acknowledged || now < self.silent_until || level <= self.told {
            return None;
        }
        self.told = level;
        Some(level)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// INV-FAULT-2, ROB-65: in any story each level is told once, rising, exactly when its step
    /// holds, nothing due is forgotten, and an end is told to whom anything was told.
    #[test]
    fn inv_fault_2_levels_rise_and_are_told_once(
        story in proptest::collection::vec(happens(), 0..60),
    ) {
        let policies = Policies::default();
        let (mut alert, mut model) = (Escalation::new(), Story::default());
        let mut now = Duration::ZERO;
        for (seconds, what) in story {
            now += Duration::from_secs(seconds);
            match what {
                Happens::Failure(category) => {
                    let side = match category {
                        Category::Cancelled => None,
                        Category::Configuration | Category::Resource | Category::Internal => {
                            Some(&mut model.own)
                        }
                        _ => Some(&mut model.target),
                    };
                    if let Some(side) = side {
                        side.push((now, category));
                    }
                    let told = alert.failure(now, category, &policies);
                    prop_assert_eq!(level(told), model.tick(now, &policies));
                }
                Happens::Success => {
                    let resolved = alert.success(now);
                    prop_assert_eq!(resolved.is_some(), model.told > 0);
                    model = Story { silent_until: model.silent_until, ..Story::default() };
                }
                Happens::Tick => {
                    prop_assert_eq!(level(alert.tick(now, &policies)), model.tick(now, &policies));
                }
                Happens::TickWhenDue => {
                    if let Some(due) = alert.next_at(&policies).filter(|due| *due > now) {
                        let before = due - Duration::from_nanos(1);
                        prop_assert_eq!(alert.tick(before, &policies), None);
                        let told = level(alert.tick(due, &policies));
                        prop_assert!(told.is_some(), "nothing to tell at {:?}", due);
                        prop_assert_eq!(told, model.tick(due, &policies));
                        now = due;
                    }
                }
                Happens::Acknowledge => {
                    let troubled = !model.target.is_empty() || !model.own.is_empty();
                    prop_assert_eq!(alert.acknowledge(), troubled);
                    model.is_acknowledged = troubled;
                }
                Happens::SilenceFor(seconds) => {
                    model.silent_until = now + Duration::from_secs(seconds);
                    alert.silence(model.silent_until);
                }
            }
            prop_assert_eq!(alert.level(), model.told);
            // Nothing more to come means that no wait brings anything.
            if alert.next_at(&policies).is_none() {
                let never = now + Duration::from_secs(1 << 40);
                prop_assert_eq!(alert.clone().tick(never, &policies), None);
            }
        }
    }
}

/// A clock that jumps back makes a trouble younger, and neither panics nor tells twice.
#[test]
fn a_clock_that_jumps_back() {
    let policies = Policies::default();
    let mut alert = Escalation::new();
    for _ in 0..3 {
        alert.failure(mins(100), Category::Network, &policies);
    }
    assert_eq!(level(alert.tick(mins(115), &policies)), Some(2));
    assert_eq!(alert.tick(mins(1), &policies), None);
    assert_eq!(alert.tick(mins(115), &policies), None);
    assert!(matches!(
        alert.success(mins(0)),
        Some(AlertChange::Resolved {
            level: 2,
            lasted: Duration::ZERO
        })
    ));
    assert_eq!(alert.failure(Duration::MAX, Category::Dns, &policies), None);
    assert_eq!(policy_for(Category::Dns).level(u32::MAX, Duration::MAX), 3);
}
