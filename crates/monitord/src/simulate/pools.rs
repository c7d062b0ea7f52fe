//! Pools of connections: one in eight groups is one server, to which all its targets share some.
//!
//! A check of such a target asks for a connection, may have to wait, looks, and gives it back - or
//! is cut off in between. The server's side, the network and when somebody who is served comes to
//! take it are made up; who gets which connection, and when one is made, the pool's kernel decides.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use monitor_fault::{Fault, Layer, Reason};
use monitor_pool::simulation::{Answer, Connection, Effect, Failure, Kernel, Ticket, Waiter};

use super::audit::{Audit, Property};
use super::runs::Manner;
use super::targets::{GROUPS, How};
use super::world::{Event, World};
use super::{Ms, Plan, Plant, SECOND, at, ms};

/// One in so many groups shares a pool, and not the one that shares a breaker.
const SHARED: u32 = 8;
/// The first of them.
pub(super) const FIRST: u32 = SHARED / 2;
/// So many connections for so many targets of a group: enough while all is well.
const TARGETS_EACH: u32 = 100;

/// The connections to one server, with the books of the audit.
pub(super) struct Pool {
    kernel: Kernel<u32, Fault>,
    /// How many connections there may be.
    max: usize,
    /// How many there are, being made and being closed included.
    there: usize,
    /// Which check uses which connection.
    holders: HashMap<u32, u32>,
    /// What goes on, by number.
    tasks: HashMap<u64, Task>,
    /// Who is served and has not come yet.
    late: HashSet<u64>,
    /// When the kernel is looked at next.
    due: Option<Ms>,
}

/// Something that takes its time.
enum Task {
    Connect(Ticket, Result<(), Fault>),
    Check(Connection<u32>, bool),
    Close(Connection<u32>),
}

/// What a check has of a pool.
#[derive(Debug, Default)]
pub(super) enum Hold {
    #[default]
    Nothing,
    Waits(Waiter),
    Has(Connection<u32>),
}

impl Pool {
    fn new(plan: &Plan, group: u32) -> Self {
        let max = (plan.targets / (GROUPS * TARGETS_EACH)) as usize + 2;
        let extra = if plan.plant == Some(Plant::ExtraConnections) {
            2 * max
        } else {
            0
        };
        let allowed = NonZeroUsize::MIN.saturating_add(max + extra - 1);
        Self {
            kernel: Kernel::new(allowed, plan.seed ^ u64::from(group)),
            max,
            there: 0,
            holders: HashMap::new(),
            tasks: HashMap::new(),
            late: HashSet::new(),
            due: None,
        }
    }

    /// All of them, by group.
    pub(super) fn all(plan: &Plan) -> Vec<Option<Box<Self>>> {
        let is_one = |group: &u32| group % SHARED == FIRST;
        let groups = 0..GROUPS;
        groups
            .map(|group| is_one(&group).then(|| Box::new(Self::new(plan, group))))
            .collect()
    }

    /// Looks for what must not be; `now` all effects have been carried out.
    fn look_through(&self, now: Ms, audit: &mut Audit) {
        let status = self.kernel.status(at(now));
        let could_connect = status.size < self.max && status.connect_retry_in.is_none();
        let is_free = status.idle > 0 || could_connect;
        let is_under_way = status.checking + status.connecting > 0 || !self.late.is_empty();
        if status.waiting > 0 && is_free && !is_under_way {
            let what = format!(
                "{} wait for a connection, {} are idle",
                status.waiting, status.idle
            );
            audit.fail(Property::L2, now, None, what);
        }
        if status.leased != self.holders.len() {
            let (out, held) = (status.leased, self.holders.len());
            let what = format!("{out} connections are out, {held} are in use");
            audit.fail(Property::L3, now, None, what);
        }
    }
}

