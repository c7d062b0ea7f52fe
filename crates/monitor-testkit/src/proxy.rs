//! A proxy between a client and a real server, which does what networks do.
//!
//! It passes bytes on, in both directions, until a [`Fault`] says otherwise: it cuts a connection
//! in good order or by reset, in the middle of a frame if asked, holds bytes back, delays or
//! changes them, or leaves a connection half-open. Faults are armed by a script when a connection
//! is made, or at any time later, and each is counted when it strikes.
//!
//! ```
//! use monitor_testkit::proxy::{Direction, Effect, Fault, Proxy};
//! use monitor_testkit::targets::Target;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let target = Target::healthy().await?;
//! // The answer of the first connection ends after nine bytes.
//! let proxy = Proxy::scripted(target.addr(), |link| match link {
//!     0 => vec![Fault::new(Direction::ToClient, 9, Effect::Fin)],
//!     _ => vec![],
//! })
//! .await?;
//! let mut stream = tokio::net::TcpStream::connect(proxy.addr()).await?;
//! stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "HTTP/1.1 ");
//! assert_eq!(proxy.seen().struck, 1);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "test helpers: what fails is the machine, and the test with it"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

mod fault;
mod link;
mod sockets;

pub use fault::{Direction, Effect, Fault};
use link::{Armed, Link};

/// What a proxy has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections accepted.
    pub links: u64,
    /// Connections that are open now, on at least one of their two sides.
    pub open: u64,
    /// Faults that have struck.
    pub struck: u64,
}

/// A listener on loopback that passes everything on to another address, with faults. Dropping it
/// closes all that it holds.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// What the handle, the acceptor and the links have in common.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    seen: watch::Sender<Seen>,
    /// Goes up with each [`Proxy::heal`].
    healed: watch::Sender<u64>,
    links: Mutex<BTreeMap<u64, Entry>>,
}

/// An open link, as its handle sees it.
#[derive(Debug)]
struct Entry {
    client: SocketAddr,
    /// The proxy's own end of the connection to the server: what the server sees as its client.
    towards_server: SocketAddr,
    armed: Arc<Armed>,
    strikes: mpsc::UnboundedSender<Effect>,
}

impl Proxy {
    /// Passes everything on to `upstream`, without faults at first.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::scripted(upstream, |_| Vec::new()).await
    }

    /// Passes everything on to `upstream`. `script` is asked for the faults of each connection;
    /// it gets the connection's number, counted from 0.
    pub async fn scripted(
        upstream: SocketAddr,
        script: impl FnMut(u64) -> Vec<Fault> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            seen: watch::Sender::new(Seen::default()),
            healed: watch::Sender::new(0),
            links: Mutex::default(),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared), script));
        Ok(Self {
            addr,
            shared,
            acceptor,
        })
    }

    /// Returns where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what it has seen so far.
    pub fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits until what it has seen satisfies `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut receiver = self.shared.seen.subscribe();
        *receiver
            .wait_for(wanted)
            .await
            .expect("the sender lives in `self`")
    }

    /// Returns the numbers of the connections that are open, oldest first.
    pub fn open(&self) -> Vec<u64> {
        self.shared.links().keys().copied().collect()
    }

    /// Arms `fault` on connection `link`; its bytes are counted from now on. `false` when that
    /// connection is not open any more.
    pub fn inject(&self, link: u64, fault: Fault) -> bool {
        match self.shared.links().get(&link) {
            Some(entry) => entry.arm(fault),
            None => false,
        }
    }

    /// Arms `fault` on every open connection; returns how many those are.
    pub fn inject_all(&self, fault: Fault) -> usize {
        let links = self.shared.links();
        links.values().filter(|entry| entry.arm(fault)).count()
    }

    /// Forgets the armed faults and lets held-back bytes go. What was cut stays cut.
    pub fn heal(&self) {
        for entry in self.shared.links().values() {
            entry.armed.clear();
        }
        self.shared.healed.send_modify(|times| *times += 1);
    }

    /// Returns those of `ports` whose client still has its end of the connection, according to
    /// the kernel. `ports` are the client ports that the *server* sees.
    ///
    /// A server learns late, or never, that a connection was closed. To count what is really
    /// held, ask the server first and this second: a session whose client is still there now has
    /// had its client at that earlier moment too, so what is returned is never too much.
    pub fn still_held(&self, ports: &[u16]) -> io::Result<Vec<u16>> {
        let held = sockets::established_to(self.addr.port())?;
        let links = self.shared.links();
        let clients: BTreeMap<u16, u16> = links
            .values()
            .map(|entry| (entry.towards_server.port(), entry.client.port()))
            .collect();
        Ok(ports
            .iter()
            .copied()
            .filter(|port| {
                clients
                    .get(port)
                    .is_some_and(|client| held.contains(client))
            })
            .collect())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Entry {
    fn arm(&self, fault: Fault) -> bool {
        if fault.after == 0 && fault.effect.ends_the_link() {
            // At once, although perhaps no byte ever flows again.
            return self.strikes.send(fault.effect).is_ok();
        }
        self.armed.arm(fault);
        true
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns the tasks of all links, so that aborting it ends them too.
async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut script: impl FnMut(u64) -> Vec<Fault> + Send,
) {
    let mut tasks = JoinSet::new();
    for number in 0.. {
        let client = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    Err(_) => continue,
                },
                Some(_) = tasks.join_next() => {}
            }
        };
        shared.seen.send_modify(|seen| {
            seen.links += 1;
            seen.open += 1;
        });
        let open = Open {
            number,
            shared: Arc::clone(&shared),
        };
        tasks.spawn(serve(open, client, script(number)));
    }
}

async fn serve(open: Open, client: TcpStream, faults: Vec<Fault>) {
    // An error here is the other side's doing, and what it sees of it is the test's business.
    let _ = connect_and_pass(&open, client, faults).await;
}

async fn connect_and_pass(open: &Open, client: TcpStream, faults: Vec<Fault>) -> io::Result<()> {
    let shared = &open.shared;
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Bound first, so that the link is known before the server can see its port.
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let armed = Arc::new(Armed::default());
    let (strikes, struck) = mpsc::unbounded_channel();
    let entry = Entry {
        client: client.peer_addr()?,
        towards_server: socket.local_addr()?,
        armed: Arc::clone(&armed),
        strikes,
    };
    for fault in faults {
        entry.arm(fault);
    }
    shared.links().insert(open.number, entry);
    let server = match socket.connect(shared.upstream).await {
        Ok(server) => server,
        // Nobody there: a reset is the nearest thing to a refusal.
        Err(_) => return client.set_zero_linger(),
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let link = Link {
        armed,
        healed: shared.healed.subscribe(),
        seen: shared.seen.clone(),
    };
    link.pass(client, server, struck).await
}

/// Counts a link as open until it is dropped.
struct Open {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.links().remove(&self.number);
        self.shared.seen.send_modify(|seen| seen.open -= 1);
    }
}

#[cfg(test)]
mod tests;
