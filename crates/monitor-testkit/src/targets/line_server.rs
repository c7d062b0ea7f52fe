//! A server of commands: one JSON object a line, one reply a line.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A longer line is taken for a broken frame.
const MAX_LINE: usize = 1 << 20;

/// What a [`LineServer`] has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineSeen {
    /// Connections accepted.
    pub connections: u64,
    /// The client ports of the connections that are open now, as far as the server knows.
    pub open: BTreeSet<u16>,
    /// The most connections that were open at the same time.
    pub most_open: usize,
    /// Good requests.
    pub requests: u64,
    /// Lines that were no request: what two writers on one connection produce.
    pub broken: u64,
    /// The last broken line, cut to a length that can be shown.
    pub last_broken: String,
}

/// A server on loopback that executes commands. Dropping it closes the listener and every
/// connection.
///
/// A request is `{"id":1,"command":{"do":"echo","payload":...}}`, and its reply
/// `{"id":1,"result":{"payload":...,"sequence":1}}`, where the sequence counts the requests of this
/// connection. What it does besides `echo`:
///
/// | `do` | |
/// |---|---|
/// | `late` | as `echo`, but only after [`answer_late`](LineServer::answer_late) |
/// | `half` | half of the reply, then the end of the stream |
/// | `twice` | the reply two times |
/// | `other` | the reply to another id |
/// | `endless` | a reply without end |
/// | `fail` | `{"id":1,"error":"..."}` |
///
/// A line that is no request is counted as broken and answered with an error without an id.
#[derive(Debug)]
pub struct LineServer {
    addr: SocketAddr,
    seen: watch::Sender<LineSeen>,
    late: watch::Sender<u64>,
    acceptor: JoinHandle<()>,
}

impl LineServer {
    /// Starts it.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let seen = watch::Sender::new(LineSeen::default());
        let late = watch::Sender::new(0);
        let acceptor = tokio::spawn(accept(listener, seen.clone(), late.clone()));
        Ok(Self {
            addr,
            seen,
            late,
            acceptor,
        })
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what it has seen so far.
    pub fn seen(&self) -> LineSeen {
        self.seen.borrow().clone()
    }

    /// Waits until what it has seen satisfies `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&LineSeen) -> bool) -> LineSeen {
        let mut receiver = self.seen.subscribe();
        let seen = receiver.wait_for(wanted).await;
        seen.expect("the sender lives in `self`").clone()
    }

    /// Answers all `late` requests that have come.
    pub fn answer_late(&self) {
        self.late.send_modify(|times| *times += 1);
    }
}

impl Drop for LineServer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Owns the tasks of all connections, so that aborting it ends them too.
async fn accept(listener: TcpListener, seen: watch::Sender<LineSeen>, late: watch::Sender<u64>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, client)) = accepted else { continue };
                let open = Open::new(seen.clone(), client.port());
                let late = late.subscribe();
                // What the other side sees of an error is the test's business.
                tasks.spawn(async move { drop(serve(stream, &open.seen, late).await) });
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn serve(
    stream: TcpStream,
    seen: &watch::Sender<LineSeen>,
    mut late: watch::Receiver<u64>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut sequence = 0_u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut stream)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .await?;
        let is_cut = length < MAX_LINE && line.last() != Some(&b'\n');
        if is_cut {
            // The end of the stream, between two lines or in one: nobody's frame got into it.
            return Ok(());
        }
        let Some((id, command)) = request(&line) else {
            note_broken(seen, &line);
            write(&mut stream, &json!({"id": null, "error": "no request"})).await?;
            continue;
        };
        sequence += 1;
        // Before it is counted, so that an answer to all that has been counted includes it.
        late.mark_unchanged();
        seen.send_modify(|seen| seen.requests += 1);
        let payload = &command["payload"];
        let reply = json!({"id": id, "result": {"payload": payload, "sequence": sequence}});
        match command["do"].as_str() {
            Some("echo") => write(&mut stream, &reply).await?,
            Some("late") => {
                // Whoever gives up meanwhile is noticed, as by a server that reads ahead.
                let mut more = [0];
                tokio::select! {
                    changed = late.changed() => changed.map_err(io::Error::other)?,
                    _ = stream.get_mut().peek(&mut more) => return Ok(()),
                }
                write(&mut stream, &reply).await?;
            }
            Some("half") => {
                let reply = reply.to_string();
                let half = reply.len() / 2;
                stream.write_all(&reply.as_bytes()[..half]).await?;
                return stream.shutdown().await;
            }
            Some("twice") => {
                write(&mut stream, &reply).await?;
                write(&mut stream, &reply).await?;
            }
            Some("other") => {
                let id = id.wrapping_add(1);
                write(&mut stream, &json!({"id": id, "result": payload})).await?;
            }
            Some("endless") => loop {
                stream.write_all(&[b' '; 4096]).await?;
            },
            _ => write(&mut stream, &json!({"id": id, "error": "told to fail"})).await?,
        }
    }
}

