//! What holds for every history of readings.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::{collections::HashMap, time::Duration};

use monitor_pressure::{
    Config, Decision, Level, Measure, Plan, Pressure, Priority, Reading, Rule, Scope, Source,
    Thresholds, Usage,
};
use proptest::prelude::*;

fn rule() -> impl Strategy<Value = Rule> {
    let thresholds = (2u32..60, 0u32..30, 0u32..30).prop_flat_map(|(elevated, more, yet_more)| {
        (1..elevated).prop_map(move |margin| Thresholds {
            elevated,
            degraded: elevated + more,
            critical: elevated + more + yet_more,
            margin,
        })
    });
    let ceiling = prop::sample::select(&Level::ALL[..]);
    (thresholds, 0u64..200, 0u64..200, ceiling).prop_map(|(thresholds, up, down, ceiling)| Rule {
        thresholds,
        hold_up: Duration::from_secs(up),
        hold_down: Duration::from_secs(down),
        ceiling,
    })
}

/// What one usage, in percent, asks for and allows, said differently from the code.
fn asked(rule: &Rule, percent: u64) -> (Level, Level) {
    let Thresholds {
        elevated,
        degraded,
        critical,
        margin,
    } = rule.thresholds;
    let count = |from: u64| {
        let reached = [elevated, degraded, critical].map(|edge| from >= u64::from(edge));
        let asked = reached.into_iter().filter(|reached| *reached).count();
        Level::ALL[asked].min(rule.ceiling)
    };
    (count(percent), count(percent + u64::from(margin)))
}

/// A look: seconds since the last, and percent used; none when it failed.
fn looks() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    let look = (1u64..100, prop::option::weighted(0.95, 0u64..130));
    prop::collection::vec(look, 1..80)
}

