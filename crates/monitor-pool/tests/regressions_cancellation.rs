//! Defects of other pools: callers that give up, connections and wake-ups that get lost.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use monitor_pool::{AcquireError, Event};
use tokio::time::sleep;

use fake::{Act, Fake, caller, settle};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);

/// Polls `future` once, and it has to be pending.
fn start<F: Future>(future: Pin<&mut F>) {
    let pending = future.poll(&mut Context::from_waker(Waker::noop()));
    assert!(pending.is_pending());
}

/// STB-55 and transact-rs/sqlx#620: a waiter was left in the queue when its `acquire` was dropped,
/// and the pool hung, because only a release wakes.
#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_is_not_served_in_place_of_the_next() {
    let pool = Fake::default().pool(1);
    let held = pool.acquire().await.unwrap();
    {
        let mut waiting = pin!(pool.acquire());
        start(waiting.as_mut());
    }
    assert_eq!(pool.status().waiting, 0);
    let next = caller(&pool, Duration::ZERO);
    settle().await;
    drop(held);
    next.await.unwrap().unwrap();
}

/// STB-55 and transact-rs/sqlx#1869: an `acquire` that was cancelled during the check lost the
/// connection, and with it the database that was in its memory.
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_during_a_check_does_not_cost_the_connection() {
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    fake.check_does(Act::Hang);
    pool.acquire_timeout(SECOND).await.unwrap_err();
    assert_eq!(pool.status().checking, 1);
    fake.check_does(Act::Work);
    assert_eq!(pool.acquire().await.unwrap().number, 1);
}

/// STB-55 and transact-rs/sqlx#3513, #3315, #3132, #2848, jackc/pgx#1259: an `acquire` that was
/// cancelled threw the connection that was being made for it away; slow connects never came to an
/// end.
#[tokio::test(start_paused = true)]
async fn a_connect_outlives_the_caller_who_wanted_it() {
    let fake = Fake::default();
    fake.connect_does(Act::Take(SECOND * 5));
    let pool = fake.pool(1);
    for _ in 0..4 {
        pool.acquire_timeout(SECOND).await.unwrap_err();
    }
    assert_eq!(pool.acquire().await.unwrap().number, 1);
    assert_eq!(fake.counts().attempts, 1);
}

/// transact-rs/sqlx PR#3582, PR#4369: who waits for a connection to be made takes one that comes back
/// meanwhile.
#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_first_serves_who_waits_for_a_new_one() {
    let fake = Fake::default();
    let pool = fake.pool(2);
    let held = pool.acquire().await.unwrap();
    fake.connect_does(Act::Hang);
    let waiter = caller(&pool, Duration::ZERO);
    settle().await;
    drop(held);
    assert_eq!(waiter.await.unwrap().unwrap(), 1);
}

/// STB-55 and djc/bb8#67: dropped `get` futures under load poisoned the pool: "timed out" for ever.
#[tokio::test(start_paused = true)]
async fn thousands_of_callers_that_give_up_leave_a_whole_pool() {
    let fake = Fake::default();
    fake.connect_does(Act::Take(Duration::from_millis(3)));
    let pool = fake.pool(3);
    let callers: Vec<_> = (0..2000_u64)
        .map(|caller| {
            let pool = pool.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(caller / 100)).await;
                // At every instant between asking and being served somebody gives up.
                let patience = Duration::from_micros(caller * 7919 % 30_000);
                let using = async {
                    let connection = pool.acquire().await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                    drop(connection);
                };
                tokio::time::timeout(patience, using).await.is_ok()
            })
        })
        .collect();
    let mut served = 0;
    for caller in callers {
        served += usize::from(caller.await.unwrap());
    }
    assert!(served > 0 && served < 2000, "{served} were served");
    settle().await;
    let status = pool.status();
    assert_eq!((status.waiting, status.leased, status.offered), (0, 0, 0));
    assert!(fake.counts().most <= 3);
    let all = [
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    ];
    drop(all);
}

/// STB-52 and djc/bb8#122: a release between "nothing is idle" and "in the queue" was missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_release_is_missed_by_a_caller_who_is_about_to_wait() {
    let pool = Fake::default().pool(1);
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..2000 {
                    drop(pool.acquire().await.unwrap());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// STB-30 and djc/bb8#167, djc/bb8 PR#194: broken connections were returned, nobody was notified, and
/// every `get` timed out.
#[tokio::test(start_paused = true)]
async fn a_broken_connection_that_comes_back_makes_room_for_who_waits() {
    let fake = Fake::default();
    let pool = fake.pool(2);
    let mut held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let waiters: Vec<_> = (0..4).map(|_| caller(&pool, SECOND)).collect();
    settle().await;
    for connection in &mut held {
        connection.is_broken = true;
    }
    drop(held);
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap() > 2);
    }
}

