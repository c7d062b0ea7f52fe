//! The breaker against a plain model that is written from the definition, second by second.

mod definition;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use monitor_breaker::{Breaker, Mode, Permit, State, Transition, Verdict};
use proptest::prelude::*;

use crate::definition::{Counting, Model, Settings, WORST_S};

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Acquire,
    Settle(prop::sample::Index, Verdict),
    Drop(prop::sample::Index),
    PushBack(u64),
    Trip,
    Reset,
    Mode(Mode),
}

/// The breaker, the model, and the permits that both have given out.
struct Both<'a> {
    breaker: &'a Breaker,
    model: Model,
    held: Vec<(Permit<'a>, u64)>,
}

impl<'a> Both<'a> {
    fn step(&mut self, step: Step) {
        let now = Duration::from_secs(self.model.now);
        match step {
            Step::Wait(seconds) => self.model.wait(seconds),
            Step::Acquire => match (self.breaker.try_acquire(now), self.model.acquire()) {
                (Ok(permit), Ok(id)) => self.held.push((permit, id)),
                (Err(rejected), Err(retry_after)) => {
                    assert_eq!(rejected.retry_after, retry_after);
                    assert_eq!(rejected.state, self.model.state);
                }
                (real, model) => panic!("breaker: {real:?}, model: {model:?}"),
            },
            Step::Settle(index, verdict) => {
                if let Some((permit, id)) = self.take(index) {
                    permit.record(verdict, now);
                    self.model.settle(id, verdict);
                }
            }
            Step::Drop(index) => {
                // A drop brings no time: the breaker goes by the latest that it was told.
                let _told = self.breaker.snapshot(now);
                if let Some((permit, id)) = self.take(index) {
                    drop(permit);
                    self.model.drop_permit(id);
                }
            }
            Step::PushBack(seconds) => {
                self.breaker.push_back(Duration::from_secs(seconds), now);
                self.model.push_back(seconds);
            }
            Step::Trip => {
                self.breaker.trip(now);
                self.model.trip();
            }
            Step::Reset => {
                self.breaker.reset(now);
                self.model.reset();
            }
            Step::Mode(mode) => {
                self.breaker.set_mode(mode, now);
                self.model.set_mode(mode);
            }
        }
    }

    fn take(&mut self, index: prop::sample::Index) -> Option<(Permit<'a>, u64)> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(index.index(self.held.len())))
    }

    fn compare(&self) {
        let (model, now) = (&self.model, Duration::from_secs(self.model.now));
        assert_eq!(self.breaker.state(now), model.state);
        assert_eq!(self.breaker.retry_after(now), model.retry_after());
        let snapshot = self.breaker.snapshot(now);
        assert_eq!((snapshot.state, snapshot.mode), (model.state, model.mode));
        assert_eq!(snapshot.epoch, model.log.len() as u64);
        assert_eq!(snapshot.consecutive_failures, model.failures_in_a_row());
        assert!(model.is_window(snapshot.window), "{snapshot:?}");
        let trials = (snapshot.trials_in_flight, snapshot.trial_successes);
        assert_eq!(trials, model.trials(), "INV-BREAKER-1");
        assert_eq!(snapshot.opened_in_a_row, model.opened_in_a_row);
        assert_eq!(snapshot.retry_after, model.retry_after());
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        2 => Just(Verdict::Success),
        3 => Just(Verdict::Failure),
        1 => Just(Verdict::Ignore),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u64..12).prop_map(Step::Wait),
        16 => Just(Step::Acquire),
        12 => (any::<prop::sample::Index>(), any_verdict())
            .prop_map(|(index, verdict)| Step::Settle(index, verdict)),
        2 => any::<prop::sample::Index>().prop_map(Step::Drop),
        1 => (0_u64..80).prop_map(Step::PushBack),
        1 => Just(Step::Trip),
        1 => Just(Step::Reset),
        1 => prop_oneof![
            3 => Just(Mode::Normal),
            1 => Just(Mode::Shadow),
            1 => Just(Mode::ForcedOpen),
            1 => Just(Mode::Disabled),
        ].prop_map(Step::Mode),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let counting = prop_oneof![
        2 => (1_u32..4).prop_map(Counting::Consecutive),
        2 => (1_u32..8).prop_map(Counting::Calls),
        2 => Just(Counting::Span),
    ];
    let rates = (1_u32..=100, prop::option::of(1_u32..=100), 1_u32..5);
    let closing = (
        1_u32..4,
        1_u32..4,
        prop_oneof![Just(0), 1_u64..15],
        0_u64..20,
    );
    (counting, rates, any::<bool>(), closing).prop_map(|(counting, rates, is_timed, closing)| {
        let (failure_percent, slow_percent, minimum_calls) = rates;
        let (successes, trials, ramp_s, healthy_s) = closing;
        Settings {
            counting,
            failure_percent,
            slow_percent,
            minimum_calls,
            is_timed,
            successes,
            trials,
            ramp_s,
            healthy_s,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// ROB-13, ROB-14, ROB-17, ROB-20, ROB-21, ROB-26, S5: whatever happens in whatever order, the
    /// breaker does what the definition says, and tells each transition once, in order. Half of
    /// the runs look at the breaker after each step; the others leave its timers to the steps.
    #[test]
    fn the_breaker_is_its_definition(
        settings in any_settings(),
        steps in prop::collection::vec(any_step(), 1..100),
        look in any::<bool>(),
    ) {
        let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
        let listener = {
            let told = Arc::clone(&told);
            move |transition| told.lock().expect("listener").push(transition)
        };
        let breaker = Breaker::with_listener(settings.config(), listener);
        let mut both = Both { breaker: &breaker, model: Model::new(settings), held: Vec::new() };
        for step in steps {
            both.step(step);
            if look {
                both.compare();
            }
        }
        both.compare();
        let told = told.lock().expect("listener");
        let log: Vec<_> = told.iter().map(|t| (t.from, t.to, t.cause, t.at.as_secs())).collect();
        prop_assert_eq!(&log, &both.model.log);
        prop_assert!(told.iter().map(|t| t.sequence).eq(1..=log.len() as u64), "INV-BREAKER-4");
    }

    /// L6, ROB-14, ROB-17: from any state, permits leaked or held, the breaker closes once the
    /// target is well and somebody asks.
    #[test]
    fn inv_breaker_3_a_well_target_closes_the_breaker(
        settings in any_settings(),
        steps in prop::collection::vec(any_step(), 1..100),
    ) {
        let breaker = Breaker::new(settings.config());
        let mut both = Both { breaker: &breaker, model: Model::new(settings), held: Vec::new() };
        for step in steps {
            both.step(step);
        }
        let start = both.model.now;
        breaker.set_mode(Mode::Normal, Duration::from_secs(start));
        let closed = (start..start + WORST_S).any(|now| {
            let now = Duration::from_secs(now);
            if let Ok(permit) = breaker.try_acquire(now) {
                permit.success(now);
            }
            breaker.state(now) == State::Closed
        });
        prop_assert!(closed, "INV-BREAKER-3: {:?}", breaker.snapshot(Duration::MAX));
    }
}