proptest! {
    /// ROB-82: a level falls by one, and only when every reading of the whole hold allowed it; it
    /// rises only when every reading of its hold asked for at least as much.
    #[test]
    fn inv_pressure_1_every_change_was_held(rule in rule(), looks in looks()) {
        let mut pressure = Pressure::new(Config::builder().rule(rule).build().unwrap());
        let mut now = 0;
        let mut level = Level::Normal;
        // Time and usage of the readings since the last change or failure.
        let mut run: Vec<(u64, u64)> = Vec::new();
        let mut changed = None;
        for (seconds, percent) in looks {
            now += seconds;
            let reading = match percent {
                Some(percent) => Reading::new(Source::THREADS, Usage::count(percent, 100)),
                None => Reading::failed(Source::THREADS, "hidden"),
            };
            let transitions = pressure.observe([reading], Duration::from_secs(now));
            match percent {
                Some(percent) => run.push((now, percent)),
                None => run.clear(),
            }
            let Some(transition) = transitions.first() else { continue };
            prop_assert_eq!(transition.from, level);
            level = transition.to;
            let rise = transition.is_rise();
            let hold = if rise { rule.hold_up } else { rule.hold_down };
            let fits = |percent| {
                let (entered, held) = asked(&rule, percent);
                if rise { entered >= transition.to } else { held < transition.from }
            };
            let held = run.iter().rev().take_while(|(_, percent)| fits(*percent));
            let since = held.last().map(|(at, _)| *at).unwrap();
            prop_assert!(now - since >= hold.as_secs(), "held since {}: {}", since, transition);
            if !rise {
                prop_assert_eq!(Some(transition.to), Level::ALL[..].iter().rev()
                    .copied().find(|below| *below < transition.from));
                if let Some(changed) = changed {
                    prop_assert!(now - changed >= hold.as_secs(), "flapping: {}", transition);
                }
            }
            changed = Some(now);
        }
    }

    /// ROB-82: nothing is stuck: after enough low readings all is normal, whatever was before.
    #[test]
    fn inv_pressure_1_all_comes_back(rule in rule(), looks in looks()) {
        let mut pressure = Pressure::new(Config::builder().rule(rule).build().unwrap());
        let mut now = 0;
        let mut look = |pressure: &mut Pressure, seconds, percent| {
            now += seconds;
            let reading = Reading::new(Source::THREADS, Usage::count(percent, 100));
            pressure.observe([reading], Duration::from_secs(now));
        };
        for (seconds, percent) in looks {
            look(&mut pressure, seconds, percent.unwrap_or(0));
        }
        let steps = 3 * (rule.hold_down.as_secs().div_ceil(60) + 1);
        for _ in 0..steps {
            look(&mut pressure, 60, 0);
        }
        prop_assert_eq!(pressure.level(), Level::Normal);
    }

    /// ROB-83: whatever is read, no source is above its ceiling, and one that is elevated at most
    /// never makes the process unready.
    #[test]
    fn inv_pressure_5_no_source_is_above_its_ceiling(rule in rule(), looks in looks()) {
        let config = Config::builder().rule(rule).build().unwrap();
        let mut pressure = Pressure::new(config);
        let mut now = 0;
        for (seconds, percent) in looks {
            now += seconds;
            let usage = Usage::count(percent.unwrap_or(1000), 100);
            let readings = [Source::MEMORY, Source::MACHINE_MEMORY_STALL]
                .map(|source| Reading::new(source, usage));
            pressure.observe(readings, Duration::from_secs(now));
            let [machine, own] = &pressure.snapshot().sources[..] else { panic!("two sources") };
            prop_assert_eq!(&machine.source, &Source::MACHINE_MEMORY_STALL);
            prop_assert!(machine.level <= Level::Elevated.min(rule.ceiling));
            prop_assert!(own.level <= rule.ceiling);
            prop_assert!(rule.ceiling == Level::Critical || pressure.level().is_ready());
        }
    }

    /// ROB-77, ROB-82: the whole is the highest of all sources; transitions are numbered without
    /// gaps, each begins where the one before ended; and whoever carries out every decision has
    /// what the plan says.
    #[test]
    fn inv_pressure_2_inv_pressure_3_inv_pressure_4_events_tell_all(
        looks in prop::collection::vec(
            (1u64..200, prop::collection::vec((0usize..4, prop::option::of(0u64..130)), 0..6)),
            1..60,
        ),
    ) {
        const NAMES: [Source; 4] =
            [Source::MEMORY, Source::THREADS, Source::DESCRIPTORS, Source::QUEUE_AGE];
        let (plan, mut pressure) = (Plan::default(), Pressure::new(Config::default()));
        let mut now = 0;
        let mut sequence = 0;
        let mut levels: HashMap<Source, Level> = HashMap::new();
        let mut whole = Level::Normal;
        let mut measures: HashMap<Priority, Measure> = HashMap::new();
        for (seconds, readings) in looks {
            now += seconds;
            let readings = readings.into_iter().map(|(name, percent)| {
                let source = NAMES[name].clone();
                match percent {
                    Some(percent) => Reading::new(source, Usage::count(percent, 100)),
                    None => Reading::failed(source, "hidden"),
                }
            });
            for transition in pressure.observe(readings, Duration::from_secs(now)) {
                sequence += 1;
                prop_assert_eq!(transition.sequence, sequence);
                prop_assert_ne!(transition.from, transition.to);
                let known = match transition.scope {
                    Scope::Source => levels.entry(transition.source.clone()).or_default(),
                    Scope::Combined => &mut whole,
                };
                prop_assert_eq!(transition.from, *known);
                *known = transition.to;
                for Decision { priority, from, to, .. } in plan.decide(&transition) {
                    let measure = measures.entry(priority).or_default();
                    prop_assert_eq!(*measure, from);
                    *measure = to;
                }
            }
            let snapshot = pressure.snapshot();
            prop_assert_eq!(snapshot.sequence, sequence);
            let highest = levels.values().copied().max().unwrap_or_default();
            prop_assert_eq!((snapshot.level, whole), (highest, highest));
            for seen in snapshot.sources {
                let level = levels.get(&seen.source).copied().unwrap_or_default();
                prop_assert_eq!(seen.level, level);
            }
            for priority in Priority::ALL {
                let measure = measures.get(&priority).copied().unwrap_or_default();
                prop_assert_eq!(measure, plan.measure(whole, priority));
            }
        }
    }

    /// ROB-82: no input makes it panic, nor a ratio that is no number.
    #[test]
    fn any_numbers(
        used in any::<u64>(),
        limit in any::<u64>(),
        now in any::<u64>(),
        then in any::<u64>(),
    ) {
        let mut pressure = Pressure::new(Config::default());
        for (usage, now) in [
            (Usage::bytes(used, limit), now),
            (Usage::time(Duration::MAX, Duration::from_nanos(limit)), then),
        ] {
            prop_assert!(usage.ratio().is_finite());
            prop_assert!(!usage.to_string().is_empty());
            pressure.observe([Reading::new(Source::MEMORY, usage)], Duration::from_nanos(now));
            pressure.observe([Reading::new(Source::MEMORY, usage)], Duration::MAX);
            prop_assert_eq!(pressure.snapshot().sources.len(), 1);
        }
    }
}
