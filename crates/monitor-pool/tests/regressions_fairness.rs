//! Defects of other pools: who is served when.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use monitor_pool::{AcquireError, Stage};
use tokio::time::sleep;

use fake::{Act, Fake, caller, settle};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);

/// STB-27 and djc/bb8 0.9 (5 of 5 waits of 2 s timed out): a task that takes, holds and releases in a
/// loop starves the one that waits.
#[tokio::test(start_paused = true)]
async fn a_task_that_loops_does_not_starve_the_one_that_waits() {
    let pool = Fake::default().pool(1);
    let holds = Arc::new(Mutex::new(0));
    let looping = {
        let (pool, holds) = (pool.clone(), Arc::clone(&holds));
        tokio::spawn(async move {
            loop {
                let connection = pool.acquire().await.unwrap();
                sleep(Duration::from_millis(2)).await;
                drop(connection);
                *holds.lock().unwrap() += 1;
            }
        })
    };
    settle().await;
    for _ in 0..20 {
        let before = *holds.lock().unwrap();
        drop(pool.acquire().await.unwrap());
        let holds = *holds.lock().unwrap() - before;
        assert!(holds <= 2, "{holds} holds in between");
    }
    looping.abort();
}

/// STB-27 and transact-rs/sqlx#453, golang/go#31708: a newcomer cut in line, or the queue was served in
/// a random order. Here service is in the order of arrival, with those who gave up left out.
#[tokio::test(start_paused = true)]
async fn service_is_in_the_order_of_arrival() {
    let pool = Fake::default().pool(2);
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for number in 0..1000 {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        callers.push(tokio::spawn(async move {
            let _connection = pool.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        }));
        // So that they arrive in this order.
        tokio::task::yield_now().await;
    }
    for caller in callers.iter().step_by(7) {
        caller.abort();
    }
    settle().await;
    drop(held);
    for caller in callers {
        let _ = caller.await;
    }
    let order = order.lock().unwrap();
    let arrived: Vec<_> = (0..1000).filter(|number| number % 7 != 0).collect();
    assert_eq!(*order, arrived);
}

/// STB-27 and brettwooldridge/HikariCP#2192, MagicStack/asyncpg#1247: of 100 workers on 10 connections
/// some waited hundreds of times as long as others, or timed out.
#[tokio::test(start_paused = true)]
async fn a_hundred_workers_on_ten_connections_are_served_alike() {
    let pool = Fake::default().pool(10);
    let served = Arc::new(Mutex::new(vec![0_u32; 100]));
    let workers: Vec<_> = (0..100)
        .map(|worker| {
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                loop {
                    let connection = pool.acquire_timeout(SECOND).await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                    drop(connection);
                    served.lock().unwrap()[worker] += 1;
                }
            })
        })
        .collect();
    sleep(SECOND * 2).await;
    for worker in workers {
        assert!(!worker.is_finished(), "a worker timed out");
        worker.abort();
    }
    let served = served.lock().unwrap();
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(*least > 100, "{least}");
    assert!(most - least <= 1, "{least} to {most}");
}

/// transact-rs/sqlx#622, #865, #2276: a timeout with a healthy database did not say why. It says what
/// it waited for, what the pool looked like, who holds what, and how connecting failed.
#[tokio::test(start_paused = true)]
async fn a_timeout_says_why() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let held = pool.acquire().await.unwrap();
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_timeout(SECOND).await.map(drop) })
    };
    let error = waiting.await.unwrap().unwrap_err();
    let text = error.to_string();
    let AcquireError::Timeout {
        stage,
        holders,
        status,
        ..
    } = error
    else {
        panic!("{text}");
    };
    assert_eq!(stage, Stage::Queue);
    assert_eq!(status.leased, 1);
    assert_eq!(holders[0].site.file(), file!());
    assert!(text.contains(file!()), "{text}");
    drop(held);

    pool.acquire().await.unwrap().discard();
    fake.connect_does(Act::Fail);
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("told to refuse"), "{text}");
    assert!(
        matches!(
            error,
            AcquireError::Timeout {
                stage: Stage::Connect,
                ..
            }
        ),
        "{text}"
    );
}

/// STB-26 and coopernurse/node-pool#108, #82, #85, #298: the queue was without bounds, and the time to
/// wait was not told from the time to connect.
#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end_and_each_stage_its_own_time() {
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .max_waiters(2)
        .connect_timeout(SECOND)
        .acquire_timeout(SECOND * 5)
        .build()
        .unwrap();
    let held = pool.acquire().await.unwrap();
    let waiters = [caller(&pool, SECOND), caller(&pool, SECOND)];
    settle().await;
    let error = pool.acquire().await.unwrap_err();
    let overloaded = matches!(
        error,
        AcquireError::Overloaded {
            waiting: 2,
            max_waiters: 2
        }
    );
    assert!(overloaded, "{error}");
    drop(held);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    pool.acquire().await.unwrap().discard();
    fake.connect_does(Act::Hang);
    let error = pool.acquire().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("connect_timeout"), "{text}");
}

/// deadpool-rs/deadpool#9, sidorares/node-mysql2 PR#4498: a timer that was armed anew with each stage no
/// longer bounded the whole.
#[tokio::test(start_paused = true)]
async fn one_deadline_bounds_all_stages() {
    let fake = Fake::default();
    fake.connect_does(Act::Take(SECOND * 3));
    fake.check_does(Act::Take(SECOND * 3));
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(Duration::ZERO))
        .acquire_timeout(SECOND * 4)
        .build()
        .unwrap();
    let first = caller(&pool, SECOND * 2);
    settle().await;
    let started = tokio::time::Instant::now();
    // Waits for the connection, then for its check, and that is too long together.
    let error = caller(&pool, Duration::ZERO).await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert!(started.elapsed() < SECOND * 5, "{:?}", started.elapsed());
    first.await.unwrap().unwrap();
}
