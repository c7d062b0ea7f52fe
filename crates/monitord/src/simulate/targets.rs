//! The other side: targets that answer, and do not.

use std::sync::Arc;
use std::time::Duration;

use monitor_breaker::Breaker;
use monitor_fault::{Fault, Layer, Reason};

use super::chance::Chance;
use super::{HOUR, MINUTE, Ms, Plan, Plant, SECOND, Template};

/// One in so many groups is one dependency: all its targets share a breaker.
const SHARED: u32 = 8;
/// How many trials such a breaker admits at once.
pub(super) const SHARED_TRIALS: usize = 2;
pub(super) const GROUPS: u32 = 64;

/// All targets.
pub(super) struct Targets {
    pub(super) all: Vec<Target>,
    pub(super) groups: Vec<Group>,
}

/// One target, with the breaker that the prober keeps for it.
pub(super) struct Target {
    pub(super) group: u16,
    pub(super) template: u16,
    temper: Temper,
    /// How long an answer takes.
    latency_ms: u32,
    /// Outages of its own that are going on.
    outages: u16,
    how: How,
    /// Since when nothing keeps its breaker from closing.
    pub(super) well_since: Ms,
    pub(super) breaker: Option<Arc<Breaker>>,
    /// It shares its breaker with its group.
    pub(super) is_shared: bool,
}

/// Targets that are down together.
pub(super) struct Group {
    outages: u16,
    how: How,
    pub(super) well_since: Ms,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Temper {
    Steady,
    /// An answer in ten takes seconds.
    Slow,
    /// An answer in twenty is an error.
    Flaky,
}

/// How something is down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Refuses,
    Hangs,
    Errs,
    HasNoName,
}

/// What a check will see.
pub(super) enum Sight {
    Answer { after: Ms },
    Failure { after: Ms, fault: Fault },
    Nothing,
}

impl Targets {
    pub(super) fn new(plan: &Plan, chance: &mut Chance) -> Self {
        let all = (0..plan.targets).map(|key| {
            let group = key % GROUPS;
            let is_shared =
                group.is_multiple_of(SHARED) && plan.templates[0].settings.breaker.is_some();
            Target {
                group: group as u16,
                template: (key as usize % plan.templates.len()) as u16,
                temper: match chance.below(100) {
                    _ if is_shared => Temper::Steady,
                    0 => Temper::Slow,
                    1 | 2 => Temper::Flaky,
                    _ => Temper::Steady,
                },
                latency_ms: chance.span(10, 300) as u32,
                outages: 0,
                how: How::Refuses,
                well_since: 0,
                breaker: None,
                is_shared,
            }
        });
        let group = || Group {
            outages: 0,
            how: How::Refuses,
            well_since: 0,
        };
        let mut targets = Self {
            all: all.collect(),
            groups: (0..GROUPS).map(|_| group()).collect(),
        };
        targets.renew_breakers(plan);
        targets
    }

    /// The breakers of a new process: closed, whatever those of the last one had seen.
    pub(super) fn renew_breakers(&mut self, plan: &Plan) {
        let shared: Vec<_> = (0..GROUPS).map(|group| shared(plan, group)).collect();
        for (key, target) in (0..).zip(&mut self.all) {
            target.breaker = match &shared[usize::from(target.group)] {
                Some(breaker) => Some(Arc::clone(breaker)),
                None => {
                    let template = &plan.templates[usize::from(target.template)];
                    own_breaker(template, plan.seed ^ key)
                }
            };
        }
    }

    /// How a group is down as one, if it is.
    pub(super) fn outage(&self, group: usize) -> Option<How> {
        let group = &self.groups[group];
        (group.outages > 0).then_some(group.how)
    }

    /// What a check of a target that begins now will see.
    pub(super) fn look(&self, key: u32, chance: &mut Chance) -> Sight {
        let target = &self.all[key as usize];
        let group = &self.groups[usize::from(target.group)];
        if group.outages > 0 {
            return down(group.how, chance);
        }
        if target.outages > 0 {
            return down(target.how, chance);
        }
        let latency = u64::from(target.latency_ms);
        match target.temper {
            Temper::Slow if chance.is(0.1) => Sight::Answer {
                after: chance.span(2 * SECOND, MINUTE),
            },
            Temper::Flaky if chance.is(0.05) => down(How::Errs, chance),
            _ => Sight::Answer {
                after: latency / 2 + chance.below(latency + 1),
            },
        }
    }

