//! Targets to be checked: real listeners on loopback, well-behaved and hostile.
//!
//! Each is a handle that listens until it is dropped. It counts what it sees, so that a test can
//! wait for an event instead of for a time:
//!
//! ```
//! use monitor_testkit::targets::Target;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let target = Target::silent().await?;
//! let stream = tokio::net::TcpStream::connect(target.addr()).await?;
//! target.until(|seen| seen.connections == 1).await;
//! drop(stream);
//! target.until(|seen| seen.open == 0).await;
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "test helpers: what fails is the machine, and the test with it"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

mod behaviour;
mod certificates;
mod dns;
mod line_server;
mod refusing;
mod stuck;

use behaviour::{Behaviour, Switch};
pub use certificates::{Certificate, Certificates};
pub use dns::{DnsReply, DnsServer};
pub use line_server::{LineSeen, LineServer};
pub use refusing::Refusing;
pub use stuck::Stuck;

/// What a target has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections accepted.
    pub connections: u64,
    /// Complete request heads read.
    pub requests: u64,
    /// Connections that are open now.
    pub open: u64,
}

/// A listener on loopback that shows one behaviour. Dropping it closes the listener and every
/// connection.
#[derive(Debug)]
pub struct Target {
    addr: SocketAddr,
    seen: watch::Sender<Seen>,
    switch: Switch,
    last_head: LastHead,
    certificates: Option<Arc<Certificates>>,
    acceptor: JoinHandle<()>,
}

impl Target {
    /// Answers every request with 200 and a short body.
    pub async fn healthy() -> io::Result<Self> {
        Self::start(Behaviour::Answer {
            status: 200,
            body: "ok\n".into(),
        })
        .await
    }

    /// Answers every request with `status` and a short body.
    pub async fn status(status: u16) -> io::Result<Self> {
        Self::start(Behaviour::Answer {
            status,
            body: "status\n".into(),
        })
        .await
    }

    /// Answers every request with 200 and `body`, with its length announced.
    pub async fn body(body: impl Into<Vec<u8>>) -> io::Result<Self> {
        Self::start(Behaviour::Answer {
            status: 200,
            body: body.into(),
        })
        .await
    }

    /// Answers every request with exactly `bytes` and closes the connection.
    pub async fn raw(bytes: impl Into<Vec<u8>>) -> io::Result<Self> {
        Self::start(Behaviour::Raw {
            bytes: bytes.into(),
        })
        .await
    }

    /// Answers every request with 200, `delay` after it came.
    pub async fn slow(delay: Duration) -> io::Result<Self> {
        Self::start(Behaviour::Slow { delay }).await
    }

    /// Takes requests and holds the answers back until it is switched [up](Self::set_up): 200 then.
    pub async fn held() -> io::Result<Self> {
        let target = Self::start(Behaviour::Held).await?;
        target.set_up(false);
        Ok(target)
    }

    /// Answers the n-th request with the n-th of `statuses`, over and over again.
    pub async fn flaky(statuses: &[u16]) -> io::Result<Self> {
        assert!(
            !statuses.is_empty(),
            "a flaky target needs at least one status"
        );
        Self::start(Behaviour::Flaky {
            statuses: statuses.into(),
        })
        .await
    }

    /// Answers 200 while it is switched [up](Self::set_up) (at first), 503 while down.
    pub async fn flapping() -> io::Result<Self> {
        Self::start(Behaviour::Flapping).await
    }

    /// Accepts connections, reads whatever comes and never answers.
    pub async fn silent() -> io::Result<Self> {
        Self::start(Behaviour::Silent).await
    }

    /// Resets every connection once a request has come.
    pub async fn reset() -> io::Result<Self> {
        Self::start(Behaviour::Reset).await
    }

    /// Closes every connection as soon as it is accepted, in good order.
    pub async fn close_at_once() -> io::Result<Self> {
        Self::start(Behaviour::CloseAtOnce).await
    }

    /// Announces 100 bytes, sends 10 and closes.
    pub async fn half_answer() -> io::Result<Self> {
        Self::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789").await
    }

    /// Sends header lines without end.
    pub async fn endless_headers() -> io::Result<Self> {
        let head = b"HTTP/1.1 200 OK\r\n".to_vec();
        Self::start(Behaviour::Endless {
            head,
            again: b"X-Filler: 0123456789abcdef\r\n".into(),
        })
        .await
    }

    /// Sends one header line without end.
    pub async fn endless_header_line() -> io::Result<Self> {
        let head = b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec();
        Self::start(Behaviour::Endless {
            head,
            again: b"0123456789abcdef".into(),
        })
        .await
    }

