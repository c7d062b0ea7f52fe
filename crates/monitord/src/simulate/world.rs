//! The world: events in the order of their time, and the driver between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use monitor_core::operation::Operations;
use monitor_fault::CategoryStreaks;
use monitor_scheduler::simulation::{Effect, Kernel, Start};
use monitor_scheduler::{MissedReason, Saturation};

use super::audit::{Audit, Property};
use super::books::{Book, Life, Note, Terms};
use super::chance::Chance;
use super::pools::Pool;
use super::process::{self, EPOCH_UNIX_MS, Process};
use super::runs::Live;
use super::store::Store;
use super::tally::{Report, Tally};
use super::targets::{Targets, closes_within};
use super::{MINUTE, Ms, Plan, Template, at, ms};

/// How often the audit goes through all keys.
const AUDIT_EVERY: Ms = 10 * MINUTE;
/// Nobody loses more due times in a row to others than this: the weights are 1 to 4, and all the
/// faults together want some three times the permits there are.
const LOSSES: u8 = 40;
/// How many failures in a row have a wait of their own in the tables.
const WAITS: u32 = 32;

/// All there is, at one time.
pub(super) struct World<'a> {
    pub(super) plan: &'a Plan,
    pub(super) kernel: Kernel<u32>,
    pub(super) operations: Operations<u32>,
    pub(super) process: Process,
    /// What the wall clock would have said at the start, in unix milliseconds: as it is now, and as
    /// the process took it when it started.
    pub(super) wall_unix_ms: i64,
    pub(super) process_unix_ms: i64,
    pub(super) store: Store,
    pub(super) targets: Targets,
    /// By group, where it shares one.
    pub(super) pools: Vec<Option<Box<Pool>>>,
    pub(super) books: Vec<Book>,
    /// All keys in the order in which they first come due. Kernels are told of them in this one, so
    /// that who comes next mostly lies next in memory.
    pub(super) order: Vec<u32>,
    pub(super) audit: Audit,
    pub(super) tally: Tally,
    pub(super) chance: Chance,
    pub(super) now: Ms,
    /// The driver does nothing before this.
    pub(super) held_up_until: Ms,
    /// Checks that go on, and the places between them that are free: the last one that was left is
    /// taken first, so that few of them are in use and those stay in the caches.
    pub(super) live: Vec<Option<Live>>,
    pub(super) vacant: Vec<u32>,
    /// Checks that hold a permit.
    pub(super) holding: usize,
    /// The trials that go on of the breaker that a group shares, by the epoch that admitted them.
    pub(super) trials: Vec<Vec<u64>>,
    /// What the driver has to do and the books to note, in order.
    inbox: VecDeque<Item>,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    numbers: u64,
    /// By template and by whether it was edited.
    terms: Vec<[Rc<Terms>; 2]>,
    pub(super) planting: Planting,
    /// Failures in a row by category, of those keys that tell them apart.
    pub(super) streaks: HashMap<u32, CategoryStreaks>,
}

/// How far the fault that is to be found has come.
#[derive(Debug, Default)]
pub(super) struct Planting {
    /// Its time has come.
    pub(super) is_ripe: bool,
    pub(super) is_done: bool,
    /// Operations that are not given back.
    pub(super) kept: Vec<monitor_core::operation::Operation<u32>>,
}

impl Planting {
    /// Whether now is the time: once.
    pub(super) fn plant(&mut self) -> bool {
        self.is_ripe && !std::mem::replace(&mut self.is_done, true)
    }
}