/// importcjj/mobc#63: after a load test the pool had lost count of its connections and stopped
/// serving; a cancelled `get` leaked its place in the statistics.
#[tokio::test(start_paused = true)]
async fn after_a_load_of_all_kinds_the_numbers_are_right() {
    let fake = Fake::default();
    fake.connect_does(Act::Take(Duration::from_millis(2)));
    let pool = fake.pool(4);
    let callers: Vec<_> = (0..400_u64)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let patience = Duration::from_millis(1 + number % 7);
                let Ok(mut connection) = pool.acquire_timeout(patience * 10).await else {
                    return;
                };
                match number % 5 {
                    0 => connection.is_broken = true,
                    1 => connection.begin(),
                    2 => connection.discard(),
                    3 => drop(connection.detach()),
                    _ => sleep(patience).await,
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    sleep(SECOND).await;
    let (status, counts) = (pool.status(), fake.counts());
    assert_eq!(status.size, status.idle, "{status}");
    assert_eq!(status.size, counts.live);
    assert_eq!(status.waiting, 0);
    let totals = status.totals;
    assert_eq!(totals.connected, counts.made as u64);
    assert_eq!(totals.connected - totals.closed, counts.live as u64);
    assert!(counts.most <= 4, "{counts:?}");
}

/// STB-25 and jackc/pgx PR#2425: connections that were being closed no longer counted, so that real
/// ones exceeded the maximum.
#[tokio::test(start_paused = true)]
async fn a_connection_counts_until_it_is_closed() {
    let fake = Fake::default();
    fake.close_does(Act::Hang);
    let pool = fake.builder(1).close_timeout(SECOND * 3).build().unwrap();
    for number in 1..=3 {
        let mut connection = pool.acquire().await.unwrap();
        assert_eq!(connection.number, number);
        connection.is_broken = true;
        drop(connection);
        assert_eq!(pool.status().closing, 1);
        pool.acquire_timeout(SECOND).await.unwrap_err();
    }
    assert_eq!(fake.counts().most, 1);
}

/// STB-49 and redis/redis-py#2624, #2665, deadpool-rs/deadpool#97, #102, #130, tiberius-rs/tiberius#300:
/// a cancelled command left its reply on the connection, and the next user got it.
#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_an_operation_on_it_is_cancelled() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let endless = pool.execute(async |_| {
        sleep(SECOND * 1000).await;
        Ok::<_, ()>(())
    });
    tokio::time::timeout(SECOND, endless).await.unwrap_err();
    let mut second = pool.acquire().await.unwrap();
    assert_eq!(second.number, 2);
    let endless = second.run(async |_| sleep(SECOND * 1000).await);
    tokio::time::timeout(SECOND, endless).await.unwrap_err();
    drop(second);
    assert_eq!(pool.acquire().await.unwrap().number, 3);
}

/// STB-55 and hibernate/hibernate-reactive#4133: each cancelled acquisition leaked a place.
#[tokio::test(start_paused = true)]
async fn a_hundred_cancelled_acquires_leak_no_place() {
    let fake = Fake::default();
    fake.connect_does(Act::Hang);
    let pool = fake.pool(5);
    for _ in 0..100 {
        pool.acquire_timeout(Duration::from_millis(20))
            .await
            .unwrap_err();
    }
    assert!(fake.counts().connecting <= 5, "{:?}", fake.counts());
    fake.connect_does(Act::Work);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(pool.acquire().await.unwrap());
    }
    assert_eq!(pool.status().leased, 5);
}

/// STB-55 and apache/httpcomponents-client PR#309, -core PR#277: who gives the connection back when it
/// is handed over and its caller gives up at the same time?
#[tokio::test(start_paused = true)]
async fn a_connection_offered_to_a_caller_who_gives_up_goes_to_the_next() {
    let pool = Fake::default().pool(1);
    let held = pool.acquire().await.unwrap();
    let mut gives_up = Box::pin(pool.acquire());
    start(gives_up.as_mut());
    let next = caller(&pool, Duration::ZERO);
    settle().await;
    drop(held);
    assert_eq!(pool.status().offered, 1);
    drop(gives_up);
    assert_eq!(next.await.unwrap().unwrap(), 1);
}

/// tokio-rs/tokio#6450, hephbuild/heph PR#238: a fair semaphore gave the permit to a future that was
/// not polled any more, and all behind it waited for ever ("futurelock").
#[tokio::test(start_paused = true)]
async fn a_future_that_is_not_polled_does_not_hold_up_the_others() {
    let pool = Fake::default().pool(1);
    let held = pool.acquire().await.unwrap();
    let mut asleep = pin!(pool.acquire());
    start(asleep.as_mut());
    drop(held);
    // It has the connection on offer, and will not look at it while we wait here.
    for _ in 0..3 {
        drop(pool.acquire_timeout(SECOND).await.unwrap());
    }
    asleep.await.unwrap();
}

/// STB-55, found in bb8 0.9: a panic while connecting lost the place for ever.
#[tokio::test(start_paused = true)]
async fn a_panic_while_connecting_or_checking_costs_no_place() {
    let fake = Fake::default();
    fake.connect_does(Act::Panic);
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    pool.acquire_timeout(SECOND).await.unwrap_err();
    fake.connect_does(Act::Work);
    drop(pool.acquire().await.unwrap());
    fake.check_does(Act::Panic);
    assert_eq!(pool.acquire().await.unwrap().number, 2);
    fake.check_does(Act::Work);
    assert_eq!(pool.acquire().await.unwrap().number, 2);
    assert_eq!(fake.counts().most, 1);
}

/// STB-55, found in bb8 0.9: a connection in the middle of its check went back to the pool when the
/// caller gave up.
#[tokio::test(start_paused = true)]
async fn a_connection_in_the_middle_of_its_check_is_nobodys() {
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(Duration::ZERO))
        .check_timeout(SECOND * 5)
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    fake.check_does(Act::Hang);
    pool.acquire_timeout(SECOND).await.unwrap_err();
    // It is neither handed out nor idle; when the check's own time is over it is gone.
    pool.try_acquire().unwrap_err();
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(pool.acquire().await.unwrap().number, 2);
}

/// Found in deadpool 0.13: a callback that panicked poisoned the lock, and dropping a connection
/// panicked too.
#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_does_no_harm() {
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .listener(|event: &Event<'_>| panic!("told of {event:?}"))
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut connection = pool.acquire().await.unwrap();
        connection.is_broken = true;
    }
    assert_eq!(fake.counts().made, 3);
}
