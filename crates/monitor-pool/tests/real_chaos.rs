//! Real servers behind a proxy that cuts, stalls, delays, changes and half-opens connections, under
//! callers that give up at random, while sessions are ended from outside.
//!
//! In all of it no reply reaches the wrong caller, the maximum holds as the server itself counts,
//! and afterwards the pool serves as if nothing had been. `cargo xtask soak` runs it for longer.
//!
//! How the server counts: it is asked first, and then the kernel which of those clients still have
//! their end open. A server hears of a closed connection late, and behind a stalled one never;
//! what it has not heard of is nobody's connection any more. Both numbers are printed.

#![cfg(all(feature = "line", feature = "postgres"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where, and the numbers are to be seen"
)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use monitor_backoff::{Base, Cap, Floor, Policy, Schedule};
use monitor_pool::managers::line::{LineConnection, LineManager};
use monitor_pool::managers::postgres::tokio_postgres::{self, types::ToSql};
use monitor_pool::managers::postgres::{PostgresConnection, PostgresManager};
use monitor_pool::{Builder, Manager, Object, Pool};
use monitor_testkit::proxy::Proxy;
use monitor_testkit::services::Postgres;
use monitor_testkit::targets::LineServer;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use support::chaos::{Plan, Tally, strike, text};
use support::{Observer, manager, soon};

mod support;

const MAX_SIZE: usize = 8;

/// The longest that a caller waits for a reply.
const PATIENCE: Duration = Duration::from_millis(300);

/// STB-48, STB-49, STB-50, S3, S4, L2: PostgreSQL through the proxy.
///
/// A changed byte in the middle of a value cannot be noticed by the protocol; each text has a
/// checksum, so that it is not taken for somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_under_chaos() {
    let plan = Plan::of_the_environment();
    let server = Postgres::start().unwrap();
    let proxy = Arc::new(Proxy::start(server.address()).await.unwrap());
    let observer = Arc::new(Observer::start(&server).await);
    let manager = manager(&server.url_at(proxy.addr()));
    let chaos = Chaos::new(plan, Pool::builder(manager));

    let disturb = {
        let (chaos, proxy) = (Arc::clone(&chaos), Arc::clone(&proxy));
        let other = Observer::start(&server).await;
        async move {
            let mut choices = chaos.plan.choices(u64::MAX - 1);
            while chaos.goes_on(&mut choices).await {
                strike(&proxy, true, &mut choices);
                let pooled = other.sessions().await;
                if choices.random_ratio(1, 4) && !pooled.is_empty() {
                    let victim = &pooled[choices.random_range(0..pooled.len())];
                    if other.terminate(victim.process).await {
                        chaos.tally.note("session ended from outside");
                    }
                }
            }
        }
    };
    let watch = {
        let (chaos, proxy) = (Arc::clone(&chaos), Arc::clone(&proxy));
        let observer = Arc::clone(&observer);
        async move {
            while !chaos.is_over() {
                let sessions = observer.sessions().await;
                let ports: Vec<u16> = sessions.iter().map(|one| one.client_port).collect();
                chaos.compare(&ports, &proxy);
            }
        }
    };
    chaos.run(disturb, watch).await;
    chaos.settle(&proxy).await;
    // The server hears of every end in the end.
    observer.until(|sessions| sessions.is_empty()).await;
}

