//! Rules that take no randomness: races reported, the demand, the deadline's exactness.

use std::{task::Waker, time::Duration};

use super::{
    super::{Acquired, Actions, Kernel, Poll, SlotId, Tick},
    world::{at, kernel, somebody, still},
};
use crate::config::Settings;
use rand::{SeedableRng, rngs::SmallRng};

type Plain = Kernel<u64, &'static str>;

fn waker() -> Waker {
    Waker::noop().clone()
}

/// A kernel with one connection, which is out.
fn one_out() -> (Plain, SlotId, u64) {
    one_out_of(&still(1))
}

fn one_out_of(settings: &Settings) -> (Plain, SlotId, u64) {
    let mut kernel = kernel(settings);
    let (slot, number) = take_new(&mut kernel, at(0));
    (kernel, slot, number)
}

/// Takes a connection that is made for it.
fn take_new(kernel: &mut Plain, now: Tick) -> (SlotId, u64) {
    let (mut actions, mut rng) = (Actions::default(), SmallRng::seed_from_u64(1));
    let asked = kernel.acquire(now, at(1000), somebody(), waker(), &mut actions);
    let Acquired::Waits(id) = asked else {
        panic!("nothing was idle")
    };
    let ticket = kernel.take_orders(now).connects.into_iter().next().unwrap();
    kernel.connected(&ticket, ticket.number, now, &mut rng, &mut actions);
    let taken = kernel.poll(id, now, waker(), &mut actions);
    assert!(matches!(taken, Poll::Ready(number) if number == ticket.number));
    (ticket.slot, ticket.number)
}

/// STB-41, S3: a connection that comes back without being out is counted, refused and given back
/// to be dropped; the one that is out stays out.
#[test]
fn inv_pool_3_a_race_is_detected() {
    let (mut kernel, slot, number) = one_out();
    let mut actions = Actions::default();
    for forged in [number + 1, number + 7] {
        assert_eq!(kernel.try_park(slot, forged, forged), Err(forged));
        let refused = kernel.release(slot, forged, forged, Ok(()), at(0), &mut actions);
        assert_eq!(refused, Err(forged));
    }
    assert_eq!(kernel.status(at(0)).totals.races, 2);
    assert_eq!(kernel.try_park(slot, number, number), Ok(()));
    assert_eq!(kernel.try_park(slot, number, number), Err(number));
    let twice = kernel.release(slot, number, number, Ok(()), at(0), &mut actions);
    assert_eq!(twice, Err(number));
    assert_eq!(kernel.status(at(0)).totals.races, 3);
    assert_eq!(kernel.status(at(0)).idle, 1);
}

/// The hot path says no as soon as anything else has to be done.
#[test]
fn inv_pool_2_the_hot_path_passes_nobody_by() {
    let (mut kernel, slot, number) = one_out();
    let mut actions = Actions::default();
    let asked = kernel.acquire(at(0), at(1000), somebody(), waker(), &mut actions);
    assert!(matches!(asked, Acquired::Waits(_)));
    assert_eq!(kernel.try_park(slot, number, number), Err(number));
    assert_eq!(
        kernel.release(slot, number, number, Ok(()), at(0), &mut actions),
        Ok(())
    );
    assert!(kernel.try_hit(at(0), somebody()).is_none(), "overtaken");
    assert_eq!(kernel.status(at(0)).offered, 1);
}

/// The driver is told to look exactly when something is due, and not before.
#[test]
fn inv_pool_6_deadlines_are_due_when_they_are() {
    let (mut kernel, _, _) = one_out();
    let mut actions = Actions::default();
    // The offer has been taken; its alarm is a lower bound, and sees that.
    kernel.tick(at(10), &mut actions);
    let asked = kernel.acquire(at(5), at(105), somebody(), waker(), &mut actions);
    let Acquired::Waits(_) = asked else {
        panic!("it is out")
    };
    assert_eq!(kernel.arm(at(5)), at(105));
    kernel.tick(at(104), &mut actions);
    assert_eq!(kernel.status(at(104)).waiting, 1);
    kernel.tick(at(105), &mut actions);
    assert_eq!(kernel.status(at(105)).waiting, 0);
    assert!(!actions.wakes.is_empty());
}

/// STB-57: who waits is not handed a connection beyond its lifetime; another one is made for him.
#[test]
fn inv_pool_3_an_expired_connection_is_not_handed_over() {
    let (mut kernel, slot, number) = one_out_of(&Settings {
        max_lifetime: Some(Duration::from_millis(100)),
        ..still(1)
    });
    let mut actions = Actions::default();
    let asked = kernel.acquire(at(5), at(1000), somebody(), waker(), &mut actions);
    assert!(matches!(asked, Acquired::Waits(_)));
    assert!(kernel.try_pass(slot, number, number, at(100)).is_err());
    let back = kernel.release(slot, number, number, Ok(()), at(100), &mut actions);
    assert_eq!(back, Ok(()));
    let status = kernel.status(at(100));
    assert_eq!((status.offered, status.closing, status.waiting), (0, 1, 1));
}

