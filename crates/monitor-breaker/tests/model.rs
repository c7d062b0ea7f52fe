//! The breaker against a plain model that is written from the definition, second by second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use monitor_backoff::{Cap, ExponentOrigin, Floor, Jitter, Policy};
use monitor_breaker::{Breaker, Cause, Config, Permit, State, Transition, Verdict};
use proptest::prelude::*;

const OPEN_S: u64 = 10;
const OPEN_MAX_S: u64 = 35;
const TRIAL_S: u64 = 7;

#[derive(Clone, Copy, Debug)]
struct Settings {
    failures: u32,
    successes: u32,
    trials: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Acquire,
    Settle(prop::sample::Index, Verdict),
    Drop(prop::sample::Index),
    Trip,
    Reset,
}

/// A breaker without epochs, words or locks: any transition forgets every permit by hand.
struct Model {
    settings: Settings,
    now: u64,
    state: State,
    failures: u32,
    successes: u32,
    retry_at: u64,
    opened_in_a_row: u32,
    /// The permits that still count; of a trial, its deadline.
    current: BTreeMap<u64, Option<u64>>,
    next_permit: u64,
    log: Vec<(State, State, Cause, u64)>,
}

impl Model {
    fn new(settings: Settings) -> Model {
        Model {
            settings,
            now: 0,
            state: State::Closed,
            failures: 0,
            successes: 0,
            retry_at: 0,
            opened_in_a_row: 0,
            current: BTreeMap::new(),
            next_permit: 0,
            log: Vec::new(),
        }
    }

    fn enter(&mut self, to: State, cause: Cause) {
        self.log.push((self.state, to, cause, self.now));
        self.state = to;
        (self.failures, self.successes) = (0, 0);
        self.current.clear();
        match to {
            State::Closed => self.opened_in_a_row = 0,
            State::Open => {
                self.opened_in_a_row += 1;
                let doublings = (self.opened_in_a_row - 1).min(10);
                self.retry_at = self.now + (OPEN_S << doublings).min(OPEN_MAX_S);
            }
            State::HalfOpen => {}
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = u64> {
        self.current.values().filter_map(|deadline| *deadline)
    }

    /// Lets `seconds` pass, one by one, as a timer thread would.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            if self.state == State::Open && self.now == self.retry_at {
                self.enter(State::HalfOpen, Cause::IntervalElapsed);
            } else if self.deadlines().any(|deadline| deadline == self.now) {
                self.enter(State::Open, Cause::TrialOverdue);
            }
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self.state {
            State::Closed => None,
            State::Open => Some(self.retry_at - self.now),
            State::HalfOpen if self.current.len() < self.settings.trials as usize => None,
            State::HalfOpen => self.deadlines().min().map(|deadline| deadline - self.now),
        }
    }

    fn acquire(&mut self) -> Result<u64, u64> {
        if let Some(retry_after) = self.retry_after() {
            return Err(retry_after);
        }
        self.next_permit += 1;
        let deadline = (self.state == State::HalfOpen).then_some(self.now + TRIAL_S);
        self.current.insert(self.next_permit, deadline);
        Ok(self.next_permit)
    }

    fn settle(&mut self, permit: u64, verdict: Verdict) {
        if self.current.remove(&permit).is_none() {
            return;
        }
        match (self.state, verdict) {
            (State::Closed, Verdict::Success) => self.failures = 0,
            (State::Closed, Verdict::Failure) => {
                self.failures += 1;
                if self.failures == self.settings.failures {
                    self.enter(State::Open, Cause::FailureThreshold);
                }
            }
            (State::HalfOpen, Verdict::Success) => {
                self.successes += 1;
                if self.successes == self.settings.successes {
                    self.enter(State::Closed, Cause::SuccessThreshold);
                }
            }
            (State::HalfOpen, Verdict::Failure) => self.enter(State::Open, Cause::TrialFailed),
            (_, Verdict::Ignore) => {}
            (State::Open, _) => unreachable!("no permit survives the opening"),
        }
    }

