//! The kernel against a plain sequential model: random steps, each compared and each invariant
//! asserted.
//!
//! The model knows no slots, offers or alarms. It knows who asked in which order, what is out, and
//! what the world owes the pool: attempts, checks, goodbyes. From that it says whether a caller
//! may be served and in which order.

use std::{collections::VecDeque, task::Waker, time::Duration};

use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};

use super::{
    super::{Acquired, Actions, ConnectTicket, Failure, Kernel, Poll, SlotId, Tick, WaiterId},
    world::{at, kernel, somebody, still},
};
use crate::{CloseReason, IdleOrder, Phase, config::Settings};

/// A made-up connection, which cannot be copied.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    slot: SlotId,
    number: u64,
}

/// What may happen next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Acquire { timeout: u64 },
    Poll(usize),
    Cancel(usize),
    Release(usize),
    Break(usize),
    Detach(usize),
    Connected(usize),
    ConnectFailed { which: usize, permanent: bool },
    ConnectDropped(usize),
    CheckPassed(usize),
    CheckFailed(usize),
    Closed(usize),
    Wait(u64),
    Tick,
    Resize(usize),
    Reset,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1_u64..200).prop_map(|timeout| Step::Acquire { timeout }),
        8 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::Cancel),
        10 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Break),
        1 => any::<usize>().prop_map(Step::Detach),
        10 => any::<usize>().prop_map(Step::Connected),
        2 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, permanent)| Step::ConnectFailed { which, permanent }),
        1 => any::<usize>().prop_map(Step::ConnectDropped),
        4 => any::<usize>().prop_map(Step::CheckPassed),
        1 => any::<usize>().prop_map(Step::CheckFailed),
        6 => any::<usize>().prop_map(Step::Closed),
        4 => (0_u64..60).prop_map(Step::Wait),
        6 => Just(Step::Tick),
        1 => (1_usize..5).prop_map(Step::Resize),
        1 => Just(Step::Reset),
    ];
    (prop::collection::vec(step, 1..120), any::<bool>()).prop_map(|(mut steps, close)| {
        if close {
            let middle = steps.len() / 2;
            steps.insert(middle, Step::Close);
        }
        steps
    })
}

/// The settings that are varied.
#[derive(Clone, Debug)]
struct Setup {
    max_size: usize,
    min_idle: usize,
    connect_limit: usize,
    order: IdleOrder,
    check_if_idle_for: Option<Duration>,
    max_lifetime: Option<Duration>,
    max_uses: Option<u32>,
    max_waiters: usize,
}

impl Setup {
    fn settings(&self) -> Settings {
        Settings {
            min_idle: self.min_idle.min(self.max_size),
            connect_limit: Some(self.connect_limit.min(self.max_size)),
            order: self.order,
            check_if_idle_for: self.check_if_idle_for,
            max_lifetime: self.max_lifetime,
            max_uses: self.max_uses,
            max_waiters: self.max_waiters,
            ..still(self.max_size)
        }
    }
}

prop_compose! {
    fn setups()(
        max_size in 1_usize..4,
        min_idle in 0_usize..3,
        connect_limit in 1_usize..4,
        order in prop_oneof![Just(IdleOrder::Lifo), Just(IdleOrder::Fifo)],
        check in prop::option::of(0_u64..40),
        lifetime in prop::option::of(20_u64..200),
        max_uses in prop::option::of(1_u32..5),
        max_waiters in 1_usize..6,
    ) -> Setup {
        let (check_if_idle_for, max_lifetime) = (
            check.map(Duration::from_millis),
            lifetime.map(Duration::from_millis),
        );
        Setup {
            max_size, min_idle, connect_limit, order, check_if_idle_for, max_lifetime, max_uses,
            max_waiters,
        }
    }
}

/// Somebody who waits.
#[derive(Debug)]
struct Asking {
    id: WaiterId,
    deadline: Tick,
    /// Has let an offer lapse: may be overtaken by who got it then.
    lapsed: bool,
}

/// The pool and what is outside of it.
struct World {
    kernel: Kernel<Token, u32>,
    now: Tick,
    rng: SmallRng,
    /// Who waits, in the order in which they asked.
    waiting: VecDeque<Asking>,
    out: Vec<Token>,
    connecting: Vec<ConnectTicket>,
    checking: Vec<(SlotId, Token)>,
    closing: Vec<(SlotId, Token)>,
    /// The epoch of the model: numbers of connections begun up to the last reset are old.
    oldest: u64,
    newest: u64,
    max: usize,
    closed: bool,
    max_waiters: usize,
}

impl World {
    fn new(settings: &Settings) -> Self {
        Self {
            kernel: kernel(settings),
            now: at(0),
            rng: SmallRng::seed_from_u64(3),
            waiting: VecDeque::new(),
            out: Vec::new(),
            connecting: Vec::new(),
            checking: Vec::new(),
            closing: Vec::new(),
            oldest: 0,
            newest: 0,
            max: settings.max_size,
            closed: false,
            max_waiters: settings.max_waiters,
        }
    }