enum Item {
    Effect(Effect<u32>),
    Note(u32, Note),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Ms,
    /// Of two at one time the one that was scheduled first comes first.
    number: u64,
    event: Event,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A check ends, unless it has since been called off.
    End {
        place: u32,
        version: u64,
    },
    /// The driver wakes up from being held up, or the time to end is over.
    Wake,
    /// Somebody who was served by a pool comes late.
    Poll {
        pool: u32,
        name: u64,
    },
    /// Something that a pool wanted done is.
    PoolTask {
        pool: u32,
        number: u64,
    },
    /// Something may have come due in a pool.
    PoolDue {
        pool: u32,
    },
    Audit,
    Plant,
    /// At least one restart in each run.
    Restart,
    Fault(super::faults::Fault),
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let operations = Operations::with_seed(plan.seed);
        let targets = Targets::new(plan, &mut chance);
        let terms = terms(plan);
        let books = targets.all.iter().map(|target| {
            let [terms, _] = &terms[usize::from(target.template)];
            Book::new(Rc::clone(terms))
        });
        let books: Vec<_> = books.collect();
        let mut order: Vec<_> = (0..plan.targets).collect();
        order.sort_by_key(|key| process::phase(*key, books[*key as usize].terms.interval));
        Self {
            plan,
            kernel: process::kernel(plan, &operations, EPOCH_UNIX_MS),
            operations,
            process: Process::Up,
            wall_unix_ms: EPOCH_UNIX_MS,
            process_unix_ms: EPOCH_UNIX_MS,
            store: Store::new(plan.targets),
            pools: Pool::all(plan),
            books,
            order,
            audit: Audit::default(),
            tally: Tally::new(ms(plan.duration)),
            chance,
            now: 0,
            held_up_until: 0,
            live: Vec::new(),
            vacant: Vec::new(),
            holding: 0,
            trials: targets.groups.iter().map(|_| Vec::new()).collect(),
            targets,
            inbox: VecDeque::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            numbers: 0,
            terms,
            planting: Planting::default(),
            streaks: HashMap::new(),
        }
    }

    pub(super) fn run(mut self, mut progress: impl FnMut(f64)) -> Report {
        let end = ms(self.plan.duration);
        for place in 0..self.order.len() {
            self.place(self.order[place], false);
        }
        self.schedule_faults();
        self.schedule(AUDIT_EVERY, Event::Audit);
        self.schedule(end / 3, Event::Plant);
        self.schedule(end / 2, Event::Restart);
        let mut told = 0;
        while let Some(next) = self.next_moment().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
            let percent = self.now * 100 / end.max(1);
            if percent > told {
                told = percent;
                #[expect(clippy::cast_precision_loss, reason = "percent")]
                progress(told as f64 / 100.0);
            }
            if self.plan.plant.is_some() && self.audit.total > 0 {
                // What follows from what was found says nothing.
                return self.tally.report(self.audit.found, self.audit.total);
            }
        }
        self.now = self.now.max(end);
        self.held_up_until = 0;
        self.wind_up();
        self.tally.report(self.audit.found, self.audit.total)
    }

    /// The process ends in order. What else would happen meanwhile does not.
    fn wind_up(&mut self) {
        if self.process == Process::Down {
            return;
        }
        self.drive();
        if self.process == Process::Up {
            self.begin_end();
            self.drive();
            self.end_if_over();
        }
        while self.process != Process::Down
            && let Some(next) = self.next_moment()
        {
            self.now = self.now.max(next);
            let is_trouble = |next: &Reverse<Scheduled>| {
                next.0.at <= self.now && matches!(next.0.event, Event::Fault(_) | Event::Plant)
            };
            if self.events.peek().is_some_and(is_trouble) {
                self.events.pop();
            } else {
                self.step();
            }
        }
    }

    /// When something happens next: an event, or a timer of the kernel if the driver is there.
    fn next_moment(&mut self) -> Option<Ms> {
        let event = self.events.peek().map(|Reverse(next)| next.at);
        let timer = self.kernel.next().map(ms).filter(|_| !self.is_held_up());
        event.into_iter().chain(timer).min()
    }

    fn step(&mut self) {
        self.tally.events += 1;
        let is_due = |next: &Reverse<Scheduled>| next.0.at <= self.now;
        if self.events.peek().is_some_and(is_due)
            && let Some(Reverse(next)) = self.events.pop()
        {
            self.happen(next.event);
        }
        if !self.is_held_up() {
            self.drive();
        }
        self.end_if_over();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::End { place, version } => self.end(place, version),
            Event::Wake => {}
            Event::Audit => {
                if !self.is_held_up() && self.process == Process::Up {
                    self.drive();
                    self.look_through();
                }
                self.schedule(self.now + AUDIT_EVERY, Event::Audit);
            }
            Event::Plant if self.process != Process::Up => {
                self.schedule(self.now + MINUTE, Event::Plant);
            }
            Event::Plant => self.ripen(),
            Event::Restart => self.restart_if_up(),
            Event::Poll { pool, name } => self.poll_late(pool, name),
            Event::PoolTask { pool, number } => self.end_task(pool, number),
            Event::PoolDue { pool } => self.pool_due(pool),
            Event::Fault(fault) => self.go_wrong(fault),
        }
    }

    pub(super) fn schedule(&mut self, at: Ms, event: Event) {
        self.scheduled += 1;
        let number = self.scheduled;
        self.events.push(Reverse(Scheduled { at, number, event }));
    }

    /// The driver does nothing now, for it is held up or not there.
    pub(super) fn is_held_up(&self) -> bool {
        self.now < self.held_up_until || self.process == Process::Down
    }

    /// What the driver does when it is awake: all there is to do now.
    pub(super) fn drive(&mut self) {
        loop {
            if self.kernel.next().is_some_and(|next| ms(next) <= self.now) {
                self.kernel.advance(at(self.now));
                self.collect();
            } else if self.inbox.is_empty() {
                return;
            }
            let mut starts: Vec<Start<u32>> = Vec::new();
            while let Some(item) = self.inbox.pop_front() {
                match item {
                    Item::Effect(Effect::Start(start)) => starts.push(start),
                    other => {
                        self.begin(std::mem::take(&mut starts));
                        self.carry_out(other);
                    }
                }
            }
            self.begin(starts);
        }
    }

    fn begin(&mut self, starts: Vec<Start<u32>>) {
        if starts.is_empty() {
            return;
        }
        let begun = self.kernel.begin(starts, at(self.now));
        begun.iter().for_each(|it| self.touch(*it.operation.key()));
        for begun in begun {
            self.begun(begun);
        }
    }

    /// Reads a little of everywhere before it is the turn of a key: so its memory comes all at the
    /// same time and not one piece after the other, which is what many keys cost most.
    fn touch(&self, key: u32) {
        let book = &self.books[key as usize];
        let breaker = self.targets.all[key as usize].breaker.as_ref();
        let breaker = breaker.map(|it| (it.state(at(self.now)), Arc::weak_count(it)));
        black_box((book.generation, self.store.row(key).epoch, breaker));
    }

    fn carry_out(&mut self, item: Item) {
        match item {
            Item::Note(key, note) => self.books[key as usize].note(note),
            Item::Effect(Effect::Missed(missed)) => {
                let told = self.tells_missed(missed.reason, missed.key);
                for _ in 0..told {
                    let (key, due) = (missed.key, ms(missed.due.at));
                    let (slots, reason) = (missed.slots, missed.reason);
                    self.tally.missed(key, due, slots, reason, self.now);
                    let book = &mut self.books[key as usize];
                    book.missed(due, slots, reason, self.now, key, &mut self.audit);
                    book.plan(self.kernel.timer(&key).map(ms));
                    self.look_for_starvation(key);
                    if reason != MissedReason::Withdrawn {
                        self.commit_missed(&missed);
                    }
                }
            }
            Item::Effect(Effect::Abort(run)) => self.abort(run),
            // A handler that heeds its deadline has looked at the clock itself.
            Item::Effect(_) => {}
        }
    }

    /// Takes what the kernel wants done. After each step that changes it.
    pub(super) fn collect(&mut self) {
        let effects = self.kernel.drain_effects();
        self.inbox.extend(effects.map(Item::Effect));
    }

    pub(super) fn note(&mut self, key: u32, note: Note) {
        self.inbox.push_back(Item::Note(key, note));
    }

    /// Schedules a key, or edits it.
    pub(super) fn place(&mut self, key: u32, edited: bool) {
        let terms = self.terms(key, edited);
        let Ok(spec) = self.spec(key, edited).build() else {
            return;
        };
        if let Ok(is_new) = self.kernel.schedule(key, spec, at(self.now)) {
            self.store.edit(key, edited);
            self.write_change(key, Life::Active);
            if !is_new {
                self.call_off(key);
            }
            self.collect();
            self.books[key as usize].plan(self.kernel.timer(&key).map(ms));
            let at = self.now;
            self.note(key, Note::Placed { at, terms });
        }
    }

    pub(super) fn terms(&self, key: u32, edited: bool) -> Rc<Terms> {
        let template = self.targets.all[key as usize].template;
        Rc::clone(&self.terms[usize::from(template)][usize::from(edited)])
    }

    /// A number that was never used before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What the books have not noted yet; all else that was to be done is forgotten.
    pub(super) fn take_notes(&mut self) -> Vec<(u32, Note)> {
        let inbox = self.inbox.drain(..);
        let notes = inbox.filter_map(|item| match item {
            Item::Note(key, note) => Some((key, note)),
            Item::Effect(_) => None,
        });
        notes.collect()
    }

    /// Looks at each key, and at the whole.
    fn look_through(&mut self) {
        let now = self.now;
        for key in 0..self.plan.targets {
            let book = &self.books[key as usize];
            if book.is_overdue(now) && !self.is_queued(key) {
                let due = self.books[key as usize].promised;
                let says = self.says(key);
                let what = format!("nothing was heard since it was due at {due} ms; {says}");
                self.audit.fail(Property::L1, now, Some(key), what);
                // Told once is enough.
                self.books[key as usize].promised = Ms::MAX / 2;
            }
            self.look_at_breaker(key);
        }
        self.look_through_pools();
        let numbers = self.kernel.numbers(at(now));
        if numbers.queue_depth > 0 && self.holding < self.plan.max_concurrent.get() {
            let what = format!("{} wait beside a free permit", numbers.queue_depth);
            self.audit.fail(Property::L2, now, None, what);
        }
        if numbers.permits_held != self.holding {
            let what = format!("{} of {} runs", numbers.permits_held, self.holding);
            self.audit.fail(
                Property::L3,
                now,
                None,
                format!("permits are held by {what}"),
            );
        }
    }

    /// What the kernel says of a key about which the books wonder.
    fn says(&mut self, key: u32) -> String {
        let timer = self.kernel.timer(&key).map(ms);
        match self.kernel.explain(&key, at(self.now)) {
            Some(it) => format!(
                "the kernel says: {}, next {:?} ms, timer {timer:?} ms, {:?}",
                it.why,
                it.next.map(|due| ms(due.at)),
                it.limits
            ),
            None => "the kernel does not know it".to_owned(),
        }
    }

    fn is_queued(&mut self, key: u32) -> bool {
        let explained = self.kernel.explain(&key, at(self.now));
        explained.is_some_and(|it| it.state == monitor_scheduler::KeyState::Queued)
    }

    /// Who has lost many due times to others goes before them.
    fn look_for_starvation(&mut self, key: u32) {
        let is_shed = matches!(self.plan.saturation, Saturation::Shed { .. });
        if is_shed && self.books[key as usize].losses == LOSSES {
            let what = format!("passed over {LOSSES} times in a row");
            self.audit.fail(Property::L7, self.now, Some(key), what);
        }
    }

    fn look_at_breaker(&mut self, key: u32) {
        let now = self.now;
        let book = &self.books[key as usize];
        let target = &self.targets.all[key as usize];
        let within = closes_within(&self.plan.templates[usize::from(target.template)]);
        let Some(well) = self.targets.well_since(key) else {
            return;
        };
        let (false, Some(breaker)) = (well + within > now, &target.breaker) else {
            return;
        };
        let state = breaker.state(at(now));
        if book.life == Life::Active && state != monitor_breaker::State::Closed {
            let what = format!("{state} though nothing is wrong since {well} ms");
            self.audit.fail(Property::L6, now, Some(key), what);
            self.targets.all[key as usize].well_since = Ms::MAX / 2;
        }
    }
}

fn terms(plan: &Plan) -> Vec<[Rc<Terms>; 2]> {
    let of = |template: &Template| {
        let backoff = template.backoff();
        let jitter = backoff.jitter().ratio();
        [1, 2].map(|times| {
            let interval = template.settings.interval * times;
            let shortest = |failures| ms(*backoff.range(failures, interval).start());
            Rc::new(Terms {
                interval: ms(interval),
                // A class that is stretched waits three times as long.
                longest_wait: 3 * ms(*backoff.range(u32::MAX, interval).end()),
                jitter: ms(interval.mul_f64(jitter / 2.0)),
                waits: (1..=WAITS).map(shortest).collect(),
            })
        })
    };
    plan.templates.iter().map(of).collect()
}