/// STB-48, STB-49, STB-50, S3, S4, L2: commands by line through the proxy, at first without and
/// then with changed bytes. Without, the server sees no broken frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_under_chaos() {
    let plan = Plan::of_the_environment();
    for may_change in [false, true] {
        let server = Arc::new(LineServer::start().await.unwrap());
        let proxy = Arc::new(Proxy::start(server.addr()).await.unwrap());
        let manager = LineManager::new(proxy.addr().to_string());
        let chaos = Chaos::new(plan, Pool::builder(manager));

        let disturb = {
            let (chaos, proxy) = (Arc::clone(&chaos), Arc::clone(&proxy));
            let server = Arc::clone(&server);
            async move {
                let mut choices = chaos.plan.choices(u64::MAX - 1);
                while chaos.goes_on(&mut choices).await {
                    strike(&proxy, may_change, &mut choices);
                    if choices.random_ratio(1, 10) {
                        server.answer_late();
                    }
                }
            }
        };
        let watch = {
            let (chaos, proxy) = (Arc::clone(&chaos), Arc::clone(&proxy));
            let server = Arc::clone(&server);
            async move {
                while !chaos.is_over() {
                    let ports: Vec<u16> = server.seen().open.into_iter().collect();
                    chaos.compare(&ports, &proxy);
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        chaos.run(disturb, watch).await;
        chaos.settle(&proxy).await;
        let seen = server.until(|seen| seen.open.is_empty()).await;
        assert!(may_change || seen.broken == 0, "{}", seen.last_broken);
    }
}

/// Of a kind of operation, the one that is like any other.
const PLAIN: u32 = KINDS - 1;
const KINDS: u32 = 20;

/// One operation on a connection: the replies, or how it failed.
trait Work: Manager + Sized {
    fn work(
        connection: &mut Self::Connection,
        sent: &str,
        what: u32,
    ) -> impl Future<Output = Result<Vec<String>, &'static str>> + Send;
}

impl Work for PostgresManager {
    async fn work(
        session: &mut PostgresConnection,
        sent: &str,
        what: u32,
    ) -> Result<Vec<String>, &'static str> {
        let replies = query(session, sent, what).await;
        replies.map_err(|error| match error.code() {
            Some(_) => "the server said no",
            None if error.is_closed() => "the session was closed",
            None => "the session failed",
        })
    }
}

async fn query(
    session: &mut PostgresConnection,
    sent: &str,
    what: u32,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&sent];
    match what {
        0..=2 => {
            let transaction = session.transaction().await?;
            let row = transaction.query_one("SELECT $1::text", parameters).await?;
            transaction.commit().await?;
            Ok(vec![row.try_get(0)?])
        }
        // Left without an end: the session is closed.
        3 => {
            session.batch_execute("BEGIN").await?;
            let row = session.query_one("SELECT $1::text", parameters).await?;
            Ok(vec![row.try_get(0)?])
        }
        4..=6 => {
            let both = tokio::try_join!(
                session.query_one("SELECT $1::text", parameters),
                session.query_one("SELECT $1::text, pg_sleep(0.002)", parameters),
            )?;
            Ok(vec![both.0.try_get(0)?, both.1.try_get(0)?])
        }
        // Rows that are not read to their end.
        7 => {
            let rows = session.query_raw("SELECT $1::text FROM generate_series(1, 5000)", [sent]);
            let row = pin!(rows.await?).try_next().await?;
            let replies = row.iter().map(|row| row.try_get(0));
            replies.collect()
        }
        _ => {
            let row = session.query_one("SELECT $1::text", parameters).await?;
            Ok(vec![row.try_get(0)?])
        }
    }
}

impl Work for LineManager {
    async fn work(
        connection: &mut LineConnection,
        sent: &str,
        what: u32,
    ) -> Result<Vec<String>, &'static str> {
        let what = match what {
            0 => "half",
            1 => "twice",
            2 => "late",
            _ => "echo",
        };
        let reply = connection.call(&json!({"do": what, "payload": sent})).await;
        let reply = reply.map_err(|_| "the call failed")?;
        Ok(vec![
            reply["payload"].as_str().unwrap_or_default().to_owned(),
        ])
    }
}

/// What all take part in.
struct Chaos<M: Manager> {
    plan: Plan,
    pool: Pool<M>,
    tally: Tally,
    is_over: AtomicBool,
    sequence: AtomicU64,
    comparisons: AtomicUsize,
    /// The most connections at a time that a client still held.
    most_held: AtomicUsize,
    /// The most at a time of which the server knew.
    most_known: AtomicUsize,
}

impl<M: Work> Chaos<M> {
    fn new(plan: Plan, builder: Builder<M>) -> Arc<Self> {
        let backoff = Policy::builder()
            .schedule(Schedule::Exponential {
                base: Base::Fixed(Duration::from_millis(2)),
                factor: 2.0,
            })
            .min_delay(Duration::from_millis(1))
            .floor(Floor::Absolute)
            .cap(Cap::Fixed(Duration::from_millis(50)))
            .build()
            .unwrap();
        let pool = builder
            .max_size(MAX_SIZE)
            .min_idle(2)
            .acquire_timeout(Duration::from_secs(20))
            .connect_timeout(Duration::from_secs(2))
            .check_timeout(PATIENCE)
            .close_timeout(PATIENCE)
            .connect_backoff(backoff)
            // Some are checked, and most are not.
            .check_if_idle_for(Some(Duration::from_millis(5)))
            .idle_timeout(Some(Duration::from_millis(200)))
            .max_lifetime(Some(Duration::from_millis(800)))
            .seed(plan.seed)
            .build()
            .unwrap();
        Arc::new(Self {
            plan,
            pool,
            tally: Tally::default(),
            is_over: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            comparisons: AtomicUsize::new(0),
            most_held: AtomicUsize::new(0),
            most_known: AtomicUsize::new(0),
        })
    }

