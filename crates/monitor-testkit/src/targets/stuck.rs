//! A port whose accept queue is full, so that connecting hangs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// More than the queue of a listener with the smallest backlog holds.
const FILLERS: usize = 8;

/// A port where connecting neither succeeds nor fails: its queue is full and nobody empties it,
/// so the kernel ignores whoever asks. It looks like a host behind a packet filter.
#[derive(Debug)]
pub struct Stuck {
    addr: SocketAddr,
    _listener: Socket,
    _fillers: Vec<Socket>,
}

impl Stuck {
    /// Listens on loopback and fills the queue.
    pub fn new() -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(0)?;
        let bound = listener.local_addr()?;
        let addr = bound.as_socket();
        let addr = addr.ok_or_else(|| io::Error::other("an IPv4 socket has an IPv4 address"))?;
        let mut fillers = Vec::new();
        for _ in 0..FILLERS {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            filler.set_nonblocking(true)?;
            // In progress, or done at once: either way it takes a place if there is one.
            let _ = filler.connect(&bound);
            fillers.push(filler);
        }
        Ok(Self {
            addr,
            _listener: listener,
            _fillers: fillers,
        })
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}
