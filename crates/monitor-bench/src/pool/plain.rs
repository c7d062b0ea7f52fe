//! What one would write without a pool at hand, and no pool at all.

use std::collections::{HashMap, VecDeque};
use std::future::ready;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit, oneshot};

use super::{Connection, Dropped, Guard, Pool};

/// An async mutex around a map of connections by id and a queue of waiters. The release is async
/// too, and hands a connection to the first waiter.
pub(super) struct Seed(AsyncMutex<SeedState>);

#[derive(Default)]
struct SeedState {
    connections: HashMap<u64, SeedEntry>,
    idle: Vec<u64>,
    waiters: VecDeque<oneshot::Sender<(u64, Connection)>>,
}

/// `None` while it is lent.
struct SeedEntry(Option<Connection>);

/// A connection with its id.
struct SeedLent {
    id: u64,
    connection: Connection,
    pool: &'static Seed,
}

impl Pool for Seed {
    const NAME: &'static str = "async mutex, map and waiter queue";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        let ids = 0..size as u64;
        ready(Self(AsyncMutex::new(SeedState {
            connections: ids
                .clone()
                .map(|id| (id, SeedEntry(Some(Connection(id)))))
                .collect(),
            idle: ids.collect(),
            waiters: VecDeque::new(),
        })))
    }

    async fn acquire(&'static self) -> impl Guard {
        let lent = |(id, connection)| SeedLent {
            id,
            connection,
            pool: self,
        };
        let served = {
            let mut state = self.0.lock().await;
            if let Some(id) = state.idle.pop() {
                let entry = state.connections.get_mut(&id);
                let connection = entry.and_then(|entry| entry.0.take());
                return lent((id, connection.expect("an idle one is not lent")));
            }
            let (waiter, served) = oneshot::channel();
            state.waiters.push_back(waiter);
            served
        };
        lent(served.await.expect("the pool is never dropped"))
    }
}

impl Guard for SeedLent {
    async fn release(self) {
        let mut state = self.pool.0.lock().await;
        let mut lent = (self.id, self.connection);
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(lent) {
                Ok(()) => return,
                Err(back) => lent = back,
            }
        }
        let (id, connection) = lent;
        state.connections.insert(id, SeedEntry(Some(connection)));
        state.idle.push(id);
    }
}

/// A semaphore for the waiting and a short lock for the connections.
pub(super) struct SemaphoreAndMutex {
    semaphore: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// A connection with the right to it, which is given back after it.
struct Lent {
    connection: Option<Connection>,
    pool: &'static SemaphoreAndMutex,
    _permit: SemaphorePermit<'static>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.idle.lock().extend(self.connection.take());
    }
}

impl Pool for SemaphoreAndMutex {
    const NAME: &'static str = "semaphore and mutex";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        ready(Self {
            semaphore: Semaphore::new(size),
            idle: Mutex::new((0..size).map(|_| Connection::default()).collect()),
        })
    }

    async fn acquire(&'static self) -> impl Guard {
        let permit = self.semaphore.acquire().await;
        let permit = permit.expect("the semaphore is never closed");
        Dropped(Lent {
            connection: self.idle.lock().pop(),
            pool: self,
            _permit: permit,
        })
    }
}

/// Everybody has a connection: what the tasks and their turns cost by themselves.
pub(super) struct NoPool;

impl Pool for NoPool {
    const NAME: &'static str = "floor: no pool";

    fn new(_: usize) -> impl Future<Output = Self> + Send {
        ready(Self)
    }

    fn acquire(&'static self) -> impl Future<Output = impl Guard> + Send {
        ready(Dropped(()))
    }
}
