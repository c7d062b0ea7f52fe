//! Clients that contend for one row with optimistic concurrency: read the version, write if it is
//! still the same, else wait as the policy says and start again.
//!
//! # Source
//! The simulator of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), with its
//! numbers: a message takes |N(10, 2)| ms, the base is 5 ms, the cap 2000 ms; counted are the
//! writes. The waits are drawn by the real policies. New is the last line: the clients share a
//! retry budget, and one that is refused a retry starts over after the longest wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use monitor_backoff::{
    Base, Cap, Class, Delays, ExponentOrigin, Floor, Jitter, JitterKind, Policy, RetryBudget,
    RetryToken, Schedule,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Picture;
use crate::chart::{Axis, Chart, Line};

const BASE: Duration = Duration::from_millis(5);
const CAP: Duration = Duration::from_secs(2);

/// The mean and the standard deviation of the time that a message takes, in milliseconds.
const NET: (f64, f64) = (10.0, 2.0);

/// How often each point is simulated; it is the mean.
const RUNS: u64 = 40;

/// The most clients.
const MOST: usize = 200;

/// One way to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    None,
    Exponential,
    Equal,
    Full,
    Decorrelated,
    /// Full jitter, with a budget that all clients share.
    Budget,
}

impl Strategy {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::None, "no backoff", "gray"),
        (Self::Exponential, "exponential", "red"),
        (Self::Equal, "equal jitter", "amber"),
        (Self::Decorrelated, "decorrelated jitter", "green"),
        (Self::Full, "full jitter", "blue"),
        (Self::Budget, "full jitter and budget", "violet bold"),
    ];

    fn policy(self) -> Policy {
        let jitter = |kind| Jitter {
            kind,
            normal_interval: false,
        };
        let exponential = Schedule::Exponential {
            base: Base::Fixed(BASE),
            factor: 2.0,
        };
        let decorrelated = Schedule::Decorrelated {
            base: Base::Fixed(BASE),
            factor: 3.0,
        };
        let (schedule, jitter) = match self {
            Self::None => (Schedule::Fixed(Duration::ZERO), Jitter::NONE),
            Self::Exponential => (exponential, Jitter::NONE),
            Self::Equal => (exponential, jitter(JitterKind::Equal)),
            Self::Full | Self::Budget => (exponential, jitter(JitterKind::Full)),
            Self::Decorrelated => (decorrelated, Jitter::NONE),
        };
        let policy = Policy::builder()
            .schedule(schedule)
            .exponent_origin(ExponentOrigin::Failures)
            .floor(Floor::Absolute)
            .cap(Cap::Fixed(CAP))
            .jitter(jitter)
            .build();
        policy.expect("these numbers are valid")
    }
}

/// What a simulation, or the mean of several, came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Outcome {
    /// Writes, those in vain included.
    calls: f64,
    /// Until the last client had written, in seconds.
    seconds: f64,
}

/// Something that arrives: when, in nanoseconds; a number that orders what arrives at once; the
/// client it is of or for.
type Event = Reverse<(u64, u64, usize, Message)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    /// At the server.
    Read,
    /// At the client, with the version.
    Version(u64),
    /// At the server, with the version that was read.
    Write(u64),
    /// At the client: written or not.
    Written(bool),
}

struct Client {
    delays: Delays<SmallRng>,
    /// What the budget lent for the attempt that is under way.
    token: Option<RetryToken>,
}

/// One simulation.
struct Simulation {
    policy: Policy,
    clients: Vec<Client>,
    budget: Option<RetryBudget>,
    version: u64,
    calls: u64,
    events: BinaryHeap<Event>,
    sent: u64,
    rng: SmallRng,
}

/// The mean of so many runs.
fn simulate(strategy: Strategy, clients: usize, runs: u64) -> Outcome {
    let mut sum = Outcome::default();
    for run in 0..runs {
        let outcome = Simulation::new(strategy, clients, run).run();
        sum.calls += outcome.calls;
        sum.seconds += outcome.seconds;
    }
    let runs = runs as f64;
    Outcome {
        calls: sum.calls / runs,
        seconds: sum.seconds / runs,
    }
}

impl Simulation {
    fn new(strategy: Strategy, clients: usize, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let policy = strategy.policy();
        let mut client = || Client {
            delays: policy.delays(Duration::ZERO, SmallRng::seed_from_u64(rng.next_u64())),
            token: None,
        };
        let budget = || {
            RetryBudget::builder()
                .build()
                .expect("the defaults are valid")
        };
        Self {
            policy,
            clients: (0..clients).map(|_| client()).collect(),
            budget: (strategy == Strategy::Budget).then(budget),
            version: 0,
            calls: 0,
            events: BinaryHeap::new(),
            sent: 0,
            rng,
        }
    }

    fn run(mut self) -> Outcome {
        for client in 0..self.clients.len() {
            if let Some(budget) = &self.budget {
                budget.deposit();
            }
            self.send(0, client, Message::Read);
        }
        let mut end = 0;
        while let Some(Reverse((now, _, client, message))) = self.events.pop() {
            end = now;
            match message {
                Message::Read => self.send(now, client, Message::Version(self.version)),
                Message::Version(version) => self.send(now, client, Message::Write(version)),
                Message::Write(version) => {
                    self.calls += 1;
                    let written = version == self.version;
                    self.version += u64::from(written);
                    self.send(now, client, Message::Written(written));
                }
                Message::Written(true) => {
                    if let Some(token) = self.clients[client].token.take() {
                        token.put_back();
                    }
                }
                Message::Written(false) => self.retry(now, client),
            }
        }
        assert_eq!(self.version, self.clients.len() as u64, "each writes once");
        Outcome {
            calls: self.calls as f64,
            seconds: end as f64 / 1e9,
        }
    }

