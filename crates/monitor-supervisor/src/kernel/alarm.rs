//! What is worth telling: changes, not ticks.

use std::{num::NonZeroU32, time::Duration};

use monitor_backoff::{FailureStreak, Verdict};

use crate::{Outcome, TaskSpec, event::What};

/// The failures of one task in a row.
///
/// INV-SUPERVISOR-2: between two recoveries there is one alert at most, and there is one exactly
/// when the failures in a row, of whichever kind, reach the threshold.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    alert_after: NonZeroU32,
    remind_every: Option<Duration>,
    streak: FailureStreak,
    failures: u32,
    /// Since when it fails.
    since: Duration,
    /// When it was last told that an alert goes on.
    reminded: Option<Duration>,
    /// What was last told of how it fails.
    told: Option<Outcome>,
}

impl Alarm {
    pub(crate) fn new(spec: &TaskSpec) -> Self {
        Self {
            alert_after: spec.alert_after,
            remind_every: spec.remind_every,
            streak: FailureStreak::new(),
            failures: 0,
            since: Duration::ZERO,
            reminded: None,
            told: None,
        }
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.reminded.is_some()
    }

    /// Counts an outcome. Returns what is to be told of it.
    pub(crate) fn record(&mut self, outcome: &Outcome, now: Duration) -> Vec<What> {
        if outcome.failure().is_none() {
            return self.recover(now);
        }
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.streak.record(Verdict::Failure);
        let mut tell = Vec::new();
        if self.is_news(outcome) {
            self.told = Some(outcome.clone());
            let outcome = outcome.clone();
            tell.push(What::Failing { outcome });
        }
        let (failures, outcome) = (self.failures, outcome.clone());
        match self.reminded {
            None if failures >= self.alert_after.get() => {
                self.reminded = Some(now);
                tell.push(What::Alert { failures, outcome });
            }
            Some(last)
                if self
                    .remind_every
                    .is_some_and(|every| now.saturating_sub(last) >= every) =>
            {
                self.reminded = Some(now);
                tell.push(What::Reminder {
                    failures,
                    outcome,
                    lasting: now.saturating_sub(self.since),
                });
            }
            _ => {}
        }
        tell
    }

    fn recover(&mut self, now: Duration) -> Vec<What> {
        self.streak.record(Verdict::Success);
        let failures = std::mem::take(&mut self.failures);
        self.told = None;
        let alerted = self.reminded.take().is_some();
        if failures == 0 {
            return Vec::new();
        }
        vec![What::Recovered {
            failures,
            alerted,
            lasted: now.saturating_sub(self.since),
        }]
    }

    /// Whether it fails otherwise than was told: in another way, or by other checks. The texts of
    /// errors may hold numbers that differ each time, and are no news by themselves.
    fn is_news(&self, outcome: &Outcome) -> bool {
        match (&self.told, outcome) {
            (Some(Outcome::Unhealthy { failing: told }), Outcome::Unhealthy { failing }) => {
                told != failing
            }
            (Some(told), outcome) => told.failure() != outcome.failure(),
            (None, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(kind: u8) -> Outcome {
        match kind {
            0 => Outcome::Healthy,
            1 => Outcome::Unhealthy {
                failing: vec!["disk".into()],
            },
            2 => Outcome::Unhealthy {
                failing: vec!["disk".into(), "mail".into()],
            },
            3 => Outcome::Error { chain: "e".into() },
            4 => Outcome::Panicked {
                message: "p".into(),
            },
            _ => Outcome::TimedOut,
        }
    }

    fn alarm(after: u32) -> Alarm {
        let spec = TaskSpec::builder("t").alert_after(NonZeroU32::new(after).unwrap());
        Alarm::new(&spec.build().unwrap())
    }

    /// STB-13: fail, fail, fail is one alert, whatever the kind of failure; well again resolves it.
    #[test]
    fn three_failures_in_a_row_are_one_alert() {
        for kind in 1..=5 {
            let mut alarm = alarm(3);
            let mut alerts = Vec::new();
            for tick in 1..=10 {
                let told = alarm.record(&outcome(kind), Duration::from_secs(tick));
                let alert = told.iter().any(|what| matches!(what, What::Alert { .. }));
                alerts.extend(alert.then_some(tick));
            }
            assert_eq!((alerts, alarm.is_raised()), (vec![3], true));
            let told = alarm.record(&outcome(0), Duration::from_secs(11));
            let resolved = What::Recovered {
                failures: 10,
                alerted: true,
                lasted: Duration::from_secs(10),
            };
            assert_eq!((told, alarm.is_raised()), (vec![resolved], false));
        }
    }

    /// STB-10: it is told when it begins, when other checks fail, and every hour from the alert
    /// on; not with every tick.
    #[test]
    fn changes_are_told_and_ticks_are_not() {
        let mut alarm = alarm(3);
        let mut told = Vec::new();
        for minute in 0..150 {
            let kind = if minute < 90 { 1 } else { 2 };
            for what in alarm.record(&outcome(kind), Duration::from_secs(60 * minute)) {
                told.push((minute, what));
            }
        }
        let minutes: Vec<_> = told.iter().map(|(minute, _)| *minute).collect();
        assert_eq!(minutes, [0, 2, 62, 90, 122]);
        let both = What::Failing {
            outcome: outcome(2),
        };
        assert_eq!(told[3].1, both);
        assert!(matches!(&told[4].1, What::Reminder { failures: 123, .. }));
    }

    proptest! {
        /// STB-13: in any history, alerts and recoveries of alerts alternate, and an alert is
        /// raised exactly when the threshold is reached.
        #[test]
        fn inv_supervisor_2_one_alert_per_streak(
            after in 1u32..6,
            kinds in prop::collection::vec(0u8..6, 1..100),
        ) {
            let mut alarm = alarm(after);
            let mut failures = 0;
            for (tick, kind) in kinds.into_iter().enumerate() {
                let was_raised = failures >= after;
                failures = if kind == 0 { 0 } else { failures + 1 };
                let told = alarm.record(&outcome(kind), Duration::from_secs(tick as u64));
                let alerts = told.iter().filter(|what| matches!(what, What::Alert { .. })).count();
                prop_assert_eq!(alerts, usize::from(failures == after));
                let resolved = told.iter().filter(
                    |what| matches!(what, What::Recovered { alerted: true, .. }),
                );
                prop_assert_eq!(resolved.count(), usize::from(kind == 0 && was_raised));
                prop_assert_eq!(alarm.failures(), failures);
                prop_assert_eq!(alarm.is_raised(), failures >= after);
            }
        }
    }
}