    /// Sends interim answers (`100 Continue`) without end.
    pub async fn endless_interim() -> io::Result<Self> {
        let again = b"HTTP/1.1 100 Continue\r\n\r\n".into();
        Self::start(Behaviour::Endless {
            head: Vec::new(),
            again,
        })
        .await
    }

    /// Sends a body without end and without an announced length.
    pub async fn endless_body() -> io::Result<Self> {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        Self::start(Behaviour::Endless {
            head,
            again: b"0123456789abcdef".into(),
        })
        .await
    }

    /// Sends a chunked body without end.
    pub async fn endless_chunks() -> io::Result<Self> {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        Self::start(Behaviour::Endless {
            head,
            again: b"10\r\n0123456789abcdef\r\n".into(),
        })
        .await
    }

    /// Answers with bytes that are not HTTP.
    pub async fn garbage() -> io::Result<Self> {
        Self::raw(b"\x00\xff\xfe\x80SSH-2.0-nonsense\r\n\x1b[2J\r\n\r\n".to_vec()).await
    }

    /// Answers 200 with a body and a header that are not UTF-8.
    pub async fn invalid_utf8() -> io::Result<Self> {
        Self::raw(
            b"HTTP/1.1 200 OK\r\nX-Bytes: \xff\xfe\r\nContent-Length: 6\r\n\r\n\xff\xfe\x80ok\xc3"
                .to_vec(),
        )
        .await
    }

    /// Sends a good answer one byte at a time, one every `pause`.
    pub async fn slow_drip(pause: Duration) -> io::Result<Self> {
        Self::start(Behaviour::SlowDrip { pause }).await
    }

    /// Answers every request with 200 over TLS, showing `certificate` until told otherwise.
    pub async fn https(certificate: Certificate) -> io::Result<Self> {
        let certificates = Arc::new(Certificates::new(certificate).map_err(io::Error::other)?);
        let acceptor = certificates.acceptor().map_err(io::Error::other)?;
        let behaviour = Behaviour::Answer {
            status: 200,
            body: "ok\n".into(),
        };
        let mut target = Self::listen(behaviour, Some(acceptor)).await?;
        target.certificates = Some(certificates);
        Ok(target)
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `/`. Over TLS it names `localhost`, as the good certificate does.
    pub fn url(&self) -> String {
        match &self.certificates {
            Some(_) => format!("https://localhost:{}/", self.addr.port()),
            None => format!("http://{}/", self.addr),
        }
    }

    /// Returns what it has seen so far.
    pub fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until what it has seen satisfies `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut receiver = self.seen.subscribe();
        *receiver
            .wait_for(wanted)
            .await
            .expect("the sender lives in `self`")
    }

    /// Returns the head of the last request, bytes that are not UTF-8 replaced.
    pub fn last_head(&self) -> String {
        let head = self
            .last_head
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Switches a flapping or held target up or down.
    pub fn set_up(&self, up: bool) {
        self.switch.set(up);
    }

    /// Returns the certificates of a target over TLS.
    ///
    /// # Panics
    ///
    /// For a target that was not made by [`https`](Self::https).
    pub fn certificates(&self) -> &Certificates {
        self.certificates
            .as_ref()
            .expect("only a target made by `https` has certificates")
    }

    async fn start(behaviour: Behaviour) -> io::Result<Self> {
        Self::listen(behaviour, None).await
    }

    async fn listen(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let seen = watch::Sender::new(Seen::default());
        let switch = Switch::default();
        let last_head = LastHead::default();
        let acceptor = tokio::spawn(accept(
            listener,
            tls,
            Connection {
                behaviour: Arc::new(behaviour),
                seen: seen.clone(),
                switch: switch.clone(),
                last_head: Arc::clone(&last_head),
            },
        ));
        Ok(Self {
            addr,
            seen,
            switch,
            last_head,
            certificates: None,
            acceptor,
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

type LastHead = Arc<Mutex<Vec<u8>>>;

/// What a connection's task needs.
#[derive(Debug, Clone)]
struct Connection {
    behaviour: Arc<Behaviour>,
    seen: watch::Sender<Seen>,
    switch: Switch,
    last_head: LastHead,
}

/// Owns the tasks of all connections, so that aborting it ends them too.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, connection: Connection) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connection.seen.send_modify(|seen| {
                    seen.connections += 1;
                    seen.open += 1;
                });
                tasks.spawn(serve(stream, tls.clone(), connection.clone()));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, connection: Connection) {
    let _open = Open(connection.seen.clone());
    // An error here is the other side's doing, and what it sees of it is the test's business.
    let _ = match tls {
        None => behaviour::show(&connection, stream).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => behaviour::answer_over_tls(&connection, stream).await,
            Err(error) => Err(error),
        },
    };
}

/// Counts a connection as open until it is dropped.
struct Open(watch::Sender<Seen>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|seen| seen.open -= 1);
    }
}
