//! Sessions of a real PostgreSQL in a pool: which come back, which do not, and who learns what.

#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use monitor_pool::managers::postgres::tokio_postgres::error::SqlState;
use monitor_pool::managers::postgres::{PostgresError, PostgresManager};
use monitor_pool::{AcquireError, Builder, ConnectError, Event, Manager, Pool};
use monitor_testkit::services::{Postgres, Shutdown};

use support::{Observer, Session, manager, poll_once, server_process, soon};

mod support;

fn pool_of(max_size: usize, server: &Postgres) -> Pool<PostgresManager> {
    builder_of(max_size, server).build().unwrap()
}

fn builder_of(max_size: usize, server: &Postgres) -> Builder<PostgresManager> {
    Pool::builder(manager(&server.url())).max_size(max_size)
}

/// Uses the pool's one session by `using`; says whether it came back for the next one.
async fn comes_back(
    pool: &Pool<PostgresManager>,
    using: impl AsyncFnOnce(&mut <PostgresManager as Manager>::Connection),
) -> bool {
    let mut session = soon(pool.acquire()).await.unwrap();
    let before = server_process(&session).await;
    using(&mut session).await;
    drop(session);
    let session = soon(pool.acquire()).await.unwrap();
    server_process(&session).await == before
}

/// STB-24: what is used as intended is used again: prepared or not, in a transaction or not.
#[tokio::test]
async fn a_session_that_owes_nothing_comes_back() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    // Closing the statement is still under way when the session is released.
    assert!(
        comes_back(&pool, async |c| drop(
            c.query("SELECT 1", &[]).await.unwrap()
        ))
        .await
    );
    let failing = async |c: &mut <PostgresManager as Manager>::Connection| {
        c.execute("SELECT 1/0", &[]).await.unwrap_err();
    };
    assert!(comes_back(&pool, failing).await);
    let committed = async |c: &mut <PostgresManager as Manager>::Connection| {
        let transaction = c.transaction().await.unwrap();
        transaction
            .batch_execute("CREATE TABLE numbers (n int)")
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    };
    assert!(comes_back(&pool, committed).await);
    // Its ROLLBACK is only being sent, and still comes before whatever the next holder does.
    let dropped = async |c: &mut <PostgresManager as Manager>::Connection| {
        let transaction = c.transaction().await.unwrap();
        transaction
            .batch_execute("INSERT INTO numbers VALUES (1)")
            .await
            .unwrap();
    };
    assert!(comes_back(&pool, dropped).await);
    let session = pool.acquire().await.unwrap();
    let row = session.query_one("SELECT count(*) FROM numbers", &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 0);
    assert_eq!(pool.status().totals.connected, 1);
}

/// STB-49: a transaction that was begun by hand does not become the next holder's.
#[tokio::test]
async fn a_session_with_an_open_or_failed_transaction_does_not_come_back() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    assert!(!comes_back(&pool, async |c| c.batch_execute("BEGIN").await.unwrap()).await);
    let failed = async |c: &mut <PostgresManager as Manager>::Connection| {
        c.batch_execute("BEGIN").await.unwrap();
        c.batch_execute("SELECT 1/0").await.unwrap_err();
    };
    assert!(!comes_back(&pool, failed).await);
    assert_eq!(pool.status().totals.connected, 3);
}

/// STB-49, STB-55 and tiberius-rs/tiberius#300, jackc/pgx PR#2425: a query that is dropped in
/// flight takes its session with it, and the server's part of it ends before the place is free.
#[tokio::test]
async fn a_query_dropped_in_flight_takes_its_session_with_it_on_the_server_too() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    let observer = Observer::start(&server).await;
    let session = pool.acquire().await.unwrap();
    let before = server_process(&session).await;
    {
        let mut query = pin!(session.query("SELECT pg_sleep(600)", &[]));
        tokio::select! {
            _ = &mut query => panic!("ten minutes cannot be over"),
            () = observer.until_active(before) => {}
        }
    }
    drop(session);
    let session = soon(pool.acquire()).await.unwrap();
    let after = server_process(&session).await;
    assert_ne!(after, before);
    assert_eq!(observer.processes().await, [after]);
}

