//! Where the servers are, and how to reach one.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

const DEFAULT_PORT: u16 = 5432;

/// One of the servers of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    at: At,
    port: u16,
    /// The name that its certificate must have.
    pub(super) domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Name(String),
    Address(IpAddr),
    Folder(PathBuf),
}

impl Endpoint {
    /// The servers of `config` in its order; `Err` says what contradicts what.
    pub(super) fn all(config: &Config) -> Result<Vec<Self>, String> {
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        let count = hosts.len().max(addresses.len());
        if count == 0 {
            return Err("neither `host` nor `hostaddr` is given".into());
        }
        if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
            let (hosts, addresses) = (hosts.len(), addresses.len());
            return Err(format!(
                "`host` has {hosts} entries and `hostaddr` {addresses}; they must match"
            ));
        }
        if ports.len() > 1 && ports.len() != count {
            let ports = ports.len();
            return Err(format!(
                "`port` has {ports} entries for {count} of `host` or `hostaddr`; give one or {count}"
            ));
        }
        let endpoint = |index: usize| {
            let port = ports.get(index).or(ports.first());
            let domain = match hosts.get(index) {
                Some(Host::Tcp(name)) => name.clone(),
                _ => String::new(),
            };
            let at = match (addresses.get(index), hosts.get(index)) {
                (Some(address), _) => At::Address(*address),
                (None, Some(Host::Tcp(name))) => At::Name(name.clone()),
                (None, Some(Host::Unix(folder))) => At::Folder(folder.clone()),
                (None, None) => return None,
            };
            Some(Self {
                at,
                port: port.copied().unwrap_or(DEFAULT_PORT),
                domain,
            })
        };
        Ok((0..count).filter_map(endpoint).collect())
    }

    /// Connects, with the keepalive and the user timeout of `config`. The pool bounds the time.
    pub(super) async fn dial(&self, config: &Config) -> io::Result<Stream> {
        let stream = match &self.at {
            At::Name(name) => TcpStream::connect((name.as_str(), self.port)).await?,
            At::Address(address) => TcpStream::connect((*address, self.port)).await?,
            At::Folder(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", self.port));
                return Ok(Stream::Unix(UnixStream::connect(path).await?));
            }
        };
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        #[cfg(target_os = "linux")]
        if let Some(timeout) = config.get_tcp_user_timeout() {
            socket.set_tcp_user_timeout(Some(*timeout))?;
        }
        if config.get_keepalives() {
            let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
            if let Some(interval) = config.get_keepalives_interval() {
                keepalive = keepalive.with_interval(interval);
            }
            if let Some(retries) = config.get_keepalives_retries() {
                keepalive = keepalive.with_retries(retries);
            }
            socket.set_tcp_keepalive(&keepalive)?;
        }
        Ok(Stream::Tcp(stream))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Name(name) => write!(f, "{name}:{}", self.port),
            At::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            At::Address(address) => write!(f, "{address}:{}", self.port),
            At::Folder(folder) => write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port),
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// In the same machine.
    Unix(UnixStream),
}

/// Calls the same method of whichever socket it is.
macro_rules! either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(text: &str) -> Result<Vec<String>, String> {
        let config = text.parse().unwrap();
        let endpoints = Endpoint::all(&config)?;
        Ok(endpoints.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn endpoints_take_their_ports_in_turn_or_share_one() {
        let shared = endpoints("host=a,b port=6000").unwrap();
        assert_eq!(shared, ["a:6000", "b:6000"]);
        let own = endpoints("host=a,/run/pg port=6000,6001").unwrap();
        assert_eq!(own, ["a:6000", "/run/pg/.s.PGSQL.6001"]);
        let address = endpoints("host=db.example hostaddr=::1").unwrap();
        assert_eq!(address, ["[::1]:5432"]);
        assert_eq!(endpoints("hostaddr=10.0.0.1").unwrap(), ["10.0.0.1:5432"]);
    }

    #[test]
    fn contradictions_name_both_fields() {
        for (text, fields) in [
            ("user=x", ["`host`", "`hostaddr`"]),
            ("host=a,b hostaddr=1.1.1.1", ["`host`", "`hostaddr`"]),
            ("host=a,b,c port=1,2", ["`port`", "`host`"]),
        ] {
            let problem = endpoints(text).unwrap_err();
            assert!(
                fields.iter().all(|field| problem.contains(field)),
                "{problem}"
            );
        }
    }
}
