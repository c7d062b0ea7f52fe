//! The pools of others, each with the defaults it comes with.

use std::future::ready;

use mobc::async_trait;
use qp::async_trait as qp_async_trait;

use super::{Connection, Dropped, Guard, Never, Pool};

/// Opens connections, for all of them.
struct Manager;

/// No deadline, `recycle` before each use.
pub(super) struct DeadpoolManaged(deadpool::managed::Pool<Manager>);

impl deadpool::managed::Manager for Manager {
    type Type = Connection;
    type Error = Never;

    async fn create(&self) -> Result<Connection, Never> {
        Ok(Connection::default())
    }

    async fn recycle(
        &self,
        _: &mut Connection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Never> {
        Ok(())
    }
}

impl Pool for DeadpoolManaged {
    const NAME: &'static str = "deadpool managed";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        let pool = deadpool::managed::Pool::builder(Manager).max_size(size);
        ready(Self(pool.build().expect("no deadline, no runtime needed")))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.get().await.expect("no deadline"))
    }
}

/// No deadline, no check.
pub(super) struct DeadpoolUnmanaged(deadpool::unmanaged::Pool<Connection>);

impl Pool for DeadpoolUnmanaged {
    const NAME: &'static str = "deadpool unmanaged";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        let connections = (0..size).map(|_| Connection::default());
        ready(Self(connections.collect::<Vec<_>>().into()))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.get().await.expect("no deadline"))
    }
}

/// A deadline of 30 s, a check before each use, idle and lifetime limits by a reaper.
pub(super) struct Bb8(bb8::Pool<Manager>);

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Never;

    async fn connect(&self) -> Result<Connection, Never> {
        Ok(Connection::default())
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), Never> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

impl Pool for Bb8 {
    const NAME: &'static str = "bb8";

    async fn new(size: usize) -> Self {
        let size = u32::try_from(size).expect("a small number");
        let pool = bb8::Pool::builder().max_size(size).build(Manager).await;
        Self(pool.expect("connecting never fails"))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.get().await.expect("within 30 s"))
    }
}

/// A deadline of 30 s, a check before each use, metrics.
pub(super) struct Mobc(mobc::Pool<Manager>);

#[async_trait]
impl mobc::Manager for Manager {
    type Connection = Connection;
    type Error = Never;

    async fn connect(&self) -> Result<Connection, Never> {
        Ok(Connection::default())
    }

    async fn check(&self, connection: Connection) -> Result<Connection, Never> {
        Ok(connection)
    }
}

impl Pool for Mobc {
    const NAME: &'static str = "mobc";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        let size = size as u64;
        // By default it keeps only two idle ones, and would connect all the time.
        let pool = mobc::Pool::builder().max_open(size).max_idle(size);
        ready(Self(pool.build(Manager)))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.get().await.expect("within 30 s"))
    }
}

/// No deadline, a check before each use. Loses waiters: its queued figures are of the others.
pub(super) struct Qp(qp::Pool<Manager>);

#[qp_async_trait]
impl qp::resource::Manage for Manager {
    type Output = Connection;
    type Error = Never;

    async fn try_create(&self) -> Result<Connection, Never> {
        Ok(Connection::default())
    }

    async fn validate(&self, _: &Connection) -> bool {
        true
    }
}

impl Pool for Qp {
    const NAME: &'static str = "qp";

    fn new(size: usize) -> impl Future<Output = Self> + Send {
        ready(Self(qp::Pool::new(Manager, size)))
    }

    async fn acquire(&'static self) -> impl Guard {
        Dropped(self.0.acquire().await.expect("creating never fails"))
    }
}