/// The id and the command of a complete line, if it is a request.
fn request(line: &[u8]) -> Option<(u64, Value)> {
    let line = line.strip_suffix(b"\n")?;
    let mut request: Value = serde_json::from_slice(line).ok()?;
    let id = request.get("id")?.as_u64()?;
    let command = request.get_mut("command")?.take();
    command.is_object().then_some((id, command))
}

async fn write(stream: &mut BufReader<TcpStream>, reply: &Value) -> io::Result<()> {
    let mut line = reply.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}

fn note_broken(seen: &watch::Sender<LineSeen>, line: &[u8]) {
    let shown = &line[..line.len().min(200)];
    seen.send_modify(|seen| {
        seen.broken += 1;
        seen.last_broken = String::from_utf8_lossy(shown).into_owned();
    });
}

/// Counts a connection as open until it is dropped.
struct Open {
    seen: watch::Sender<LineSeen>,
    client: u16,
}

impl Open {
    fn new(seen: watch::Sender<LineSeen>, client: u16) -> Self {
        seen.send_modify(|seen| {
            seen.connections += 1;
            seen.open.insert(client);
            seen.most_open = seen.most_open.max(seen.open.len());
        });
        Self { seen, client }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| {
            seen.open.remove(&self.client);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        reply
    }

    async fn connect(server: &LineServer) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(server.addr()).await.unwrap())
    }

    #[tokio::test]
    async fn it_echoes_fails_and_counts_what_is_broken() {
        let server = LineServer::start().await.unwrap();
        let mut stream = connect(&server).await;
        for sequence in 1..=2 {
            let reply = ask(
                &mut stream,
                "{\"id\":7,\"command\":{\"do\":\"echo\",\"payload\":\"x\"}}\n",
            )
            .await;
            let wanted =
                format!("{{\"id\":7,\"result\":{{\"payload\":\"x\",\"sequence\":{sequence}}}}}\n");
            assert_eq!(reply, wanted);
        }
        let reply = ask(&mut stream, "{\"id\":8,\"command\":{\"do\":\"fail\"}}\n").await;
        assert!(reply.contains("told to fail"), "{reply}");
        let reply = ask(&mut stream, "{\"id\":9,\"comm{\"id\":10,\"command\"\n").await;
        assert!(reply.contains("no request"), "{reply}");
        let seen = server.seen();
        assert_eq!((seen.requests, seen.broken, seen.open.len()), (3, 1, 1));
        drop(stream);
        server.until(|seen| seen.open.is_empty()).await;
        assert_eq!(server.seen().most_open, 1);
    }

    #[tokio::test]
    async fn it_answers_late_by_half_twice_and_for_somebody_else() {
        let server = LineServer::start().await.unwrap();
        let mut stream = connect(&server).await;
        stream
            .write_all(b"{\"id\":1,\"command\":{\"do\":\"late\"}}\n")
            .await
            .unwrap();
        server.until(|seen| seen.requests == 1).await;
        server.answer_late();
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        assert!(reply.contains("\"id\":1"), "{reply}");

        let reply = ask(&mut stream, "{\"id\":2,\"command\":{\"do\":\"other\"}}\n").await;
        assert!(reply.contains("\"id\":3"), "{reply}");
        let first = ask(&mut stream, "{\"id\":4,\"command\":{\"do\":\"twice\"}}\n").await;
        let mut second = String::new();
        stream.read_line(&mut second).await.unwrap();
        assert_eq!(first, second);
        let half = ask(&mut stream, "{\"id\":5,\"command\":{\"do\":\"half\"}}\n").await;
        assert!(
            half.starts_with("{\"id\":5") && !half.ends_with('\n'),
            "{half}"
        );
    }
}
