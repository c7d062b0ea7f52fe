//! Connections that are kept from one check to the next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Progress, fault::Category};
use monitor_pool::backoff::{Cap, Floor, Jitter, Policy, Schedule};
use monitor_pool::{
    AcquireError, ConfigError, ConnectError, Listener, Manager, OnConnectError, Pool,
};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::dialer::Dialer;
use super::exchange::Exchange;

/// Opens the connections of a probe that keeps them, and sees whether they may be used again.
///
/// A connection is used again only if its last answer was read to the end and the target has
/// neither closed it nor said anything since. That is looked at without waiting, before every use.
pub struct HttpConnections {
    dialer: Dialer,
    /// The checks that want a connection, in the order in which the pool serves them: each attempt to
    /// connect is the next one's.
    asking: Mutex<VecDeque<Asking>>,
}

/// A check that may need a new connection.
struct Asking {
    /// Where an attempt to connect reports its phases.
    progress: Progress,
    /// Ends when the check does.
    ended: oneshot::Receiver<()>,
}

/// Held by a check for as long as it wants a connection.
pub(super) struct Wanting {
    _ended: oneshot::Sender<()>,
}

/// A connection to the target, kept by a pool. Opaque: only its probe can ask over it.
pub struct KeptConnection(pub(super) Exchange);

impl HttpConnections {
    /// A pool of at most `max_connections` connections, each used for five minutes at most: then
    /// names and certificates are looked at anew.
    ///
    /// A failure to connect is the check's own result, at once: nothing is tried again behind its
    /// back, and the next check tries whatever came of the last.
    pub(super) fn pool(
        dialer: Dialer,
        name: &str,
        max_connections: usize,
        listener: Option<Arc<dyn Listener>>,
    ) -> Result<Pool<Self>, ConfigError> {
        let manager = Self {
            dialer,
            asking: Mutex::default(),
        };
        let builder = Pool::builder(manager)
            .name(name)
            .max_size(max_connections)
            .check_if_idle_for(Some(Duration::ZERO))
            .max_lifetime(Some(LIFETIME))
            .idle_timeout(None)
            .connect_timeout(CONNECT_TIMEOUT)
            .on_connect_error(OnConnectError::FailAll)
            .connect_backoff(AT_ONCE)
            .leak_after(None);
        match listener {
            Some(listener) => builder.listener(Heard(listener)).build(),
            None => builder.build(),
        }
    }

    /// Has the next attempt to connect report to `progress`, and end with what is returned: an
    /// attempt that hangs is the fault of one check, and the next one makes its own.
    pub(super) fn want(&self, progress: &Progress) -> Wanting {
        let (_ended, ended) = oneshot::channel();
        let progress = progress.clone();
        let asking = Asking { progress, ended };
        let mut all = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who were given a kept connection want none any more.
        all.retain_mut(Asking::is_there);
        all.push_back(asking);
        Wanting { _ended }
    }

    fn next_asking(&self) -> Option<Asking> {
        let mut all = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(Asking::is_there);
        all.pop_front()
    }
}

impl Asking {
    /// Whether the check goes on.
    fn is_there(&mut self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Empty)
    }
}

/// No wait after a failure to connect: when to look again is the scheduler's business.
const AT_ONCE: Policy = match Policy::builder()
    .schedule(Schedule::Fixed(Duration::from_millis(1)))
    .floor(Floor::Absolute)
    .cap(Cap::Fixed(Duration::from_millis(1)))
    .jitter(Jitter::NONE)
    .build()
{
    Ok(policy) => policy,
    Err(_) => panic!("the policy contradicts itself"),
};
/// What an attempt comes to whose check has ended.
fn called_off() -> Fault {
    Fault::new(Layer::Process, Reason::Cancelled)
}

/// How long a connection is used.
const LIFETIME: Duration = Duration::from_secs(300);
/// Longer than any check may take, so that the check's own deadline is the one that counts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A listener that somebody else holds as well.
struct Heard(Arc<dyn Listener>);

impl Listener for Heard {
    fn event(&self, event: &monitor_pool::Event<'_>) {
        self.0.event(event);
    }
}

impl Manager for HttpConnections {
    type Connection = KeptConnection;
    type Error = Fault;

    async fn connect(&self) -> Result<KeptConnection, Fault> {
        let Some(Asking { progress, ended }) = self.next_asking() else {
            // Nobody waits any more, and nobody would use it.
            return Err(called_off());
        };
        tokio::select! {
            biased;
            opened = self.dialer.open(&progress) => opened.map(KeptConnection),
            _ = ended => Err(called_off()),
        }
    }

    async fn check(&self, mut connection: KeptConnection) -> Result<KeptConnection, Fault> {
        if connection.0.is_ready() {
            Ok(connection)
        } else {
            Err(Fault::new(Layer::Connect, Reason::Closed))
        }
    }

    fn is_quiescent(&self, connection: &mut KeptConnection) -> bool {
        connection.0.is_ready()
    }
}

impl fmt::Debug for HttpConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnections")
            .field("host", &self.dialer.host)
            .field("port", &self.dialer.port)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptConnection")
            .field("requests", &self.0.requests())
            .finish()
    }
}

/// What a check says that got no connection: the fault of the attempt, or that the probe's own pool
/// had none to give, which says nothing about the target.
pub(super) fn no_connection(error: &AcquireError<Fault>) -> Fault {
    let attempt = match error {
        AcquireError::Connect(error) => Some(error),
        AcquireError::Timeout {
            last_connect_error, ..
        } => last_connect_error.as_ref(),
        _ => None,
    };
    match attempt {
        Some(ConnectError::Manager(fault)) => Fault::clone(fault),
        Some(ConnectError::TimedOut(_)) => Fault::new(Layer::Connect, Reason::Timeout),
        _ => Fault::new(Layer::Local, Reason::Other).with_detail(error.to_string()),
    }
}

/// Whether `fault`, met before a byte of the answer came, is what a kept connection looks like that
/// the target has just closed: the check asks once more, over another one.
pub(super) fn was_stale(fault: &Fault) -> bool {
    fault.category() == Category::Network
        || matches!(fault.reason(), Reason::Closed | Reason::Reset)
}
