//! Models of the real kernel behind its real lock.
//!
//! The threads are what meets in a pool: callers, tasks that connect, the driver. A connection is
//! a cell that loom watches: to hold it twice, or to get it without what happened before, fails.
//! That every thread ends is the proof that nobody is forgotten.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use loom::{cell::Cell, future::block_on, sync::Arc, thread};
use rand::{SeedableRng, rngs::SmallRng};

use super::{
    super::{
        Acquired, Actions, ConnectTicket, Failure, Fitness, Kernel, Orders, SlotId, Tick, WaiterId,
    },
    world::{at, kernel, somebody, still},
};
use crate::{
    CloseReason, Phase,
    config::Settings,
    sync::{Mutex, lock},
};

/// A connection: loom sees who writes to it, and whether that comes after the one before.
struct Token {
    slot: SlotId,
    number: u64,
    writes: Cell<u64>,
    is_held: AtomicBool,
}

struct Pool {
    kernel: Mutex<Kernel<Box<Token>, &'static str>>,
}

/// What the guard is to a real pool.
struct Held(Box<Token>);

impl Pool {
    fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            kernel: Mutex::new(kernel(settings)),
        })
    }

    /// A pool of which all connections are idle.
    fn filled(settings: &Settings) -> Arc<Self> {
        let pool = Self::new(settings);
        let held: Vec<_> = (0..settings.max_size)
            .map(|_| block_on(pool.acquire(at(0))).unwrap())
            .collect();
        held.into_iter().for_each(|held| pool.release(held, at(0)));
        pool
    }

    /// Lock, decide, unlock, act; what a runtime would do is done at once.
    fn step<R>(
        &self,
        now: Tick,
        decide: impl FnOnce(&mut Kernel<Box<Token>, &'static str>, &mut Actions<&'static str>) -> R,
    ) -> R {
        let (result, orders) = self.step_and_order(now, decide);
        self.carry_out(orders, now);
        result
    }

    fn step_and_order<R>(
        &self,
        now: Tick,
        decide: impl FnOnce(&mut Kernel<Box<Token>, &'static str>, &mut Actions<&'static str>) -> R,
    ) -> (R, Orders<Box<Token>>) {
        let mut actions = Actions::default();
        let mut kernel = lock(&self.kernel);
        let before = kernel.live();
        let result = decide(&mut kernel, &mut actions);
        let orders = kernel.take_orders(now);
        kernel.assert_size(before);
        drop(kernel);
        for waker in actions.wakes {
            waker.wake();
        }
        (result, orders)
    }

    fn carry_out(&self, orders: Orders<Box<Token>>, now: Tick) {
        for ticket in orders.connects {
            self.connect(&ticket, now);
        }
        for (slot, token) in orders.checks {
            self.step(now, |kernel, actions| {
                kernel.checked(slot, token, now, actions);
            });
        }
        for (slot, token, _) in orders.closes {
            drop(token);
            self.step(now, |kernel, actions| kernel.closed(slot, now, actions));
        }
    }

    fn connect(&self, ticket: &ConnectTicket, now: Tick) {
        let token = Box::new(Token {
            slot: ticket.slot,
            number: ticket.number,
            writes: Cell::new(0),
            is_held: AtomicBool::new(false),
        });
        let mut rng = SmallRng::seed_from_u64(1);
        self.step(now, |kernel, actions| {
            kernel.connected(ticket, token, now, &mut rng, actions);
        });
    }

    /// As the shell's drop of an object: the hot paths first.
    fn release(&self, held: Held, now: Tick) {
        self.give_back(held, Ok(()), now);
    }

    fn give_back(&self, Held(token): Held, fitness: Fitness, now: Tick) {
        token.is_held.store(false, Ordering::Relaxed);
        let (slot, number) = (token.slot, token.number);
        let token = if fitness.is_ok() {
            let mut kernel = lock(&self.kernel);
            let passed = match kernel.try_park(slot, number, token) {
                Ok(()) => return,
                Err(token) => kernel.try_pass(slot, number, token, now),
            };
            drop(kernel);
            match passed {
                Ok(waker) => return waker.into_iter().for_each(Waker::wake),
                Err(token) => token,
            }
        } else {
            token
        };
        let rogue = self.step(now, |kernel, actions| {
            kernel.release(slot, number, token, fitness, now, actions)
        });
        assert!(
            rogue.is_ok(),
            "INV-POOL-3: a connection that was out was not"
        );
    }

    fn tick(&self, now: Tick) {
        self.step(now, |kernel, actions| kernel.tick(now, actions));
    }

    fn close(&self) {
        self.step(at(0), |kernel, actions| kernel.close(at(0), actions));
    }
}

