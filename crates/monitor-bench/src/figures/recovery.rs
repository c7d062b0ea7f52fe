//! A breaker in front of a dependency that fails and comes back slowly, as one does with cold
//! caches: closed at once, and closed with a ramp.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use monitor_backoff::{Floor, Jitter, Policy, Schedule};
use monitor_breaker::{Breaker, Config, OwnedPermit, State};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Picture;
use crate::svg::{Anchor, Svg};

/// How long it is watched, in seconds.
const SECONDS: usize = 140;

/// Calls per second.
const LOAD: u64 = 40;

/// From when to when the dependency fails altogether, in seconds.
const OUTAGE: (f64, f64) = (20.0, 60.0);

/// What share of the load it can take when it comes back, and for how many seconds it grows.
const COLD: (f64, f64) = (0.1, 40.0);

/// How long a call takes, in milliseconds: at least, and up to so much more.
const LATENCY: (u64, u64) = (50, 100);

/// Over how long the ramp goes.
const RAMP: Duration = Duration::from_secs(30);

/// What became of the calls of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Second {
    well: u64,
    failed: u64,
    refused: u64,
}

/// What one breaker did.
#[derive(Debug)]
struct Watched {
    seconds: Vec<Second>,
    /// The state in each tenth of a second.
    states: Vec<State>,
}

/// A call on its way: when it ends, in milliseconds; its number; when it began; how it ends.
type Call = Reverse<(u64, u64, u64, bool)>;

/// Plays it all with one breaker.
fn watch(ramp: Duration) -> Watched {
    let breaker = Arc::new(breaker(ramp));
    let mut rng = SmallRng::seed_from_u64(1);
    let mut seconds = vec![Second::default(); SECONDS];
    let mut states = Vec::new();
    let mut calls: BinaryHeap<Call> = BinaryHeap::new();
    let mut permits: HashMap<u64, OwnedPermit> = HashMap::new();
    let mut room = Room { calls: 1.0, at: 0 };
    for number in 0..SECONDS as u64 * LOAD {
        // Evenly spread, but for a little.
        let now = (number * 1000 + rng.next_u64() % 1000) / LOAD;
        end_calls(now, &mut calls, &mut permits, &mut seconds);
        while (states.len() as u64) * 100 <= now {
            states.push(breaker.state(Duration::from_millis(states.len() as u64 * 100)));
        }
        match breaker.try_acquire_owned(Duration::from_millis(now)) {
            Ok(permit) => {
                let end = now + LATENCY.0 + rng.next_u64() % LATENCY.1;
                calls.push(Reverse((end, number, now, room.takes(now))));
                permits.insert(number, permit);
            }
            Err(_) => seconds[(now / 1000) as usize].refused += 1,
        }
    }
    end_calls(u64::MAX, &mut calls, &mut permits, &mut seconds);
    Watched { seconds, states }
}

/// Gives the verdicts of all calls that have ended by `now`.
fn end_calls(
    now: u64,
    calls: &mut BinaryHeap<Call>,
    permits: &mut HashMap<u64, OwnedPermit>,
    seconds: &mut [Second],
) {
    while calls.peek().is_some_and(|Reverse((end, ..))| *end <= now) {
        let Some(Reverse((end, number, began, well))) = calls.pop() else {
            return;
        };
        let second = &mut seconds[(began / 1000) as usize];
        let Some(permit) = permits.remove(&number) else {
            continue;
        };
        let end = Duration::from_millis(end);
        if well {
            second.well += 1;
            permit.success(end);
        } else {
            second.failed += 1;
            permit.failure(end);
        }
    }
}

/// Opens at half of the calls of the last 5 s, for 5 s each time; three trials decide.
fn breaker(ramp: Duration) -> Breaker {
    let every_time_the_same = Policy::builder()
        .schedule(Schedule::Fixed(Duration::ZERO))
        .floor(Floor::AtLeastInterval)
        .jitter(Jitter::NONE)
        .build();
    let config = Config::builder()
        .time_window(Duration::from_secs(5))
        .failure_rate(0.5)
        .minimum_calls(20)
        .open_duration(Duration::from_secs(5))
        .open_policy(every_time_the_same.expect("these numbers are valid"))
        .half_open_trials(3)
        .success_threshold(3)
        .ramp(ramp)
        .seed(1)
        .build();
    Breaker::new(config.expect("these numbers are valid"))
}

