//! The kernels of the daemon on a clock of our own, with everything going wrong that may.
//!
//! What decides here is what decides in `monitord run`: the scheduler's kernel, the epochs of
//! `monitor-operation`, `monitor-breaker`, `monitor-backoff`, the kernel of `monitor-pool` and the
//! waits of `monitor-fault`. What is made up is the world around them: targets, the network, the
//! driver, the operator, the store and the clocks. All chance comes from one seed, so that a run
//! with the same plan is the same run.
//!
//! An audit that knows nothing of the kernels' insides keeps books of every due time, run
//! and commit, and tells each [`Violation`] of what they promise.
//!
//! Contents: [`Plan`] says what is simulated and [`Report`] what came of it; `world` is the loop of
//! events, `runs` begins and ends checks, `pools` has the connections of some, `process` ends and
//! starts with what the `store` keeps, `faults` lets things go wrong, `targets` are the other side;
//! `tally` counts, `plot` draws.

mod audit;
mod books;
mod chance;
mod faults;
mod plan;
mod plot;
mod pools;
mod process;
mod runs;
mod store;
mod tally;
mod targets;
mod world;

pub use audit::{Property, Violation};
pub use plan::{Plan, Plant, Template, Trouble};
pub use plot::svg;
pub use tally::{Bin, ConnectionCounts, FaultCounts, Lag, OutcomeCounts, Report};

/// Simulates to the end, and says from time to time which share of it is done.
#[must_use]
pub fn run(plan: &Plan, progress: impl FnMut(f64)) -> Report {
    world::World::new(plan).run(progress)
}

/// Time as it is simulated: milliseconds since the start.
type Ms = u64;

const SECOND: Ms = 1000;
const MINUTE: Ms = 60 * SECOND;
const HOUR: Ms = 60 * MINUTE;

const fn at(ms: Ms) -> std::time::Duration {
    std::time::Duration::from_millis(ms)
}

fn ms(span: std::time::Duration) -> Ms {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