    fn step<R>(
        &mut self,
        decide: impl FnOnce(&mut Kernel<Token, u32>, Tick, &mut SmallRng, &mut Actions<u32>) -> R,
    ) -> R {
        let mut actions = Actions::default();
        let before = self.kernel.live();
        let result = decide(&mut self.kernel, self.now, &mut self.rng, &mut actions);
        let orders = self.kernel.take_orders(self.now);
        self.kernel.assert_size(before);
        for ticket in orders.connects {
            assert!(ticket.number > self.newest, "numbers are unique");
            self.newest = ticket.number;
            self.connecting.push(ticket);
        }
        self.checking.extend(orders.checks);
        let closes = orders.closes.into_iter();
        self.closing
            .extend(closes.map(|(slot, token, _)| (slot, token)));
        result
    }

    /// Somebody got a connection.
    fn take(&mut self, token: Token) {
        assert!(!self.closed, "INV-POOL-5: served by a closed pool");
        assert!(
            token.number > self.oldest,
            "a connection of before the reset"
        );
        assert!(
            self.out.iter().all(|other| other.number != token.number),
            "INV-POOL-3: two holders"
        );
        self.out.push(token);
    }

    fn acquire(&mut self, timeout: u64) {
        let deadline = Tick(self.now.0 + timeout * 1_000_000);
        let waiters = self.waiting.len();
        let answer = self.step(|kernel, now, _, actions| {
            match kernel.try_wait(now, deadline, somebody(), Waker::noop().clone()) {
                Ok(id) => Acquired::Waits(id),
                Err(waker) => kernel.acquire(now, deadline, somebody(), waker, actions),
            }
        });
        match answer {
            Acquired::Hit(token) => self.take(token),
            Acquired::Waits(id) => {
                assert!(!self.closed && waiters < self.max_waiters);
                self.waiting.push_back(Asking {
                    id,
                    deadline,
                    lapsed: false,
                });
            }
            Acquired::Failed(Failure::Closed) => assert!(self.closed),
            Acquired::Failed(Failure::Overloaded) => assert_eq!(waiters, self.max_waiters),
            Acquired::Failed(Failure::Connect(_)) => assert!(self.out.is_empty()),
            Acquired::Failed(other) => panic!("{other:?} at once"),
        }
    }

    fn poll(&mut self, position: usize) {
        let asking = &mut self.waiting[position];
        asking.lapsed |= self.kernel.is_dormant(asking.id);
        let (id, deadline) = (asking.id, asking.deadline);
        let answer = self
            .step(|kernel, now, _, actions| kernel.poll(id, now, Waker::noop().clone(), actions));
        match answer {
            Poll::Ready(token) => self.take(token),
            Poll::Pending => {
                assert!(!self.closed, "INV-POOL-5: still waiting");
                assert!(self.now < deadline, "STB-34: beyond the deadline");
                return;
            }
            Poll::Failed(Failure::Timeout(_)) => assert!(self.now >= deadline, "too early"),
            Poll::Failed(Failure::Closed) => assert!(self.closed),
            Poll::Failed(Failure::Connect(_)) => {}
            Poll::Failed(other) => panic!("{other:?} while waiting"),
        }
        self.waiting.remove(position);
    }

    /// Polls all who wait, in order: who asked first is served first.
    fn poll_all(&mut self) {
        let mut position = 0;
        let mut passed_over = false;
        while position < self.waiting.len() {
            let (before, out) = (self.waiting.len(), self.out.len());
            self.poll(position);
            if self.out.len() > out {
                assert!(
                    !passed_over,
                    "STB-27: served before somebody who asked earlier"
                );
            }
            if self.waiting.len() == before {
                passed_over |= !self.waiting[position].lapsed;
                position += 1;
            }
        }
    }

    fn give_back(&mut self, which: usize, fitness: Result<(), CloseReason>) {
        let token = self.out.swap_remove(which);
        let (slot, number) = (token.slot, token.number);
        let token = match fitness {
            Ok(()) => match self.kernel.try_park(slot, number, token) {
                Ok(()) => return,
                Err(token) => {
                    match self.step(|kernel, now, _, _| kernel.try_pass(slot, number, token, now)) {
                        Ok(_) => return,
                        Err(token) => token,
                    }
                }
            },
            Err(_) => token,
        };
        let rogue = self.step(|kernel, now, _, actions| {
            kernel.release(slot, number, token, fitness, now, actions)
        });
        assert_eq!(rogue, Ok(()));
    }

    fn connected(&mut self, which: usize) {
        let ticket = self.connecting.swap_remove(which);
        let token = Token {
            slot: ticket.slot,
            number: ticket.number,
        };
        self.step(|kernel, now, rng, actions| kernel.connected(&ticket, token, now, rng, actions));
    }

