//! The targets of the demonstration: small HTTP servers with characters of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How a target behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Character {
    /// Answers at once.
    Healthy,
    /// Answers, and takes its time.
    Slow,
    /// Fails every seventh time.
    NowAndThen,
    /// Well for some seconds, then ill for some.
    Flapping,
    /// Takes every connection and says nothing.
    Silent,
}

/// The most bytes of a request that are read before it is answered anyway.
const REQUEST_MAX: usize = 16 * 1024;
/// How long a client may dawdle.
const PATIENCE: Duration = Duration::from_secs(30);
const WELL: Duration = Duration::from_secs(9);
const ILL: Duration = Duration::from_secs(6);

/// The running targets. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The tasks that accept connections; aborted on drop.
    _servers: JoinSet<()>,
    /// Bound and never listening: whoever connects is refused, and nobody else gets the port.
    _refusing: Socket,
    pub(crate) refusing: SocketAddr,
    pub(crate) serving: Vec<(Character, SocketAddr)>,
}

impl Targets {
    /// Starts all targets on free ports of 127.0.0.1.
    pub(crate) async fn start() -> io::Result<Self> {
        let refusing = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        refusing.bind(&loopback.into())?;
        let refused = refusing
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut servers = JoinSet::new();
        let mut serving = Vec::new();
        for character in [
            Character::Healthy,
            Character::Slow,
            Character::NowAndThen,
            Character::Flapping,
            Character::Silent,
        ] {
            let listener = TcpListener::bind(loopback).await?;
            serving.push((character, listener.local_addr()?));
            servers.spawn(serve(listener, character));
        }
        Ok(Self {
            _servers: servers,
            _refusing: refusing,
            refusing: refused,
            serving,
        })
    }
}

async fn serve(listener: TcpListener, character: Character) {
    let begun = Instant::now();
    let requests = Arc::new(AtomicU64::new(0));
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = Arc::clone(&requests);
                connections.spawn(async move {
                    // A client that went away or dawdled has only itself to blame.
                    let _ = timeout(PATIENCE, answer(stream, character, begun, &requests)).await;
                });
            }
            // Out of descriptors, say: the next one may be luckier.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer(
    mut stream: TcpStream,
    character: Character,
    begun: Instant,
    requests: &AtomicU64,
) -> io::Result<()> {
    read_head(&mut stream).await?;
    let number = requests.fetch_add(1, Relaxed);
    let Some(reply) = reply(character, number, begun.elapsed()) else {
        return std::future::pending().await;
    };
    sleep(reply.after).await;
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        reply.status,
        reply.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(reply.body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while head.len() < REQUEST_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Reply {
    after: Duration,
    status: &'static str,
    body: &'static str,
}

/// What `character` replies to its request `number`, `age` after its start. `None`: nothing.
fn reply(character: Character, number: u64, age: Duration) -> Option<Reply> {
    let ok = |after| Reply {
        after,
        status: "200 OK",
        body: "all is well\n",
    };
    let quick = Duration::from_millis(2 + spread(number, 8));
    match character {
        Character::Healthy => Some(ok(quick)),
        Character::Slow => Some(ok(Duration::from_millis(320 + spread(number, 180)))),
        Character::NowAndThen if number % 7 == 5 => Some(Reply {
            after: quick,
            status: "503 Service Unavailable",
            body: "now and then\n",
        }),
        Character::NowAndThen => Some(ok(Duration::from_millis(15 + spread(number, 20)))),
        Character::Flapping if is_ill(age) => Some(Reply {
            after: quick,
            status: "500 Internal Server Error",
            body: "flapping\n",
        }),
        Character::Flapping => Some(ok(Duration::from_millis(30 + spread(number, 30)))),
        Character::Silent => None,
    }
}

fn is_ill(age: Duration) -> bool {
    age.as_millis() % (WELL + ILL).as_millis() >= WELL.as_millis()
}

/// A number below `below` that looks random and is the same every time (the finaliser of
/// SplitMix64, Steele et al. 2014).
const fn spread(number: u64, below: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_does_what_it_is_called() {
        let age = Duration::ZERO;
        let statuses = |character| -> Vec<_> {
            (0..14)
                .filter_map(|n| reply(character, n, age))
                .map(|reply| reply.status)
                .collect()
        };
        assert!(
            statuses(Character::Healthy)
                .iter()
                .all(|status| *status == "200 OK")
        );
        let failures = statuses(Character::NowAndThen)
            .iter()
            .filter(|s| **s != "200 OK")
            .count();
        assert_eq!(failures, 2, "of 14");
        assert!(statuses(Character::Silent).is_empty());
        let slow = reply(Character::Slow, 3, age).unwrap();
        assert!(slow.after > super::super::monitors::DEGRADED_OVER);
        assert_eq!(reply(Character::Flapping, 0, age).unwrap().status, "200 OK");
        assert_ne!(
            reply(Character::Flapping, 0, WELL).unwrap().status,
            "200 OK"
        );
        assert_eq!(
            reply(Character::Flapping, 0, WELL + ILL).unwrap().status,
            "200 OK"
        );
    }

    #[tokio::test]
    async fn the_refusing_one_refuses_and_the_others_listen() {
        let targets = Targets::start().await.unwrap();
        let refused = TcpStream::connect(targets.refusing).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        for (_, address) in &targets.serving {
            TcpStream::connect(address).await.unwrap();
        }
    }
}
