//! What chaos needs, whatever the protocol: a plan with a seed, texts that say whose they are, and
//! a count of what became of them.

#![allow(clippy::print_stdout, reason = "the numbers are to be seen")]

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use monitor_testkit::proxy::{Effect, Fault, Proxy};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How much chaos: `MONITOR_CHAOS_SEED`, `MONITOR_CHAOS_TASKS` (16) and `MONITOR_CHAOS_SECONDS` (2).
///
/// The seed repeats the choices; when they meet which connection is up to the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) tasks: u64,
    pub(crate) time: Duration,
}

impl Plan {
    pub(crate) fn of_the_environment() -> Self {
        let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let random = || RandomState::new().build_hasher().finish();
        let plan = Self {
            seed: number("MONITOR_CHAOS_SEED").unwrap_or_else(random),
            tasks: number("MONITOR_CHAOS_TASKS").unwrap_or(16),
            time: Duration::from_secs(number("MONITOR_CHAOS_SECONDS").unwrap_or(2)),
        };
        // Shown by the runner when the test fails.
        println!(
            "MONITOR_CHAOS_SEED={} MONITOR_CHAOS_TASKS={} MONITOR_CHAOS_SECONDS={}",
            plan.seed,
            plan.tasks,
            plan.time.as_secs()
        );
        plan
    }

    /// A source of choices of its own for each part of the plan.
    pub(crate) fn choices(&self, part: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// A text that says whose it is, long enough to be cut, with a checksum in front.
pub(crate) fn text(task: u64, sequence: u64, choices: &mut SmallRng) -> String {
    let filler = "x".repeat(choices.random_range(0..300));
    let body = format!("{task}:{sequence}:{filler}");
    format!("{:016x}:{body}", checksum(&body))
}

/// FNV-1a, 64 bits: any change of one byte changes it.
fn checksum(body: &str) -> u64 {
    body.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What became of the operations.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    outcomes: BTreeMap<&'static str, u64>,
    foreign: Vec<String>,
}

impl Tally {
    pub(crate) fn note(&self, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.outcomes.entry(outcome).or_default() += 1;
    }

    /// Compares a reply with what was sent. A reply with a good checksum that is not ours is
    /// somebody else's. One with a bad checksum was changed on the way, which neither protocol
    /// can notice in the middle of a value.
    pub(crate) fn judge(&self, sent: &str, received: &str) {
        if sent == received {
            return self.note("good");
        }
        let intact = received
            .split_once(':')
            .is_some_and(|(sum, body)| sum == format!("{:016x}", checksum(body)));
        if intact {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counts.foreign.push(format!("{received} instead of {sent}"));
        }
        self.note(if intact {
            "FOREIGN"
        } else {
            "changed on the way"
        });
    }

    pub(crate) fn count(&self, outcome: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.outcomes.get(outcome).copied().unwrap_or(0)
    }

    /// STB-48 and STB-49 in one: no reply ever reached the wrong caller.
    pub(crate) fn assert_nothing_foreign(&self) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(counts.foreign.is_empty(), "{:#?}", counts.foreign);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (outcome, count) in &counts.outcomes {
            writeln!(f, "  {count:8} {outcome}")?;
        }
        Ok(())
    }
}

/// One random fault somewhere, or the end of all that stand.
pub(crate) fn strike(proxy: &Proxy, may_change: bool, choices: &mut SmallRng) {
    let fault = loop {
        let fault = Fault::random(choices, 400);
        if may_change || !matches!(fault.effect, Effect::Corrupt(_)) {
            break fault;
        }
    };
    let open = proxy.open();
    match choices.random_range(0..12) {
        0 => proxy.heal(),
        1 => drop(proxy.inject_all(fault)),
        _ if open.is_empty() => {}
        _ => drop(proxy.inject(open[choices.random_range(0..open.len())], fault)),
    }
}