    /// Does one step, if it is possible.
    fn run(&mut self, step: &Step) {
        let choose = |which: &usize, len: usize| (len > 0).then(|| which % len);
        match step {
            Step::Acquire { timeout } => self.acquire(*timeout),
            Step::Poll(which) => {
                if let Some(at) = choose(which, self.waiting.len()) {
                    self.poll(at);
                }
            }
            Step::Cancel(which) => {
                if let Some(at) = choose(which, self.waiting.len())
                    && let Some(Asking { id, .. }) = self.waiting.remove(at)
                {
                    self.step(|kernel, now, _, actions| kernel.cancel(id, now, actions));
                }
            }
            Step::Release(which) => {
                if let Some(at) = choose(which, self.out.len()) {
                    self.give_back(at, Ok(()));
                }
            }
            Step::Break(which) => {
                if let Some(at) = choose(which, self.out.len()) {
                    self.give_back(at, Err(CloseReason::Tainted));
                }
            }
            Step::Detach(which) => {
                if let Some(at) = choose(which, self.out.len()) {
                    let token = self.out.swap_remove(at);
                    self.step(|kernel, now, _, actions| {
                        kernel.detach(token.slot, token.number, now, actions);
                    });
                }
            }
            _ => self.run_outside(step),
        }
    }

    /// A step of the world outside, or of time.
    fn run_outside(&mut self, step: &Step) {
        let choose = |which: &usize, len: usize| (len > 0).then(|| which % len);
        match step {
            Step::Connected(which) => {
                if let Some(at) = choose(which, self.connecting.len()) {
                    self.connected(at);
                }
            }
            Step::ConnectFailed { which, permanent } => {
                if let Some(at) = choose(which, self.connecting.len()) {
                    let ticket = self.connecting.swap_remove(at);
                    let permanent = *permanent;
                    self.step(|kernel, now, rng, actions| {
                        kernel.connect_failed(&ticket, 7, permanent, now, rng, actions);
                    });
                }
            }
            Step::ConnectDropped(which) => {
                if let Some(at) = choose(which, self.connecting.len()) {
                    let ticket = self.connecting.swap_remove(at);
                    self.step(|kernel, now, _, actions| {
                        kernel.connect_dropped(&ticket, now, actions);
                    });
                }
            }
            Step::CheckPassed(which) => {
                if let Some(at) = choose(which, self.checking.len()) {
                    let (slot, token) = self.checking.swap_remove(at);
                    self.step(|kernel, now, _, actions| kernel.checked(slot, token, now, actions));
                }
            }
            Step::CheckFailed(which) => {
                if let Some(at) = choose(which, self.checking.len()) {
                    let (slot, _) = self.checking.swap_remove(at);
                    self.step(|kernel, now, _, actions| kernel.check_failed(slot, now, actions));
                }
            }
            Step::Closed(which) => {
                if let Some(at) = choose(which, self.closing.len()) {
                    let (slot, _) = self.closing.swap_remove(at);
                    self.step(|kernel, now, _, actions| kernel.closed(slot, now, actions));
                }
            }
            Step::Wait(millis) => self.now = Tick(self.now.0 + millis * 1_000_000),
            Step::Tick => self.step(|kernel, now, _, actions| kernel.tick(now, actions)),
            Step::Resize(max) => {
                self.max = *max;
                self.step(|kernel, now, _, actions| kernel.resize(*max, now, actions));
            }
            Step::Reset => {
                self.oldest = self.newest;
                self.step(|kernel, now, _, actions| kernel.reset(now, actions));
            }
            _ => {
                self.closed = true;
                self.step(|kernel, now, _, actions| kernel.close(now, actions));
            }
        }
    }

    /// The world does all it owes, time passes, callers come and give back: all who wait are
    /// served in the order of their coming, or told why not.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.connecting.is_empty() {
                self.connected(0);
            }
            for step in [Step::CheckPassed(0), Step::Closed(0)] {
                while !self.checking.is_empty() && matches!(step, Step::CheckPassed(_))
                    || !self.closing.is_empty() && matches!(step, Step::Closed(_))
                {
                    self.run(&step);
                }
            }
            self.poll_all();
            while !self.out.is_empty() {
                self.give_back(0, Ok(()));
            }
            if self.waiting.is_empty() && self.connecting.is_empty() && self.closing.is_empty() {
                return;
            }
            self.run(&Step::Wait(1));
            self.run(&Step::Tick);
        }
        panic!("L1: somebody waits for ever: {:?}", self.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// STB-23..28, STB-30, STB-34, STB-55, STB-56: whatever happens in whatever order, nobody
    /// shares a connection, nobody is forgotten, nobody overtakes, and the maximum holds.
    #[test]
    fn inv_pool_1_2_3_4_5_6_the_kernel_follows_the_model(
        setup in setups(),
        steps in steps(),
    ) {
        let mut world = World::new(&setup.settings());
        for step in &steps {
            world.run(step);
        }
        world.settle();
        if world.closed {
            world.step(|kernel, now, _, actions| kernel.tick(now, actions));
            prop_assert_eq!(world.kernel.phase(), Phase::Closed);
            prop_assert_eq!(world.kernel.live(), 0);
        } else {
            prop_assert!(world.kernel.live() <= world.max);
        }
    }
}