impl World<'_> {
    /// The pools of a new process; the connections of the last one ended with it.
    pub(super) fn renew_pools(&mut self) {
        let counts = &mut self.tally.connections;
        for pool in self.pools.iter().flatten() {
            let totals = pool.kernel.status(at(self.now)).totals;
            counts.acquired += totals.acquired;
            counts.after_wait += totals.acquired_after_wait;
            counts.revoked += totals.offers_revoked;
            counts.timed_out += totals.timed_out;
        }
        self.pools = Pool::all(self.plan);
    }

    fn group(&self, key: u32) -> usize {
        usize::from(self.targets.all[key as usize].group)
    }

    /// Lets a check that begins look, once it has a connection if it needs one.
    pub(super) fn look_connected(&mut self, place: u32) {
        let Some(live) = &self.live[place as usize] else {
            return;
        };
        let (name, key, deadline) = (live.name, live.key, live.deadline);
        let now = at(self.now);
        match &mut self.pools[usize::from(self.targets.all[key as usize].group)] {
            None => self.look(place),
            Some(pool) => {
                let answer = pool.kernel.acquire(name, now, at(deadline));
                self.answered(place, answer);
                self.settle(self.group(key));
            }
        }
    }

    /// Somebody who was woken comes to see, long after.
    pub(super) fn poll_late(&mut self, group: u32, name: u64) {
        if let Some(pool) = &mut self.pools[group as usize]
            && pool.late.remove(&name)
        {
            self.poll(name);
            self.settle(group as usize);
        }
    }

    /// Somebody who was woken comes to see.
    fn poll(&mut self, name: u64) {
        let place = place_of(name);
        let is_it = |live: &&mut super::runs::Live| live.name == name;
        let live = self.live.get_mut(place as usize).and_then(Option::as_mut);
        let Some(live) = live.filter(is_it) else {
            return;
        };
        let group = usize::from(self.targets.all[live.key as usize].group);
        let Some(pool) = &mut self.pools[group] else {
            return;
        };
        match std::mem::take(&mut live.hold) {
            Hold::Waits(waiter) => {
                let answer = pool.kernel.poll(waiter, name, at(self.now));
                self.answered(place, answer);
            }
            other => live.hold = other,
        }
    }

    fn answered(&mut self, place: u32, answer: Answer<u32, Fault>) {
        let now = self.now;
        let Some(live) = &mut self.live[place as usize] else {
            return;
        };
        match answer {
            Answer::Ready(connection) => {
                let (line, key) = (*connection.value(), live.key);
                live.hold = Hold::Has(connection);
                let group = usize::from(self.targets.all[key as usize].group);
                let pool = self.pools[group].as_mut();
                let other = pool.and_then(|pool| pool.holders.insert(line, place));
                if other.is_some() {
                    let what = format!("connection {line} is in use by another check");
                    self.audit.fail(Property::S3, now, Some(key), what);
                }
                self.look(place);
                self.go_on_without(place);
            }
            Answer::Waits(waiter) => {
                live.hold = Hold::Waits(waiter);
                live.manner = Manner::Waits;
                let deadline = live.deadline;
                self.end_at(place, deadline);
            }
            Answer::Failed(failure) => {
                live.manner = match failure {
                    Failure::Connect(fault) => Manner::Looks {
                        fault: Some(fault),
                        is_overdue: false,
                    },
                    // Too few connections are the prober's own fault.
                    _ => Manner::Waits,
                };
                self.end_at(place, now);
            }
        }
    }

    /// The planted fault: it gives the connection back, and goes on to use it.
    fn go_on_without(&mut self, place: u32) {
        if self.plan.plant != Some(Plant::TwoHolders) || !self.planting.plant() {
            return;
        }
        let Some(live) = &mut self.live[place as usize] else {
            return;
        };
        let group = usize::from(self.targets.all[live.key as usize].group);
        if let (Hold::Has(connection), Some(pool)) =
            (std::mem::take(&mut live.hold), &mut self.pools[group])
        {
            let _ = pool.kernel.release(connection, true, at(self.now));
        }
        self.end_at(place, self.now + super::HOUR);
    }

    /// A check lets go of what it has of a pool: a connection that is `fit`, or was cut off.
    pub(super) fn let_go(&mut self, live: &mut super::runs::Live, fit: bool) {
        let group = self.group(live.key);
        let now = at(self.now);
        let Some(pool) = &mut self.pools[group] else {
            return;
        };
        match std::mem::take(&mut live.hold) {
            Hold::Nothing => return,
            Hold::Waits(waiter) => pool.kernel.give_up(waiter, now),
            Hold::Has(connection) => {
                let line = *connection.value();
                pool.holders.remove(&line);
                if self.plan.plant == Some(Plant::KeepConnection) && self.planting.plant() {
                    // Nobody has it any more, and the pool does not know.
                } else if pool.kernel.release(connection, fit, now).is_err() {
                    let what = format!("connection {line} came back, and was not out");
                    self.audit
                        .fail(Property::S3, self.now, Some(live.key), what);
                }
            }
        }
        self.settle(group);
    }

    /// Carries out what a pool wants done.
    fn settle(&mut self, group: usize) {
        while let Some(effects) = self.pools[group]
            .as_mut()
            .map(|pool| pool.kernel.take_effects())
            .filter(|effects| !effects.is_empty())
        {
            for effect in effects {
                self.carry_out_in(group, effect);
            }
        }
        let now = self.now;
        let Some(pool) = &mut self.pools[group] else {
            return;
        };
        let due = pool.kernel.next(at(now)).map(|due| ms_up(due).max(now + 1));
        if due.is_some_and(|due| pool.due.is_none_or(|set| due < set)) {
            pool.due = due;
        } else {
            return;
        }
        if let Some(due) = due {
            let pool = group as u32;
            self.schedule(due, Event::PoolDue { pool });
        }
    }

    fn carry_out_in(&mut self, group: usize, effect: Effect<u32>) {
        let outage = self.targets.outage(group);
        let (task, after) = match effect {
            Effect::Wake(name) => {
                // Once in a while its task is not run for longer than the pool is patient.
                if self.chance.is(0.05) {
                    let comes = self.now + self.chance.span(1, 100);
                    let pool = group as u32;
                    self.schedule(comes, Event::Poll { pool, name });
                    if let Some(pool) = &mut self.pools[group] {
                        pool.late.insert(name);
                    }
                } else {
                    self.poll(name);
                }
                return;
            }
            Effect::Connect(ticket) => {
                let (after, result) = self.connects(outage);
                (Task::Connect(ticket, result), after)
            }
            Effect::Check(connection) => {
                let fit = matches!(outage, None | Some(How::Errs | How::HasNoName));
                let hangs = outage == Some(How::Hangs);
                let after = if hangs { 5 * SECOND } else { 1 };
                (Task::Check(connection, fit), after)
            }
            Effect::Close(connection, _) => {
                let hangs = self.chance.is(0.01);
                let after = if hangs { 5 * SECOND } else { 1 };
                (Task::Close(connection), after)
            }
            _ => return,
        };
        let after = after + self.chance.below(5);
        let number = self.next_number();
        let Some(pool) = &mut self.pools[group] else {
            return;
        };
        if matches!(task, Task::Connect(..)) {
            pool.there += 1;
            if pool.there > pool.max {
                let what = format!("{} connections of {}", pool.there, pool.max);
                self.audit.fail(Property::S4, self.now, None, what);
            }
        }
        pool.tasks.insert(number, task);
        let pool = group as u32;
        self.schedule(self.now + after, Event::PoolTask { pool, number });
    }

    /// What an attempt to connect comes to, and when.
    fn connects(&mut self, outage: Option<How>) -> (Ms, Result<(), Fault>) {
        let refused = |reason| Err(Fault::new(Layer::Connect, reason));
        match outage {
            Some(How::Hangs) => (10 * SECOND, refused(Reason::Timeout)),
            Some(How::Refuses) => (1, refused(Reason::Refused)),
            Some(How::HasNoName) => (50, Err(Fault::new(Layer::Dns, Reason::Servfail))),
            Some(How::Errs) | None if self.chance.is(0.002) => (1, refused(Reason::Refused)),
            Some(How::Errs) | None => (1 + self.chance.below(50), Ok(())),
        }
    }

    /// Something that took its time is done.
    pub(super) fn end_task(&mut self, group: u32, number: u64) {
        let (now, line) = (at(self.now), number as u32);
        let Some(pool) = &mut self.pools[group as usize] else {
            return;
        };
        // Those of a process that is gone went with it.
        match pool.tasks.remove(&number) {
            None => return,
            Some(Task::Connect(ticket, Ok(()))) => pool.kernel.connected(ticket, line, now),
            Some(Task::Connect(ticket, Err(fault))) => {
                pool.there -= 1;
                pool.kernel.connect_failed(ticket, fault, false, now);
            }
            Some(Task::Check(connection, fit)) => {
                pool.there -= usize::from(!fit);
                pool.kernel.checked(connection, fit, now);
            }
            Some(Task::Close(connection)) => {
                pool.there -= 1;
                pool.kernel.closed(connection, now);
            }
        }
        self.settle(group as usize);
    }

    /// A deadline, an offer that nobody took, an age: something may have come due in a pool.
    pub(super) fn pool_due(&mut self, group: u32) {
        let now = self.now;
        if let Some(pool) = &mut self.pools[group as usize]
            && pool.due.is_some_and(|due| due <= now)
        {
            pool.due = None;
            pool.kernel.advance(at(now));
            self.settle(group as usize);
        }
    }

    pub(super) fn look_through_pools(&mut self) {
        for pool in self.pools.iter().flatten() {
            pool.look_through(self.now, &mut self.audit);
        }
    }

    /// The process ends: nobody may have anything of a pool any more.
    pub(super) fn close_pools(&mut self) {
        let now = self.now;
        for pool in self.pools.iter_mut().flatten() {
            pool.kernel.close(at(now));
            let status = pool.kernel.status(at(now));
            let left = status.leased + status.offered + status.idle + status.waiting;
            if left > 0 {
                let what = format!("a pool is closed, and of it are left: {status:?}");
                self.audit.fail(Property::L3, now, None, what);
            }
        }
    }
}

/// The name of a check: its place, and a number that no other check there has.
pub(super) const fn name_of(place: u32, number: u64) -> u64 {
    (number << 32) | place as u64
}

const fn place_of(name: u64) -> u32 {
    name as u32
}

/// Not before.
fn ms_up(span: std::time::Duration) -> Ms {
    ms(span) + u64::from(!span.subsec_nanos().is_multiple_of(1_000_000))
}
