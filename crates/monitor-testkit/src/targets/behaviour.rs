//! What a target does on one connection.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Connection;

/// A request head larger than this is taken for complete.
const MAX_HEAD: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum Behaviour {
    Answer { status: u16, body: Vec<u8> },
    Raw { bytes: Vec<u8> },
    Slow { delay: Duration },
    Held,
    Flaky { statuses: Box<[u16]> },
    Flapping,
    Silent,
    Reset,
    CloseAtOnce,
    Endless { head: Vec<u8>, again: Vec<u8> },
    SlowDrip { pause: Duration },
}

/// Up or down, shared with the handle of a flapping or held target.
#[derive(Debug, Clone)]
pub(super) struct Switch(watch::Sender<bool>);

impl Switch {
    pub(super) fn set(&self, up: bool) {
        self.0.send_replace(up);
    }

    fn is_up(&self) -> bool {
        *self.0.borrow()
    }

    async fn until_up(&self) {
        // An error is a sender that is gone, and this is one.
        let _ = self.0.subscribe().wait_for(|up| *up).await;
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

pub(super) async fn show(connection: &Connection, mut stream: TcpStream) -> io::Result<()> {
    match &*connection.behaviour {
        Behaviour::CloseAtOnce => stream.shutdown().await,
        Behaviour::Silent => drain(connection, &mut stream).await,
        Behaviour::Reset => {
            read_head(connection, &mut stream).await?;
            // With a linger of zero, closing sends RST in place of FIN.
            stream.set_zero_linger()
        }
        Behaviour::Endless { head, again } => {
            read_head(connection, &mut stream).await?;
            stream.write_all(head).await?;
            let again = again.repeat(4096 / again.len() + 1);
            loop {
                stream.write_all(&again).await?;
            }
        }
        _ => answer(connection, stream).await,
    }
}

pub(super) async fn answer_over_tls<S>(connection: &Connection, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    answer(connection, stream).await
}

/// Answers the one request of a connection, then closes it in good order.
async fn answer<S>(connection: &Connection, mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let number = read_head(connection, &mut stream).await?;
    match &*connection.behaviour {
        Behaviour::Answer { status, body } => write(&mut stream, *status, body).await?,
        Behaviour::Raw { bytes } => stream.write_all(bytes).await?,
        Behaviour::Slow { delay } => {
            wait(&mut stream, sleep(*delay)).await?;
            write(&mut stream, 200, b"slow\n").await?;
        }
        Behaviour::Held => {
            wait(&mut stream, connection.switch.until_up()).await?;
            write(&mut stream, 200, b"held\n").await?;
        }
        Behaviour::Flaky { statuses } => {
            let index = (number - 1) % statuses.len() as u64;
            let status = statuses[usize::try_from(index).unwrap_or(0)];
            write(&mut stream, status, b"flaky\n").await?;
        }
        Behaviour::Flapping => {
            let status = if connection.switch.is_up() { 200 } else { 503 };
            write(&mut stream, status, b"flapping\n").await?;
        }
        Behaviour::SlowDrip { pause } => {
            for byte in message(200, b"drip\n") {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                wait(&mut stream, sleep(*pause)).await?;
            }
        }
        Behaviour::Silent
        | Behaviour::Reset
        | Behaviour::CloseAtOnce
        | Behaviour::Endless { .. } => {}
    }
    stream.shutdown().await?;
    // Until the other side has closed too: an early close with unread bytes would send RST.
    drain(connection, &mut stream).await
}

/// Reads one request's head; returns how many have come to this target by now.
async fn read_head<S>(connection: &Connection, stream: &mut S) -> io::Result<u64>
where
    S: AsyncRead + Unpin,
{
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..length]);
    }
    *connection
        .last_head
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = head;
    let mut number = 0;
    connection.seen.send_modify(|seen| {
        seen.requests += 1;
        number = seen.requests;
    });
    Ok(number)
}

/// Waits for `end`, unless the other side closes meanwhile.
async fn wait<S>(stream: &mut S, end: impl Future<Output = ()>) -> io::Result<()>
where
    S: AsyncRead + Unpin,
{
    let closed = async {
        while stream.read(&mut [0; 64]).await? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    };
    tokio::select! {
        () = end => Ok(()),
        closed = closed => closed,
    }
}

/// Reads whatever comes until the other side closes, counting the requests in it.
async fn drain<S: AsyncRead + Unpin>(connection: &Connection, stream: &mut S) -> io::Result<()> {
    loop {
        match read_head(connection, stream).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, status: u16, body: &[u8]) -> io::Result<()> {
    stream.write_all(&message(status, body)).await?;
    stream.flush().await
}

fn message(status: u16, body: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    message
}
