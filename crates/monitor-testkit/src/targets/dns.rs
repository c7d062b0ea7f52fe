//! A name server that gives one answer to everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a [`DnsServer`] answers to every question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsReply {
    /// This address to a question for IPv4, no record to any other.
    Address(Ipv4Addr),
    /// The name does not exist, which may be remembered for this many seconds.
    Nxdomain {
        /// The negative TTL.
        ttl_seconds: u32,
    },
    /// The name exists, without a record of any kind.
    NoRecords,
    /// The server cannot answer.
    Servfail,
    /// The server will not answer.
    Refused,
    /// Bytes that are no DNS message.
    Garbage,
    /// Nothing.
    Silence,
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const TYPE_A: [u8; 2] = [0, 1];

/// A name server on a loopback UDP port. Dropping it closes the port.
#[derive(Debug)]
pub struct DnsServer {
    addr: SocketAddr,
    questions: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl DnsServer {
    /// Starts it.
    pub async fn start(reply: DnsReply) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let addr = socket.local_addr()?;
        let questions = watch::Sender::new(0);
        let task = tokio::spawn(serve(socket, reply, questions.clone()));
        Ok(Self {
            addr,
            questions,
            task,
        })
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how many questions have come.
    pub fn questions(&self) -> u64 {
        *self.questions.borrow()
    }

    /// Waits until at least `wanted` questions have come.
    pub async fn until(&self, wanted: u64) {
        let mut receiver = self.questions.subscribe();
        receiver
            .wait_for(|count| *count >= wanted)
            .await
            .expect("the sender lives in `self`");
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, reply: DnsReply, questions: watch::Sender<u64>) {
    let mut buffer = [0; 1500];
    loop {
        // A UDP socket's error is about an earlier packet (port unreachable): go on.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        questions.send_modify(|count| *count += 1);
        if let Some(answer) = answer(&buffer[..length], reply) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Builds the answer to `query`: RFC 1035, section 4, for one question.
fn answer(query: &[u8], reply: DnsReply) -> Option<Vec<u8>> {
    let question = question(query)?;
    let is_a = question.get(question.len() - 4..question.len() - 2) == Some(&TYPE_A[..]);
    let (code, answers, authorities) = match reply {
        DnsReply::Silence => return None,
        DnsReply::Garbage => return Some(b"\xff\x00\xffnonsense".to_vec()),
        DnsReply::Servfail => (SERVFAIL, None, None),
        DnsReply::Refused => (REFUSED, None, None),
        DnsReply::NoRecords => (0, None, Some(soa(60))),
        DnsReply::Nxdomain { ttl_seconds } => (NXDOMAIN, None, Some(soa(ttl_seconds))),
        DnsReply::Address(ip) if is_a => (0, Some(address(ip)), None),
        DnsReply::Address(_) => (0, None, Some(soa(60))),
    };
    let mut message = query.get(..2)?.to_vec();
    // An answer, recursion desired and available.
    message.extend_from_slice(&[0x81, 0x80 | code]);
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&[0, u8::from(answers.is_some())]);
    message.extend_from_slice(&[0, u8::from(authorities.is_some())]);
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(question);
    message.extend(answers.into_iter().chain(authorities).flatten());
    Some(message)
}

/// The name, type and class that are asked for.
fn question(query: &[u8]) -> Option<&[u8]> {
    let rest = query.get(12..)?;
    let mut end = 0;
    loop {
        match usize::from(*rest.get(end)?) {
            0 => return rest.get(..end + 5),
            label => end += label + 1,
        }
    }
}

/// A record of the name in the question (a pointer to offset 12).
fn record(kind: [u8; 2], ttl_seconds: u32, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend_from_slice(&kind);
    record.extend_from_slice(&[0, 1]);
    record.extend_from_slice(&ttl_seconds.to_be_bytes());
    record.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    record.extend_from_slice(data);
    record
}

/// Valid for an hour, so that whoever keeps it is found out.
fn address(ip: Ipv4Addr) -> Vec<u8> {
    record(TYPE_A, 3600, &ip.octets())
}

/// A start of authority, whose last field is how long a negative answer holds.
fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0, 0];
    for field in [1, 3600, 600, 86_400, minimum] {
        data.extend_from_slice(&u32::to_be_bytes(field));
    }
    record([0, 6], minimum, &data)
}