trait Acquiring {
    fn acquire(&self, now: Tick) -> Acquire;
}

impl Acquiring for Arc<Pool> {
    fn acquire(&self, now: Tick) -> Acquire {
        Acquire {
            pool: Arc::clone(self),
            now,
            deadline: at(1000),
            id: None,
            is_over: false,
        }
    }
}

/// The shell's future, without its clock and its words.
struct Acquire {
    pool: Arc<Pool>,
    now: Tick,
    deadline: Tick,
    id: Option<WaiterId>,
    is_over: bool,
}

impl Future for Acquire {
    type Output = Result<Held, Failure<&'static str>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (now, deadline, waker) = (self.now, self.deadline, cx.waker().clone());
        let pool = Arc::clone(&self.pool);
        let answer = match self.id {
            Some(id) => pool.step(now, |kernel, actions| {
                match kernel.poll(id, now, waker, actions) {
                    super::super::Poll::Ready(token) => Acquired::Hit(token),
                    super::super::Poll::Failed(failure) => Acquired::Failed(failure),
                    super::super::Poll::Pending => Acquired::Waits(id),
                }
            }),
            None => pool.step(now, |kernel, actions| {
                match kernel.try_wait(now, deadline, somebody(), waker) {
                    Ok(id) => Acquired::Waits(id),
                    Err(waker) => kernel.acquire(now, deadline, somebody(), waker, actions),
                }
            }),
        };
        self.is_over = !matches!(answer, Acquired::Waits(_));
        match answer {
            Acquired::Hit(token) => Poll::Ready(Ok(Held::new(token))),
            Acquired::Failed(failure) => Poll::Ready(Err(failure)),
            Acquired::Waits(id) => {
                self.id = Some(id);
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let (Some(id), false) = (self.id, self.is_over) {
            let now = self.now;
            self.pool
                .step(now, |kernel, actions| kernel.cancel(id, now, actions));
        }
    }
}

impl Held {
    fn new(token: Box<Token>) -> Self {
        let was_held = token.is_held.swap(true, Ordering::Relaxed);
        assert!(!was_held, "INV-POOL-3: two holders of one connection");
        token.writes.set(token.writes.get() + 1);
        Self(token)
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Acquires, and gives back.
fn borrow(pool: &Arc<Pool>) {
    let held = block_on(pool.acquire(at(0))).unwrap();
    pool.release(held, at(0));
}

/// STB-23, STB-52: two callers and one place: both are served, never at the same time.
///
/// Breaks when who is handed a connection is not woken: in `hand_over`, drop the waker.
#[test]
fn loom_inv_pool_3_6_two_callers_one_slot() {
    loom::model(|| {
        let pool = Pool::new(&still(1));
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || borrow(&pool)
        });
        borrow(&pool);
        other.join().unwrap();
    });
}

/// STB-55, L3: a caller that was offered a connection and gives up passes it on.
///
/// Breaks when `cancel` treats `Wait::Offered` like the other states.
#[test]
fn loom_inv_pool_2_an_offer_given_up_goes_on() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let gives_up = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut acquire = pin!(pool.acquire(at(0)));
                if let Poll::Ready(Ok(held)) = poll_once(acquire.as_mut()) {
                    pool.release(held, at(0));
                }
            }
        });
        let waits = thread::spawn({
            let pool = Arc::clone(&pool);
            move || borrow(&pool)
        });
        pool.release(held, at(0));
        gives_up.join().unwrap();
        waits.join().unwrap();
    });
}

