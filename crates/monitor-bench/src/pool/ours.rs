//! Our pool, with its defaults.

use std::future::ready;

use super::{Connection, Dropped, Guard, Never, Pool};

/// Opens connections.
struct Manager;

impl monitor_pool::Manager for Manager {
    type Connection = Connection;
    type Error = Never;

    async fn connect(&self) -> Result<Connection, Never> {
        Ok(Connection::default())
    }
}

/// A deadline, limits of idle time and of life, a map of holders, events.
pub(super) struct Ours(monitor_pool::Pool<Manager>);

impl Pool for Ours {
    const NAME: &'static str = "monitor-pool";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        let pool = monitor_pool::Pool::builder(Manager).max_size(size).build();
        ready(Self(pool.expect("a valid configuration")))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.acquire().await.expect("within its deadline"))
    }
}
