//! A manager that does as it is told.
#![allow(dead_code, reason = "each test file uses another part of it")]
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use monitor_pool::{Builder, Manager, Pool};

/// What one call of the manager does. Without an order it succeeds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Succeed,
    SucceedAfter(Duration),
    Fail,
    FailAfter(Duration),
    FailForGood,
    Hang,
    Panic,
}

pub(crate) const ALL: [Act; 6] = [
    Act::SucceedAfter(Duration::from_millis(1)),
    Act::FailAfter(Duration::from_millis(1)),
    Act::Succeed,
    Act::Fail,
    Act::Hang,
    Act::Panic,
];

/// The orders, and what has happened. A handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    orders: Mutex<Orders>,
    pub(crate) connects: AtomicUsize,
    pub(crate) checks: AtomicUsize,
    pub(crate) closes: AtomicUsize,
    /// Connections that there are, wherever they are.
    pub(crate) alive: AtomicUsize,
    pub(crate) most_alive: AtomicUsize,
    pub(crate) connecting: AtomicUsize,
    pub(crate) most_connecting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Orders {
    connect: VecDeque<Act>,
    check: VecDeque<Act>,
    close: VecDeque<Act>,
    /// For when the orders have run out.
    connect_always: Option<Act>,
    check_always: Option<Act>,
    close_always: Option<Act>,
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) serial: usize,
    pub(crate) is_quiet: bool,
    script: Script,
}

#[derive(Debug, thiserror::Error)]
#[error("refused as told")]
pub(crate) struct Refused {
    is_permanent: bool,
}

impl Script {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self, act: Act) {
        self.orders().connect.push_back(act);
    }

    pub(crate) fn check(&self, act: Act) {
        self.orders().check.push_back(act);
    }

    pub(crate) fn close(&self, act: Act) {
        self.orders().close.push_back(act);
    }

    pub(crate) fn connect_always(&self, act: Act) {
        self.orders().connect_always = Some(act);
    }

    pub(crate) fn check_always(&self, act: Act) {
        self.orders().check_always = Some(act);
    }

    pub(crate) fn close_always(&self, act: Act) {
        self.orders().close_always = Some(act);
    }

    pub(crate) fn connects(&self) -> usize {
        self.0.connects.load(Ordering::SeqCst)
    }

    pub(crate) fn checks(&self) -> usize {
        self.0.checks.load(Ordering::SeqCst)
    }

    pub(crate) fn closes(&self) -> usize {
        self.0.closes.load(Ordering::SeqCst)
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn most_alive(&self) -> usize {
        self.0.most_alive.load(Ordering::SeqCst)
    }

    pub(crate) fn most_connecting(&self) -> usize {
        self.0.most_connecting.load(Ordering::SeqCst)
    }

    /// A pool on this script.
    pub(crate) fn builder(&self) -> Builder<Scripted> {
        Pool::builder(Scripted(self.clone()))
    }

    fn wire(&self, serial: usize) -> Wire {
        let alive = self.0.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_alive.fetch_max(alive, Ordering::SeqCst);
        Wire {
            serial,
            is_quiet: true,
            script: self.clone(),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.script.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) Script);

/// Counts attempts that run side by side, also those that are dropped.
struct Connecting<'a>(&'a AtomicUsize);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn act(act: Act) -> Result<(), Refused> {
    match act {
        Act::Succeed => Ok(()),
        Act::SucceedAfter(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        Act::Fail => Err(Refused {
            is_permanent: false,
        }),
        Act::FailAfter(wait) => {
            tokio::time::sleep(wait).await;
            Err(Refused {
                is_permanent: false,
            })
        }
        Act::FailForGood => Err(Refused { is_permanent: true }),
        Act::Hang => pending().await,
        Act::Panic => panic!("as told"),
    }
}

impl Manager for Scripted {
    type Connection = Wire;
    type Error = Refused;

    async fn connect(&self) -> Result<Wire, Refused> {
        let script = &self.0;
        let serial = script.0.connects.fetch_add(1, Ordering::SeqCst) + 1;
        let now = script.0.connecting.fetch_add(1, Ordering::SeqCst) + 1;
        script.0.most_connecting.fetch_max(now, Ordering::SeqCst);
        let _connecting = Connecting(&script.0.connecting);
        let order = {
            let mut orders = script.orders();
            orders.connect.pop_front().or(orders.connect_always)
        };
        act(order.unwrap_or(Act::Succeed)).await?;
        Ok(script.wire(serial))
    }

    async fn check(&self, wire: Wire) -> Result<Wire, Refused> {
        self.0.0.checks.fetch_add(1, Ordering::SeqCst);
        let order = {
            let mut orders = self.0.orders();
            orders.check.pop_front().or(orders.check_always)
        };
        act(order.unwrap_or(Act::Succeed)).await?;
        Ok(wire)
    }

    fn is_quiescent(&self, wire: &mut Wire) -> bool {
        wire.is_quiet
    }

    async fn close(&self, wire: Wire) {
        self.0.0.closes.fetch_add(1, Ordering::SeqCst);
        let order = {
            let mut orders = self.0.orders();
            orders.close.pop_front().or(orders.close_always)
        };
        let _ = act(order.unwrap_or(Act::Succeed)).await;
        drop(wire);
    }

    fn is_permanent(&self, error: &Refused) -> bool {
        error.is_permanent
    }
}

/// Lets all tasks run that can, without letting time pass.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