/// What a healthy dependency can take, as a share of the load.
const HEALTHY: f64 = 1.1;

/// How many calls per second the dependency can take, as a share of the load.
fn capacity(second: f64) -> f64 {
    let (from, until) = OUTAGE;
    let (cold, warm_up) = COLD;
    if second < from {
        HEALTHY
    } else if second < until {
        0.0
    } else {
        (cold + (HEALTHY - cold) * (second - until) / warm_up).min(HEALTHY)
    }
}

/// Where the line of the capacity has its corners.
const CORNERS: [f64; 7] = [
    0.0,
    OUTAGE.0 - 0.001,
    OUTAGE.0,
    OUTAGE.1 - 0.001,
    OUTAGE.1,
    OUTAGE.1 + COLD.1,
    SECONDS as f64,
];

/// The dependency: it earns room for calls with time, and has room for a quarter of a second.
#[derive(Debug)]
struct Room {
    calls: f64,
    at: u64,
}

impl Room {
    /// Whether there is room for a call at `now`.
    fn takes(&mut self, now: u64) -> bool {
        let per_second = capacity(now as f64 / 1000.0) * LOAD as f64;
        let earned = per_second * (now - self.at) as f64 / 1000.0;
        self.at = now;
        self.calls = (self.calls + earned).min(per_second / 4.0);
        let takes = self.calls >= 1.0;
        if takes {
            self.calls -= 1.0;
        }
        takes
    }
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const PANEL: f64 = 130.0;
const TOPS: [f64; 2] = [124.0, 316.0];
const STRIP: f64 = 10.0;

/// Both breakers, one above the other.
pub(crate) fn picture() -> Picture {
    let title = "A dependency fails, and comes back slowly";
    let description = "Calls per second through a breaker, without and with a ramp: well, failed \
                       and refused, with the state of the breaker and what the dependency can take";
    let mut svg = Svg::new(WIDTH, HEIGHT, title, description);
    svg.text("title", (LEFT, 26.0), Anchor::Start, title);
    legend(&mut svg);
    for (top, (name, ramp)) in TOPS.into_iter().zip([
        ("closes at once", Duration::ZERO),
        ("recovers over 30 s", RAMP),
    ]) {
        panel(&mut svg, top, name, &watch(ramp));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    svg.text("", (middle, HEIGHT - 18.0), Anchor::Middle, "seconds");
    ("breaker-recovery.svg", svg.finish())
}

const LEGEND: [(&str, &str, f64); 8] = [
    ("calls per second:", "", 62.0),
    ("well", "fill green soft", 176.0),
    ("failed", "fill red", 236.0),
    ("refused", "fill gray soft", 302.0),
    ("the dependency's capacity", "line blue", 380.0),
    ("breaker:", "", 62.0),
    ("closed", "fill green", 176.0),
    ("open", "fill red", 253.0),
];

const LEGEND_STATES: [(&str, &str, f64); 2] = [
    ("half-open", "fill amber", 320.0),
    ("recovering", "fill violet", 411.0),
];

fn legend(svg: &mut Svg) {
    for (index, (text, class, x)) in LEGEND.iter().chain(&LEGEND_STATES).enumerate() {
        let y = if index < 5 { 50.0 } else { 70.0 };
        if class.starts_with("line") {
            svg.path(class, &[(*x, y - 4.0), (x + 11.0, y - 4.0)]);
        } else if !class.is_empty() {
            svg.rect(class, (*x, y - 10.0), (12.0, 12.0));
        }
        let x = if class.is_empty() { *x } else { x + 18.0 };
        svg.text("muted", (x, y), Anchor::Start, text);
    }
}

fn panel(svg: &mut Svg, top: f64, name: &str, watched: &Watched) {
    let x = |second: f64| LEFT + second / SECONDS as f64 * (WIDTH - RIGHT - LEFT);
    let most = LOAD as f64 * 1.15;
    let y = |calls: f64| top + PANEL - calls / most * PANEL;
    let failed = |from: usize| watched.seconds[from..].iter().map(|second| second.failed);
    let (all, late): (u64, u64) = (failed(0).sum(), failed(OUTAGE.1 as usize).sum());
    let note = format!("{name}: {all} calls fail, {late} of them after the outage");
    svg.text("head", (LEFT, top - 8.0), Anchor::Start, &note);
    for calls in [0.0, 20.0, 40.0] {
        svg.path("grid", &[(LEFT, y(calls)), (WIDTH - RIGHT, y(calls))]);
        let place = (LEFT - 8.0, y(calls) + 4.0);
        svg.text("muted", place, Anchor::End, &calls.to_string());
    }
    for (second, counts) in watched.seconds.iter().enumerate() {
        let mut base = 0.0;
        let (from, to) = (x(second as f64), x(second as f64 + 1.0));
        for (class, count) in [
            ("fill green soft", counts.well),
            ("fill red", counts.failed),
            ("fill gray soft", counts.refused),
        ] {
            if count > 0 {
                let end = base + count as f64;
                svg.rect(class, (from, y(end)), (to - from - 0.8, y(base) - y(end)));
                base = end;
            }
        }
    }
    let capacities: Vec<_> = CORNERS
        .map(|second| (x(second), y(capacity(second) * LOAD as f64)))
        .to_vec();
    svg.path("line blue", &capacities);
    states(svg, top + PANEL + 5.0, &x, &watched.states);
    for second in (0..=SECONDS).step_by(20) {
        let place = (x(second as f64), top + PANEL + STRIP + 21.0);
        svg.text("muted", place, Anchor::Middle, &second.to_string());
    }
}

/// A strip in the colours of the states.
fn states(svg: &mut Svg, top: f64, x: &dyn Fn(f64) -> f64, states: &[State]) {
    let mut from = 0;
    for band in states.chunk_by(|a, b| a == b) {
        let to = from + band.len();
        let class = match band.first() {
            Some(State::Open) => "fill red",
            Some(State::HalfOpen) => "fill amber",
            Some(State::Recovering) => "fill violet",
            _ => "fill green",
        };
        let (left, right) = (x(from as f64 / 10.0), x(to as f64 / 10.0));
        svg.rect(class, (left, top), (right - left, STRIP));
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(watched: &Watched, seconds: std::ops::Range<usize>) -> Second {
        let mut sum = Second::default();
        for second in &watched.seconds[seconds] {
            sum.well += second.well;
            sum.failed += second.failed;
            sum.refused += second.refused;
        }
        sum
    }

    #[test]
    fn each_call_has_one_end() {
        for ramp in [Duration::ZERO, RAMP] {
            let all = sum(&watch(ramp), 0..SECONDS);
            assert_eq!(all.well + all.failed + all.refused, SECONDS as u64 * LOAD);
        }
    }

    #[test]
    fn an_outage_is_felt_by_few_calls_and_a_healthy_dependency_loses_none() {
        for ramp in [Duration::ZERO, RAMP] {
            let watched = watch(ramp);
            let healthy = sum(&watched, 0..20);
            assert_eq!((healthy.failed, healthy.refused), (0, 0));
            let outage = sum(&watched, 20..60);
            assert!(outage.failed * 10 < outage.refused, "{outage:?}");
            let warm = sum(&watched, 120..SECONDS);
            assert_eq!((warm.failed, warm.refused), (0, 0));
        }
    }

    #[test]
    fn a_ramp_spares_a_dependency_that_comes_back_slowly() {
        let (at_once, ramped) = (watch(Duration::ZERO), watch(RAMP));
        let recovery = |watched| sum(watched, 60..120);
        let (failed, spared) = (recovery(&at_once).failed, recovery(&ramped).failed);
        assert!(
            spared * 4 < failed,
            "{spared} with a ramp, {failed} without"
        );
        let openings = |watched: &Watched| {
            let pairs = watched.states.windows(2);
            pairs
                .filter(|pair| pair[0] == State::Closed && pair[1] == State::Open)
                .count()
        };
        assert_eq!(openings(&ramped), 1, "{ramped:?}");
        assert!(openings(&at_once) > 1, "{at_once:?}");
    }

    #[test]
    fn equal_seeds_give_equal_pictures() {
        assert_eq!(picture(), picture());
    }
}
