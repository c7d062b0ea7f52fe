//! A manager that does what a test tells it, and counts.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_pool::{AcquireError, Builder, Manager, Pool};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What an operation of the manager does, from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Act {
    #[default]
    Work,
    Take(Duration),
    Fail,
    FailForGood,
    /// Until told something else.
    Hang,
    Panic,
}

#[derive(Debug, Clone, Copy, Default)]
struct Script {
    connect: Act,
    check: Act,
    close: Act,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) attempts: usize,
    pub(crate) connecting: usize,
    pub(crate) most_connecting: usize,
    pub(crate) made: usize,
    pub(crate) live: usize,
    /// The most that were alive or being made at a time.
    pub(crate) most: usize,
    pub(crate) checks: usize,
    pub(crate) closed: usize,
}

/// A manager; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    script: watch::Sender<Script>,
    counts: Mutex<Counts>,
}

/// A connection, numbered from 1.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: usize,
    /// Whether it is unfit to come back.
    pub(crate) is_broken: bool,
    shared: Arc<Shared>,
}

/// The manager's error.
#[derive(Debug)]
pub(crate) struct Refused {
    is_permanent: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to refuse")
    }
}

impl std::error::Error for Refused {}

impl Fake {
    pub(crate) fn counts(&self) -> Counts {
        *self.0.counts()
    }

    pub(crate) fn connect_does(&self, act: Act) {
        self.0.script.send_modify(|script| script.connect = act);
    }

    pub(crate) fn check_does(&self, act: Act) {
        self.0.script.send_modify(|script| script.check = act);
    }

    pub(crate) fn close_does(&self, act: Act) {
        self.0.script.send_modify(|script| script.close = act);
    }

    pub(crate) fn builder(&self, max_size: usize) -> Builder<Self> {
        Pool::builder(self.clone()).max_size(max_size).seed(1)
    }

    pub(crate) fn pool(&self, max_size: usize) -> Pool<Self> {
        self.builder(max_size).build().unwrap()
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn act(&self, what: impl Fn(&Script) -> Act) -> Result<(), Refused> {
        let mut script = self.script.subscribe();
        loop {
            let act = what(&script.borrow_and_update());
            match act {
                Act::Work => return Ok(()),
                Act::Take(time) => {
                    sleep(time).await;
                    return Ok(());
                }
                Act::Fail => {
                    return Err(Refused {
                        is_permanent: false,
                    });
                }
                Act::FailForGood => return Err(Refused { is_permanent: true }),
                Act::Hang => script.changed().await.unwrap(),
                Act::Panic => panic!("told to panic"),
            }
        }
    }
}

impl Manager for Fake {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self) -> Result<Connection, Refused> {
        let connecting = Connecting::start(&self.0);
        self.0.act(|script| script.connect).await?;
        drop(connecting);
        let mut counts = self.0.counts();
        counts.made += 1;
        counts.live += 1;
        counts.most = counts.most.max(counts.live + counts.connecting);
        let number = counts.made;
        drop(counts);
        Ok(Connection {
            number,
            is_broken: false,
            shared: Arc::clone(&self.0),
        })
    }

    async fn check(&self, connection: Connection) -> Result<Connection, Refused> {
        self.0.counts().checks += 1;
        self.0.act(|script| script.check).await?;
        Ok(connection)
    }

    fn is_quiescent(&self, connection: &mut Connection) -> bool {
        !connection.is_broken
    }

    async fn close(&self, connection: Connection) {
        self.0.counts().closed += 1;
        // Whether it works or not, it is gone after it.
        let _ = self.0.act(|script| script.close).await;
        drop(connection);
    }

    fn is_permanent(&self, error: &Refused) -> bool {
        error.is_permanent
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.counts().live -= 1;
    }
}

/// Counts an attempt as going on until it is dropped.
struct Connecting<'a>(&'a Shared);

impl<'a> Connecting<'a> {
    fn start(shared: &'a Shared) -> Self {
        let mut counts = shared.counts();
        counts.attempts += 1;
        counts.connecting += 1;
        counts.most_connecting = counts.most_connecting.max(counts.connecting);
        counts.most = counts.most.max(counts.live + counts.connecting);
        Self(shared)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.counts().connecting -= 1;
    }
}

/// Lets everybody do what can be done without waiting: tokio's paused clock moves on only when
/// nobody has anything to do.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

pub(crate) type Caller = JoinHandle<Result<usize, AcquireError<Refused>>>;

/// A task that acquires a connection, holds it for `time` and says which one it was.
pub(crate) fn caller(pool: &Pool<Fake>, time: Duration) -> Caller {
    let pool = pool.clone();
    tokio::spawn(async move {
        let connection = pool.acquire().await?;
        if !time.is_zero() {
            sleep(time).await;
        }
        Ok(connection.number)
    })
}
