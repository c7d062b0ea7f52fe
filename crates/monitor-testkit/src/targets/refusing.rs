//! A port that refuses connections and stays reserved.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that refuses connections: bound, so that nobody else can get it, and not listening.
#[derive(Debug)]
pub struct Refusing {
    addr: SocketAddr,
    _socket: Socket,
}

impl Refusing {
    /// Reserves a port on loopback.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let addr = socket.local_addr()?.as_socket();
        let addr = addr.ok_or_else(|| io::Error::other("an IPv4 socket has an IPv4 address"))?;
        Ok(Self {
            addr,
            _socket: socket,
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
