//! Defects of other pools: how long connections live, in which order they are used, and what their
//! checks cost.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use monitor_pool::{CloseReason, Event, IdleOrder};
use tokio::time::{Instant, sleep};

use fake::{Act, Fake, caller, settle};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// STB-24 and golang/go#43173, sfackler/r2d2 PR#61, r2dbc/r2dbc-pool#166: used in turn, all connections
/// stay warm and none is ever idle for long enough. Used last goes first here.
#[tokio::test(start_paused = true)]
async fn connections_that_are_too_many_fall_idle_and_are_closed() {
    let fake = Fake::default();
    let pool = fake.builder(5).idle_timeout(Some(MINUTE)).build().unwrap();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(pool.acquire().await.unwrap());
    }
    drop(all);
    for _ in 0..100 {
        sleep(SECOND).await;
        drop(pool.acquire().await.unwrap());
    }
    assert_eq!(pool.status().size, 1);
}

/// STB-24 and jackc/pgx PR#455: the opposite wish: behind a balancer that forgets idle connections all
/// of them are to be used in turn.
#[tokio::test(start_paused = true)]
async fn connections_are_used_in_turn_if_asked_for() {
    let fake = Fake::default();
    let pool = fake.builder(3).order(IdleOrder::Fifo).build().unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(pool.acquire().await.unwrap());
    }
    for connection in all {
        drop(connection);
    }
    let mut used = Vec::new();
    for _ in 0..6 {
        used.push(pool.acquire().await.unwrap().number);
    }
    assert_eq!(used, [1, 2, 3, 1, 2, 3]);
}

/// STB-57 and transact-rs/sqlx#2854, #3051, PostHog/posthog PR#49745, redis/go-redis PR#3666: all
/// connections expired together and were opened anew together, a storm each time.
#[tokio::test(start_paused = true)]
async fn connections_made_together_do_not_end_together() {
    let ends = ends_of(20, 0.5).await;
    let first = ends.iter().min().unwrap();
    let last = ends.iter().max().unwrap();
    assert!(*last <= MINUTE * 10 + MINUTE * 2, "{last:?}");
    assert!(*last - *first > MINUTE * 2, "{first:?} to {last:?}");
}

/// STB-57 and jackc/pgx#1437: the jitter was drawn again at each look, and the sum of many small chances
/// ended nearly every connection at its earliest.
#[tokio::test(start_paused = true)]
async fn the_jitter_of_a_lifetime_is_drawn_once() {
    let ends = ends_of(40, 0.5).await;
    let in_the_later_half = ends.iter().filter(|end| **end > MINUTE * 15 / 2).count();
    assert!(in_the_later_half >= 10, "{in_the_later_half} of 40");
}

/// When connections of at most ten minutes end that were made at the same time and are looked at
/// every second.
async fn ends_of(count: usize, jitter: f64) -> Vec<Duration> {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let (start, noted) = (Instant::now(), Arc::clone(&ends));
    let fake = Fake::default();
    let pool = fake
        .builder(count)
        .connect_limit(count)
        .max_lifetime(Some(MINUTE * 10))
        .lifetime_jitter(jitter)
        .idle_timeout(None)
        .check_if_idle_for(None)
        .listener(move |event: &Event<'_>| {
            if let Event::Closing {
                reason: CloseReason::Expired,
                ..
            } = event
            {
                noted.lock().unwrap().push(start.elapsed());
            }
        })
        .build()
        .unwrap();
    while fake.counts().made < count || ends.lock().unwrap().len() < count {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(pool.acquire().await.unwrap());
        }
        drop(all);
        sleep(SECOND).await;
    }
    let mut ends = ends.lock().unwrap().clone();
    ends.truncate(count);
    ends
}

/// STB-58 and golang/go#57248: a thousand callers at a cold pool opened as many connections at once as
/// it could hold, and the database stood still.
#[tokio::test(start_paused = true)]
async fn connects_at_the_same_time_are_few() {
    let fake = Fake::default();
    fake.connect_does(Act::Take(SECOND / 10));
    let pool = fake.builder(50).connect_limit(3).build().unwrap();
    let callers: Vec<_> = (0..1000).map(|_| caller(&pool, SECOND / 10)).collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let counts = fake.counts();
    assert_eq!(counts.most_connecting, 3, "{counts:?}");
    assert!(counts.most <= 50, "{counts:?}");
}

/// STB-57 and transact-rs/sqlx#1743, hasura/ndc-postgres PR#450, SeaQL/sea-orm PR#3143, PostHog/posthog
/// PR#51702, ExtendDB/extenddb PR#45: a ping before each use costs a round trip each time, and people
/// turn it off.
#[tokio::test(start_paused = true)]
async fn only_a_connection_that_was_idle_for_a_while_is_checked() {
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(SECOND))
        .build()
        .unwrap();
    for _ in 0..100 {
        drop(pool.acquire().await.unwrap());
        sleep(SECOND / 100).await;
    }
    assert_eq!(fake.counts().checks, 0);
    sleep(SECOND * 2).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!(fake.counts().checks, 1);
}

/// STB-57 and transact-rs/sqlx PR#4146: a ping at release, without a timeout, held a place for ever.
#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_costs_its_timeout_and_a_release_never_checks() {
    let fake = Fake::default();
    fake.check_does(Act::Hang);
    let pool = fake
        .builder(1)
        .check_if_idle_for(Some(SECOND))
        .check_timeout(SECOND * 2)
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    assert_eq!((fake.counts().checks, pool.status().idle), (0, 1));
    sleep(SECOND * 5).await;
    let started = Instant::now();
    assert_eq!(pool.acquire().await.unwrap().number, 2);
    assert!(started.elapsed() >= SECOND * 2);
    assert_eq!(fake.counts().live, 1);
}

/// STB-57 and djc/bb8#123, sfackler/r2d2#48, #127: the reaper closed more than the minimum allowed.
#[tokio::test(start_paused = true)]
async fn the_minimum_stays_when_idle_connections_are_closed() {
    let fake = Fake::default();
    let pool = fake
        .builder(6)
        .min_idle(2)
        .idle_timeout(Some(MINUTE))
        .max_lifetime(Some(MINUTE * 600))
        .build()
        .unwrap();
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(pool.acquire().await.unwrap());
    }
    drop(all);
    let mut least = usize::MAX;
    for _ in 0..300 {
        sleep(SECOND).await;
        least = least.min(fake.counts().live);
    }
    settle().await;
    assert_eq!((least, pool.status().idle), (2, 2));
}