    /// After a failure: waits, and starts again.
    fn retry(&mut self, now: u64, index: usize) {
        let client = &mut self.clients[index];
        if let Some(token) = client.token.take() {
            token.spend();
        }
        let mut delay = client.delays.next().unwrap_or_default();
        if let Some(budget) = &self.budget {
            let token = budget.withdraw_at(Duration::from_nanos(now), Class::Transient);
            client.token = token.ok();
            if client.token.is_none() {
                // A new request, after the longest wait.
                delay = self.policy.delay(u32::MAX, Duration::ZERO, &mut self.rng);
                client.delays.restart();
                budget.deposit();
            }
        }
        self.send(now + delay.as_nanos() as u64, index, Message::Read);
    }

    /// Puts a message on its way.
    fn send(&mut self, now: u64, client: usize, message: Message) {
        let (mean, deviation) = NET;
        let millis = (mean + deviation * self.normal()).abs();
        self.sent += 1;
        let arrives = now + (millis * 1e6) as u64;
        self.events
            .push(Reverse((arrives, self.sent, client, message)));
    }

    /// Normally distributed as nearly as matters here: the sum of twelve uniform numbers, which
    /// needs no function that differs from machine to machine.
    fn normal(&mut self) -> f64 {
        let uniform = |rng: &mut SmallRng| (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| uniform(&mut self.rng)).sum::<f64>() - 6.0
    }
}

/// Calls and time over the number of clients.
pub(crate) fn pictures() -> Vec<Picture> {
    let sizes: Vec<usize> = [1, 5].into_iter().chain((10..=MOST).step_by(10)).collect();
    let outcomes = Strategy::ALL.map(|(strategy, _, _)| {
        let outcome = |clients: &usize| (*clients as f64, simulate(strategy, *clients, RUNS));
        sizes.iter().map(outcome).collect::<Vec<_>>()
    });
    let lines = |of: fn(f64, Outcome) -> f64| {
        let all = Strategy::ALL.iter().zip(&outcomes);
        all.map(|((_, name, class), outcomes)| Line {
            name: (*name).to_owned(),
            class,
            points: outcomes.iter().map(|(x, y)| (*x, of(*x, *y))).collect(),
        })
        .collect()
    };
    let subtitle = "Each writes once, when its version is current. \
                    Messages take 10 ± 2 ms, base 5 ms, cap 2 s.";
    let ticks = |values: &[f64]| {
        values
            .iter()
            .map(|value| (*value, value.to_string()))
            .collect()
    };
    let clients = || Axis {
        label: "clients that start at once",
        range: (0.0, MOST as f64),
        is_logarithmic: false,
        ticks: ticks(&[1.0, 50.0, 100.0, 150.0, 200.0]),
    };
    let calls = Chart {
        title: "Calls of clients that contend for one row",
        subtitle,
        x: clients(),
        y: Axis {
            label: "calls per client",
            range: (0.0, 50.0),
            is_logarithmic: false,
            ticks: ticks(&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0]),
        },
        lines: lines(|clients, outcome| outcome.calls / clients),
    };
    let time = Chart {
        title: "Time until all of the clients have written",
        subtitle,
        x: clients(),
        y: Axis {
            label: "seconds",
            range: (0.03, 300.0),
            is_logarithmic: true,
            ticks: ticks(&[0.1, 1.0, 10.0, 100.0]),
        },
        lines: lines(|_, outcome| outcome.seconds),
    };
    vec![
        ("contention.svg", calls.draw()),
        ("contention-time.svg", time.draw()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the article found, and what its simulator gives: with 100 clients 2422 calls without
    /// backoff, 1870 with plain exponential, 811 with equal, 798 with full and 1009 with
    /// decorrelated jitter; the plain exponential takes more than ten times as long.
    #[test]
    fn full_jitter_more_than_halves_the_calls_of_plain_exponential() {
        let of = |strategy| simulate(strategy, 100, 10);
        let (none, exponential) = (of(Strategy::None), of(Strategy::Exponential));
        let (equal, full) = (of(Strategy::Equal), of(Strategy::Full));
        let decorrelated = of(Strategy::Decorrelated);
        assert!(
            full.calls * 2.0 < exponential.calls,
            "{full:?} {exponential:?}"
        );
        assert!(
            full.seconds * 5.0 < exponential.seconds,
            "{full:?} {exponential:?}"
        );
        assert!(exponential.calls < none.calls, "{exponential:?} {none:?}");
        assert!(
            (0.9..1.15).contains(&(equal.calls / full.calls)),
            "{equal:?} {full:?}"
        );
        assert!(
            (1.1..1.5).contains(&(decorrelated.calls / full.calls)),
            "{decorrelated:?}"
        );
    }

    /// Ours does it with half the calls again, and the budget costs no time.
    #[test]
    fn a_budget_saves_calls_and_no_client_starves() {
        for clients in [50, 100, 200] {
            let free = simulate(Strategy::Full, clients, 10);
            let budget = simulate(Strategy::Budget, clients, 10);
            assert!(budget.calls < 0.6 * free.calls, "{budget:?} {free:?}");
            assert!(budget.seconds < 1.2 * free.seconds, "{budget:?} {free:?}");
        }
    }

    #[test]
    fn one_client_alone_writes_at_once() {
        for (strategy, _, _) in Strategy::ALL {
            let outcome = simulate(strategy, 1, 3);
            assert_eq!(outcome.calls, 1.0);
            assert!((0.01..0.1).contains(&outcome.seconds), "{outcome:?}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_figures() {
        let twice = [0, 1].map(|_| simulate(Strategy::Decorrelated, 20, 2));
        assert_eq!(twice[0], twice[1]);
    }
}