/// STB-49, STB-55: what a dropped call has put into the client's queue, and no byte of it is sent
/// yet, does not reach the next holder's session either.
#[tokio::test]
async fn a_statement_dropped_before_it_was_sent_takes_its_session_with_it() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    let began = async |c: &mut <PostgresManager as Manager>::Connection| {
        // On this one thread nothing else has run when it is dropped.
        let mut begin = Box::pin(c.batch_execute("BEGIN"));
        assert!(poll_once(&mut begin).await);
    };
    assert!(!comes_back(&pool, began).await);
}

/// djc/bb8#246: a row stream that was read half-way does not hold up the next user.
#[tokio::test]
async fn a_row_stream_read_half_way_takes_its_session_with_it() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    let half_read = async |c: &mut <PostgresManager as Manager>::Connection| {
        let nothing: [i32; 0] = [];
        let rows = c.query_raw(
            "SELECT g, repeat('x', 1000) FROM generate_series(1, 1000000) g",
            nothing,
        );
        let rows = rows.await.unwrap();
        drop(rows);
    };
    assert!(!comes_back(&pool, half_read).await);
}

/// STB-49: copied data that was not finished takes its session with it; finished, it comes back.
#[tokio::test]
async fn a_copy_comes_back_only_when_it_is_finished() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    // Kept, since closing it would be one more answer to come.
    let mut kept = None;
    let finished = async |c: &mut <PostgresManager as Manager>::Connection| {
        c.batch_execute("CREATE TABLE numbers (n int)")
            .await
            .unwrap();
        let statement = c.prepare("COPY numbers FROM STDIN").await.unwrap();
        let sink = c.copy_in::<_, &[u8]>(&statement).await.unwrap();
        assert_eq!(pin!(sink).finish().await.unwrap(), 0);
        kept = Some(statement);
    };
    assert!(comes_back(&pool, finished).await);
    let unfinished = async |c: &mut <PostgresManager as Manager>::Connection| {
        let sink = c
            .copy_in::<_, &[u8]>("COPY numbers FROM STDIN")
            .await
            .unwrap();
        drop(sink);
    };
    assert!(!comes_back(&pool, unfinished).await);
    drop(kept);
}

/// STB-30: a session that the server has ended is not handed out, with a check of each one.
#[tokio::test]
async fn a_session_that_the_server_has_ended_is_not_handed_out() {
    let server = Postgres::start().unwrap();
    let pool = builder_of(1, &server)
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    let observer = Observer::start(&server).await;
    let idle = server_process(&pool.acquire().await.unwrap()).await;
    assert!(observer.terminate(idle).await);
    observer.until(|sessions| sessions.is_empty()).await;
    let session = soon(pool.acquire()).await.unwrap();
    assert_ne!(server_process(&session).await, idle);
    // In use when it is ended: it is not taken back.
    let held = server_process(&session).await;
    assert!(observer.terminate(held).await);
    session.query("SELECT 1", &[]).await.unwrap_err();
    drop(session);
    let session = soon(pool.acquire()).await.unwrap();
    assert_ne!(server_process(&session).await, held);
}

/// STB-31, STB-32 and djc/bb8#102, djc/bb8 PR#147, maplibre/martin PR#570: a wrong password is told
/// at once to all who wait, as what it is, and not as a timeout of 30 seconds.
#[tokio::test]
async fn a_wrong_password_is_told_to_all_at_once() {
    let server = Postgres::start().unwrap();
    for (url, code) in [
        (
            server.url().replace(server.password(), "wrong"),
            SqlState::INVALID_PASSWORD,
        ),
        (
            server.url().replace("/postgres", "/nowhere"),
            SqlState::INVALID_CATALOG_NAME,
        ),
    ] {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let pool = Pool::builder(manager(&url))
            .max_size(2)
            .acquire_timeout(Duration::from_secs(3600))
            .listener(move |event: &Event<'_>| {
                if matches!(event, Event::ConnectFailed { .. }) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            })
            .build()
            .unwrap();
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.acquire().await.map(drop) })
            })
            .collect();
        for caller in callers {
            let error = soon(caller).await.unwrap().unwrap_err();
            let AcquireError::Connect(ConnectError::Manager(error)) = error else {
                panic!("{error}");
            };
            let PostgresError::Session { source, .. } = &*error else {
                panic!("{error}");
            };
            assert_eq!(source.code(), Some(&code), "{source}");
        }
        // Never one attempt for each caller.
        assert!(attempts.load(Ordering::SeqCst) <= 4, "{attempts:?}");
    }
}