/// STB-55: a connection that is made for somebody who has left is there for the next.
///
/// Breaks when a connection for which nobody waits is thrown away: in `hand_over`, `start_close`
/// instead of `push_idle`.
#[test]
fn loom_inv_pool_3_connect_against_cancel() {
    loom::model(|| {
        let pool = Pool::new(&still(1));
        let (id, orders) = pool.step_and_order(at(0), |kernel, actions| {
            kernel.acquire(at(0), at(1000), somebody(), Waker::noop().clone(), actions)
        });
        let Acquired::Waits(id) = id else {
            panic!("nothing was idle")
        };
        let connects = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.carry_out(orders, at(0))
        });
        pool.step(at(0), |kernel, actions| kernel.cancel(id, at(0), actions));
        connects.join().unwrap();
        let again = block_on(pool.acquire(at(0))).unwrap();
        assert_eq!(again.0.number, 1, "the connection was thrown away");
    });
}

/// STB-51, L4: close against release against acquire: who asks is served or told; nothing is left.
///
/// Breaks when a connection comes back to a closed pool: in `unfit`, leave out the phase.
#[test]
fn loom_inv_pool_5_close_against_release_against_acquire() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let closes = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.close()
        });
        let asks = thread::spawn({
            let pool = Arc::clone(&pool);
            move || match block_on(pool.acquire(at(0))) {
                Ok(held) => pool.release(held, at(0)),
                Err(failure) => assert_eq!(failure, Failure::Closed),
            }
        });
        pool.release(held, at(0));
        closes.join().unwrap();
        asks.join().unwrap();
        assert_eq!(lock(&pool.kernel).phase(), Phase::Closed);
    });
}

/// STB-25, S4: a smaller maximum against two that come back and one who asks.
///
/// Breaks when what is too many is kept: in `unfit`, leave out the size.
#[test]
fn loom_inv_pool_1_shrink_against_release_against_acquire() {
    loom::model(|| {
        let pool = Pool::filled(&still(2));
        let [one, two] = [(); 2].map(|()| block_on(pool.acquire(at(0))).unwrap());
        let shrinks = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.step(at(0), |kernel, actions| kernel.resize(1, at(0), actions))
        });
        let returns = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                pool.release(one, at(0));
                borrow(&pool);
            }
        });
        pool.release(two, at(0));
        shrinks.join().unwrap();
        returns.join().unwrap();
        assert!(
            lock(&pool.kernel).live() <= 1,
            "INV-POOL-1: more than the new maximum"
        );
    });
}

/// An offer that is taken back against its taking: exactly one gets it, and both are served.
///
/// Breaks when who lost an offer still believes in it: in `revoke_offers`, leave out `Dormant`.
#[test]
fn loom_inv_pool_3_revoke_against_accept() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let mut slow = Box::pin(pool.acquire(at(0)));
        assert!(poll_once(slow.as_mut()).is_pending());
        let mut behind = Box::pin(pool.acquire(at(0)));
        assert!(poll_once(behind.as_mut()).is_pending());
        pool.release(held, at(0));
        let driver = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.tick(at(20))
        });
        let accepts = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let held = block_on(slow).unwrap();
                pool.release(held, at(20));
            }
        });
        let held = block_on(behind).unwrap();
        pool.release(held, at(20));
        driver.join().unwrap();
        accepts.join().unwrap();
    });
}

/// L1: an attempt to connect that is dropped with its runtime: who waits gets another.
///
/// Breaks when the slot is not given back: in `connect_dropped`, leave out `vacate`.
#[test]
fn loom_inv_pool_4_connect_dropped_against_wait() {
    loom::model(|| {
        let pool = Pool::new(&still(1));
        let (id, orders) = pool.step_and_order(at(0), |kernel, actions| {
            kernel.acquire(at(0), at(1000), somebody(), Waker::noop().clone(), actions)
        });
        let Acquired::Waits(id) = id else {
            panic!("nothing was idle")
        };
        let dies = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                for ticket in orders.connects {
                    pool.step(at(0), |kernel, actions| {
                        kernel.connect_dropped(&ticket, at(0), actions);
                    });
                }
            }
        });
        let mut waits = pool.acquire(at(0));
        waits.id = Some(id);
        let held = block_on(waits).unwrap();
        pool.release(held, at(0));
        dies.join().unwrap();
    });
}