/// The hot paths of a busy pool leave to the others whatever the driver has to be told of: an
/// offer or a deadline that is due before the driver looks, and what does not fit or is not out.
#[test]
fn inv_pool_2_6_the_busy_paths_leave_the_driver_nothing_to_miss() {
    let (mut kernel, slot, number) = one_out();
    let mut actions = Actions::default();
    kernel.tick(at(20), &mut actions);
    assert_eq!(kernel.arm(at(20)), at(1000));
    // The driver would sleep through the deadline.
    assert!(
        kernel
            .try_wait(at(20), at(500), somebody(), waker())
            .is_err()
    );
    let asked = kernel.acquire(at(20), at(500), somebody(), waker(), &mut actions);
    assert!(matches!(asked, Acquired::Waits(_)));
    assert!(std::mem::take(&mut actions).wake_driver);
    assert_eq!(kernel.arm(at(20)), at(500));
    assert!(
        kernel
            .try_wait(at(20), at(400), somebody(), waker())
            .is_err(),
        "too early"
    );
    assert!(
        kernel
            .try_wait(at(20), at(600), somebody(), waker())
            .is_ok()
    );
    // It would sleep through the end of the offer.
    assert_eq!(
        kernel.try_pass(slot, number, number, at(20)).unwrap_err(),
        number
    );
    assert_eq!(
        kernel.try_pass(slot, number + 1, 9, at(495)).unwrap_err(),
        9
    );
    let passed = kernel.try_pass(slot, number, number, at(495));
    assert!(passed.unwrap().is_some(), "nobody was woken");
    assert_eq!(kernel.status(at(495)).offered, 1);
    // What lies offered is revocable from now on for whoever comes.
    assert!(
        kernel
            .try_wait(at(480), at(600), somebody(), waker())
            .is_err()
    );
}

/// A newcomer waits on the hot path only where every connection is with somebody, and never beyond
/// the bound of the queue.
#[test]
fn inv_pool_4_the_busy_paths_leave_room_and_bounds_alone() {
    let (mut kernel, slot, number) = one_out_of(&Settings {
        max_waiters: 1,
        ..still(2)
    });
    let ask = |kernel: &mut Plain| kernel.try_wait(at(0), at(1), somebody(), waker());
    let mut actions = Actions::default();
    kernel.tick(at(0), &mut actions);
    assert!(ask(&mut kernel).is_err(), "there is room to connect");
    kernel.resize(1, at(0), &mut actions);
    assert!(ask(&mut kernel).is_ok());
    assert!(ask(&mut kernel).is_err(), "the queue is full");
    kernel.close(at(0), &mut actions);
    assert!(ask(&mut kernel).is_err(), "it is closed");
    assert!(
        kernel.try_pass(slot, number, number, at(0)).is_err(),
        "it is closed"
    );
}

/// STB-32: after a failure nothing is tried until the back-off is over, and then one at a time.
#[test]
fn inv_pool_4_a_failure_holds_everything_back() {
    let (mut kernel, mut actions): (Plain, _) = (kernel(&still(4)), Actions::default());
    for _ in 0..4 {
        let asked = kernel.acquire(at(0), at(90_000), somebody(), waker(), &mut actions);
        assert!(matches!(asked, Acquired::Waits(_)));
    }
    let mut rng = SmallRng::seed_from_u64(1);
    for ticket in kernel.take_orders(at(0)).connects {
        kernel.connect_failed(&ticket, "down", false, at(0), &mut rng, &mut actions);
    }
    assert!(
        !kernel.has_orders(at(49)),
        "the first wait is 50 ms at least"
    );
    assert_eq!(
        kernel.take_orders(at(60_000)).connects.into_iter().count(),
        1
    );
}

/// STB-36: an idle connection that needs no check is taken before one that does, whatever the
/// order.
#[test]
fn inv_pool_2_the_fresh_go_first() {
    let (mut kernel, old, first) = one_out_of(&Settings {
        check_if_idle_for: Some(Duration::from_millis(100)),
        ..still(2)
    });
    let (new, second) = take_new(&mut kernel, at(50));
    assert_eq!(kernel.try_park(new, second, second), Ok(()));
    assert_eq!(kernel.try_park(old, first, first), Ok(()));
    let mut actions = Actions::default();
    let asked = kernel.acquire(at(120), at(1000), somebody(), waker(), &mut actions);
    assert!(
        matches!(asked, Acquired::Hit(number) if number == second),
        "{asked:?}"
    );
}