    /// One target goes down. False where it cannot alone.
    pub(super) fn fall(&mut self, key: u32, chance: &mut Chance) -> bool {
        let target = &mut self.all[key as usize];
        if target.is_shared {
            return false;
        }
        target.outages += 1;
        target.how = How::any(chance);
        true
    }

    pub(super) fn rise(&mut self, key: u32, now: Ms) {
        let target = &mut self.all[key as usize];
        target.outages = target.outages.saturating_sub(1);
        target.well_since = now;
    }

    /// A group goes down as one.
    pub(super) fn fall_together(&mut self, group: usize, chance: &mut Chance) {
        self.groups[group].outages += 1;
        self.groups[group].how = How::any(chance);
    }

    /// The same, and it says nothing at all.
    pub(super) fn fall_silent(&mut self, group: usize) {
        self.groups[group].outages += 1;
        self.groups[group].how = How::Hangs;
    }

    pub(super) fn rise_together(&mut self, group: usize, now: Ms) {
        let group = &mut self.groups[group];
        group.outages = group.outages.saturating_sub(1);
        group.well_since = now;
    }

    pub(super) fn count_groups(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Since when the breaker of a target has had no reason not to close, if it has none.
    pub(super) fn well_since(&self, key: u32) -> Option<Ms> {
        let target = &self.all[key as usize];
        let group = &self.groups[usize::from(target.group)];
        let is_well = target.temper == Temper::Steady && target.outages == 0 && group.outages == 0;
        is_well.then(|| target.well_since.max(group.well_since))
    }
}

impl How {
    fn any(chance: &mut Chance) -> Self {
        match chance.below(4) {
            0 => Self::Refuses,
            1 => Self::Hangs,
            2 => Self::Errs,
            _ => Self::HasNoName,
        }
    }
}

fn down(how: How, chance: &mut Chance) -> Sight {
    let (after, layer, reason) = match how {
        How::Hangs => return Sight::Nothing,
        How::Refuses => (1 + chance.below(5), Layer::Connect, Reason::Refused),
        How::Errs => (5 + chance.below(200), Layer::Response, Reason::ServerError),
        How::HasNoName => (2 + chance.below(2000), Layer::Dns, Reason::Servfail),
    };
    let fault = Fault::new(layer, reason);
    Sight::Failure { after, fault }
}

/// What a check saw that reached its deadline.
pub(super) fn no_answer() -> Fault {
    Fault::new(Layer::Response, Reason::Timeout)
}

fn own_breaker(template: &Template, seed: u64) -> Option<Arc<Breaker>> {
    let config = template.settings.breaker.as_ref()?;
    // What was valid is so with a seed.
    let config = config.to_builder().seed(seed).build().ok()?;
    Some(Arc::new(Breaker::new(config)))
}

fn shared(plan: &Plan, group: u32) -> Option<Arc<Breaker>> {
    let config = plan.templates[0].settings.breaker.as_ref()?;
    if !group.is_multiple_of(SHARED) {
        return None;
    }
    let trials = SHARED_TRIALS as u32 + 3 * u32::from(plan.plant == Some(Plant::ExtraTrial));
    let builder = config.to_builder().half_open_trials(trials);
    let builder = builder.success_threshold(trials.max(2));
    let builder = builder.seed(plan.seed ^ u64::from(group));
    // As many trials as successes are enough for any trip.
    builder
        .build()
        .ok()
        .map(|config| Arc::new(Breaker::new(config)))
}

/// Within which time the breaker of a well target is to close: the longest wait, the longest open
/// interval, and a few checks, each of which may come late.
pub(super) fn closes_within(template: &Template) -> Ms {
    let longest_open = template.recovery.max(Duration::from_secs(600)) * 2;
    super::ms(template.longest_wait() + longest_open + template.settings.interval * 8) + HOUR
}