/// STB-30, L1: an attempt that fails, and the driver that comes after the back-off: who waits is
/// served, whatever the order.
///
/// Breaks when the failed attempt keeps its slot: in `connect_failed`, leave out `vacate`.
#[test]
fn loom_inv_pool_4_connect_failed_against_wait() {
    loom::model(|| {
        let pool = Pool::new(&still(1));
        let (id, orders) = pool.step_and_order(at(0), |kernel, actions| {
            kernel.acquire(
                at(0),
                at(90_000),
                somebody(),
                Waker::noop().clone(),
                actions,
            )
        });
        let Acquired::Waits(id) = id else {
            panic!("nothing was idle")
        };
        let fails = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut rng = SmallRng::seed_from_u64(1);
                for ticket in orders.connects {
                    pool.step(at(0), |kernel, actions| {
                        let error = "panicked";
                        kernel.connect_failed(&ticket, error, false, at(0), &mut rng, actions);
                    });
                }
                pool.tick(at(60_000));
            }
        });
        let mut waits = pool.acquire(at(1));
        waits.id = Some(id);
        let held = block_on(waits).unwrap();
        pool.release(held, at(1));
        fails.join().unwrap();
    });
}

/// A reset against a return: after both, nobody gets the old connection.
///
/// Breaks when a connection of an older epoch is kept: in `unfit`, leave out the epoch.
#[test]
fn loom_inv_pool_3_reset_against_return() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let old = held.0.number;
        let resets = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.step(at(0), |kernel, actions| kernel.reset(at(0), actions))
        });
        pool.release(held, at(0));
        resets.join().unwrap();
        let held = block_on(pool.acquire(at(0))).unwrap();
        assert!(held.0.number > old, "a connection of before the reset");
        pool.release(held, at(0));
    });
}

/// A waiter that moves to another task against the offer: the newer waker is woken.
///
/// Breaks when `poll` keeps the older waker of a queued waiter.
#[test]
fn loom_inv_pool_6_moved_waiter_against_offer() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let mut moves = Box::pin(pool.acquire(at(0)));
        assert!(poll_once(moves.as_mut()).is_pending());
        let waits = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let held = block_on(moves).unwrap();
                pool.release(held, at(0));
            }
        });
        pool.release(held, at(0));
        waits.join().unwrap();
    });
}

/// STB-34: a deadline against a release: the connection is not lost with the one who is too late.
///
/// Breaks when who is told is not woken: in `give_up_on`, drop the waker.
#[test]
fn loom_inv_pool_2_6_deadline_against_release() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let driver = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.tick(at(1000))
        });
        let waits = thread::spawn({
            let pool = Arc::clone(&pool);
            move || match block_on(pool.acquire(at(0))) {
                Ok(held) => pool.release(held, at(0)),
                Err(failure) => assert!(matches!(failure, Failure::Timeout(_))),
            }
        });
        pool.release(held, at(0));
        driver.join().unwrap();
        waits.join().unwrap();
        borrow(&pool);
    });
}

/// STB-30: a broken connection that comes back while somebody waits: a new one is made for him.
///
/// Breaks when a slot that is closed stays occupied: in `closed`, leave out `vacate`.
#[test]
fn loom_inv_pool_4_broken_return_against_wait() {
    loom::model(|| {
        let pool = Pool::filled(&still(1));
        let held = block_on(pool.acquire(at(0))).unwrap();
        let waits = thread::spawn({
            let pool = Arc::clone(&pool);
            move || borrow(&pool)
        });
        pool.give_back(held, Err(CloseReason::Tainted), at(0));
        waits.join().unwrap();
    });
}