    fn trip(&mut self) {
        if self.state != State::Open {
            self.enter(State::Open, Cause::Manual);
        }
    }

    fn reset(&mut self) {
        match self.state {
            State::Closed => self.failures = 0,
            State::Open | State::HalfOpen => self.enter(State::Closed, Cause::Manual),
        }
    }
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
                    assert_eq!(rejected.retry_after, Duration::from_secs(retry_after));
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
                    self.model.settle(id, Verdict::Ignore);
                }
            }
            Step::Trip => {
                self.breaker.trip(now);
                self.model.trip();
            }
            Step::Reset => {
                self.breaker.reset(now);
                self.model.reset();
            }
        }
    }

    fn take(&mut self, index: prop::sample::Index) -> Option<(Permit<'a>, u64)> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(index.index(self.held.len())))
    }

    fn compare(&self) {
        let (model, now) = (&self.model, Duration::from_secs(self.model.now));
        let retry_after = model.retry_after().map(Duration::from_secs);
        assert_eq!(self.breaker.state(now), model.state);
        assert_eq!(self.breaker.retry_after(now), retry_after);
        let snapshot = self.breaker.snapshot(now);
        assert_eq!(snapshot.state, model.state);
        assert_eq!(snapshot.epoch, model.log.len() as u64);
        assert_eq!(snapshot.consecutive_failures, model.failures);
        assert_eq!(snapshot.trial_successes, model.successes);
        assert_eq!(
            snapshot.trials_in_flight as usize,
            model.deadlines().count()
        );
        assert!(
            snapshot.trials_in_flight <= model.settings.trials,
            "INV-BREAKER-1"
        );
        assert_eq!(snapshot.opened_in_a_row, model.opened_in_a_row);
        assert_eq!(snapshot.retry_after, retry_after);
    }
}

fn config(settings: Settings) -> Config {
    let open_policy = Policy::builder()
        .exponent_origin(ExponentOrigin::FailuresMinusOne)
        .floor(Floor::AtLeastInterval)
        .cap(Cap::Fixed(Duration::from_secs(OPEN_MAX_S)))
        .jitter(Jitter::NONE)
        .build()
        .expect("valid");
    Config::builder()
        .failure_threshold(settings.failures)
        .success_threshold(settings.successes)
        .half_open_trials(settings.trials)
        .trial_deadline(Duration::from_secs(TRIAL_S))
        .open_duration(Duration::from_secs(OPEN_S))
        .open_policy(open_policy)
        .build()
        .expect("valid")
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
        4 => (1_u64..12).prop_map(Step::Wait),
        8 => Just(Step::Acquire),
        6 => (any::<prop::sample::Index>(), any_verdict())
            .prop_map(|(index, verdict)| Step::Settle(index, verdict)),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
        1 => Just(Step::Trip),
        1 => Just(Step::Reset),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (1_u32..4, 1_u32..4, 1_u32..4).prop_map(|(failures, successes, trials)| Settings {
        failures,
        successes,
        trials,
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
        steps in prop::collection::vec(any_step(), 1..80),
        look in any::<bool>(),
    ) {
        let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
        let listener = {
            let told = Arc::clone(&told);
            move |transition| told.lock().expect("listener").push(transition)
        };
        let breaker = Breaker::with_listener(config(settings), listener);
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
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        let breaker = Breaker::new(config(settings));
        let mut both = Both { breaker: &breaker, model: Model::new(settings), held: Vec::new() };
        for step in steps {
            both.step(step);
        }
        let start = both.model.now;
        let closed = (start..start + TRIAL_S + OPEN_MAX_S + 4).any(|now| {
            let now = Duration::from_secs(now);
            if let Ok(permit) = breaker.try_acquire(now) {
                permit.success(now);
            }
            breaker.state(now) == State::Closed
        });
        prop_assert!(closed, "INV-BREAKER-3: {:?}", breaker.snapshot(Duration::MAX));
    }
}