    /// Lets the callers, and what goes on beside them, do what they do until the time is over.
    async fn run(
        self: &Arc<Self>,
        disturb: impl Future<Output = ()> + Send + 'static,
        watch: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut tasks = JoinSet::new();
        for task in 0..self.plan.tasks {
            let chaos = Arc::clone(self);
            tasks.spawn(async move { chaos.call(task).await });
        }
        tasks.spawn(disturb);
        tasks.spawn(watch);
        sleep(self.plan.time).await;
        self.is_over.store(true, Ordering::Relaxed);
        soon(async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        })
        .await;
    }

    /// A caller: one operation after the other, giving up at random.
    async fn call(&self, task: u64) {
        let mut choices = self.plan.choices(task);
        while !self.is_over() {
            match self.pool.acquire().await {
                Ok(connection) => {
                    let limit = match choices.random_range(0..10) {
                        0 => Duration::from_millis(choices.random_range(0..5)),
                        _ => PATIENCE,
                    };
                    let what = choices.random_range(0..KINDS);
                    self.operate(task, connection, limit, what, &mut choices)
                        .await;
                }
                Err(error) => self.tally.note(error.outcome()),
            }
            if choices.random_ratio(1, 8) {
                // Thinks, so that some connections fall idle.
                sleep(Duration::from_millis(choices.random_range(0..50))).await;
            }
        }
    }

    /// One operation; says whether it worked.
    async fn operate(
        &self,
        task: u64,
        mut connection: Object<M>,
        limit: Duration,
        what: u32,
        choices: &mut SmallRng,
    ) -> bool {
        let sent = text(task, self.sequence.fetch_add(1, Ordering::Relaxed), choices);
        let outcome = match timeout(limit, M::work(&mut connection, &sent, what)).await {
            Ok(Ok(replies)) => {
                for received in &replies {
                    self.tally.judge(&sent, received);
                }
                return true;
            }
            Ok(Err(failure)) => failure,
            Err(_) => "given up",
        };
        self.tally.note(outcome);
        false
    }

    /// Compares what the server knows, and of that what is still held, with the maximum.
    fn compare(&self, known: &[u16], proxy: &Proxy) {
        let held = proxy.still_held(known).unwrap().len();
        self.comparisons.fetch_add(1, Ordering::Relaxed);
        self.most_known.fetch_max(known.len(), Ordering::Relaxed);
        self.most_held.fetch_max(held, Ordering::Relaxed);
        assert!(held <= MAX_SIZE, "the server counts {held} connections");
        let status = self.pool.status();
        assert!(status.size <= MAX_SIZE, "{status}");
    }

    /// Ends the chaos, sees the pool recover and close, and prints the numbers.
    async fn settle(self: &Arc<Self>, proxy: &Proxy) {
        proxy.heal();
        let rounds = self.recover().await;
        let report = soon(self.pool.close(support::PATIENCE)).await;
        assert!(report.is_clean(), "{report:?}");
        let totals = self.pool.status().totals;
        println!("{}  {} faults struck", self.tally, proxy.seen().struck);
        println!("  {rounds} rounds to recover, {totals:?}");
        println!(
            "  at most {} of {MAX_SIZE} connections held and {} known to the server, in {} looks",
            self.most_held.load(Ordering::Relaxed),
            self.most_known.load(Ordering::Relaxed),
            self.comparisons.load(Ordering::Relaxed),
        );
        self.tally.assert_nothing_foreign();
        assert_eq!(totals.races, 0);
        assert!(self.tally.count("good") > 0, "nothing ever worked");
        assert!(proxy.seen().struck > 0, "nothing was ever disturbed");
    }

    /// Uses all connections at the same time, so that no broken one can hide, until all work.
    /// Each can fail once; what is made after that is whole.
    async fn recover(self: &Arc<Self>) -> u32 {
        for round in 1.. {
            let mut connections = Vec::new();
            for _ in 0..MAX_SIZE {
                // An attempt to connect that began in the chaos may fail now.
                connections.extend(soon(self.pool.acquire()).await.ok());
            }
            let mut operations = JoinSet::new();
            for connection in connections {
                let chaos = Arc::clone(self);
                operations.spawn(async move {
                    let mut choices = chaos.plan.choices(u64::MAX);
                    let (task, limit) = (u64::MAX, Duration::from_secs(5));
                    chaos
                        .operate(task, connection, limit, PLAIN, &mut choices)
                        .await
                });
            }
            let worked = soon(operations.join_all()).await;
            if worked == [true; MAX_SIZE] {
                return round;
            }
            assert!(round < 3, "still broken: {}", self.pool.status());
        }
        unreachable!("rounds do not end otherwise")
    }

    /// Waits a little; `false` when the time is over.
    async fn goes_on(&self, choices: &mut SmallRng) -> bool {
        sleep(Duration::from_millis(choices.random_range(1..20))).await;
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}