/// Errors that may go away by themselves do not count as permanent.
#[tokio::test]
async fn an_unreachable_or_full_server_is_no_permanent_error() {
    let mut server =
        Postgres::with_settings("max_connections = 4\nsuperuser_reserved_connections = 0").unwrap();
    let manager = manager(&server.url());
    // What this side refuses is permanent, although the server has not said so.
    let address = server.address();
    let without = format!("host={} port={} user=monitor", address.ip(), address.port());
    let without = support::manager(&without);
    let refused = without.connect().await.unwrap_err();
    assert!(without.is_permanent(&refused), "{refused}");
    let mut sessions = Vec::new();
    let full = loop {
        match manager.connect().await {
            Ok(session) => sessions.push(session),
            Err(error) => break error,
        }
    };
    let PostgresError::Session { source, .. } = &full else {
        panic!("{full}");
    };
    assert_eq!(source.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    assert!(!manager.is_permanent(&full));
    server.stop(Shutdown::Fast).unwrap();
    let down = manager.connect().await.unwrap_err();
    assert!(matches!(down, PostgresError::Dial { .. }), "{down}");
    assert!(!manager.is_permanent(&down));
}

/// STB-58 and brettwooldridge/HikariCP#1736, deadpool-rs/deadpool#201: after the server has crashed
/// and come back the pool serves again; while it is down, attempts are few.
#[tokio::test]
async fn the_pool_recovers_from_a_crash_of_the_server() {
    let mut server = Postgres::start().unwrap();
    let pool = builder_of(4, &server)
        .acquire_timeout(support::PATIENCE)
        .build()
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.unwrap());
    }
    server.stop(Shutdown::Immediate).unwrap();
    for session in &held {
        soon(session.query("SELECT 1", &[])).await.unwrap_err();
    }
    drop(held);
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let session = pool.acquire().await.unwrap();
                server_process(&session).await
            })
        })
        .collect();
    soon(async {
        while pool.status().totals.connect_failures < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.start_again().unwrap();
    for caller in waiting {
        soon(caller).await.unwrap();
    }
    // The back-off goes up from 50 ms at least, for all callers together: had each tried for
    // itself, or without a pause, these would be hundreds.
    let failures = pool.status().totals.connect_failures;
    assert!(failures <= 40, "{failures} attempts while it was down");
}

/// STB-51 and transact-rs/sqlx#3217: after `close` the server has no session of the pool left, and
/// one that is still out is closed when it comes back.
#[tokio::test]
async fn closing_the_pool_leaves_no_session_behind() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(3, &server);
    let observer = Observer::start(&server).await;
    let held = pool.acquire().await.unwrap();
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    let report = soon(pool.close(Duration::from_millis(200))).await;
    assert_eq!(report.held.len(), 1, "{report:?}");
    let left = server_process(&held).await;
    let is_left = |session: &Session| session.process == left;
    observer
        .until(|sessions| sessions.len() == 1 && sessions.iter().all(is_left))
        .await;
    drop(held);
    observer.until(|sessions| sessions.is_empty()).await;
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
}

/// transact-rs/sqlx#1396, #1792: a session made on a runtime that is gone fails at once instead of
/// waiting for a task that will never run, and is not handed out again.
#[test]
fn a_session_outlives_its_runtime_without_harm() {
    let server = Postgres::start().unwrap();
    let pool = pool_of(1, &server);
    for _ in 0..11 {
        let first = runtime();
        let session = first.block_on(pool.acquire()).unwrap();
        drop(first);
        let second = runtime();
        second.block_on(async {
            let error = soon(session.query("SELECT 1", &[])).await.unwrap_err();
            assert!(error.is_closed(), "{error}");
        });
        drop(second);
        // Outside any runtime.
        drop(session);
    }
    runtime().block_on(async {
        let session = soon(pool.acquire()).await.unwrap();
        server_process(&session).await;
        drop(session);
        let observer = Observer::start(&server).await;
        observer.until(|sessions| sessions.len() == 1).await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
