//! JSON commands over TCP: one line each, one reply each, one at a time.
//!
//! A request is `{"id":1,"command":...}` and a newline; its reply has the same id and either a
//! `result` or an `error`.
//!
//! ```no_run
//! use monitor_pool::Pool;
//! use monitor_pool::managers::line::LineManager;
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(LineManager::new("127.0.0.1:9876"))
//!     .max_size(4)
//!     .build()?;
//! let scene = pool
//!     .execute(async |connection| connection.call(&json!({"type": "get_scene_info"})).await)
//!     .await?;
//! println!("{scene}");
//! # Ok(())
//! # }
//! ```
//!
//! # No reply reaches the wrong caller
//!
//! From the first byte of a request to the last one of its reply the connection *owes a reply*. A
//! call that is dropped, or that fails, in between leaves that mark: the connection is closed when
//! it is released, and refuses further calls until then. Besides, each reply must carry the id
//! of its request, and a connection on which bytes lie that nobody asked for is not used.
//! Lines have a limit, both ways, so that neither side can make the other one collect for ever.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Manager;

/// The default of [`LineManager::max_line`]: 1 MiB.
pub const DEFAULT_MAX_LINE: usize = 1 << 20;

/// Connects to a server of commands.
#[derive(Debug, Clone)]
pub struct LineManager {
    address: String,
    max_line: usize,
}

impl LineManager {
    /// Makes a manager for the server at `address`, as `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            max_line: DEFAULT_MAX_LINE,
        }
    }

    /// Sets how long a line may be in bytes, its newline included. Default: 1 MiB.
    #[must_use]
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// No connection to the server.
    #[error("cannot reach {address}")]
    Dial {
        /// As it was given.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// An idle connection has ended, or bytes have come that nobody asked for.
    #[error("the idle connection to {address} was closed, or spoke without being asked")]
    Stale {
        /// As it was given.
        address: String,
    },
}

impl Manager for LineManager {
    type Connection = LineConnection;
    type Error = LineError;

    async fn connect(&self) -> Result<LineConnection, LineError> {
        let stream = async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match stream.await {
            Ok(stream) => Ok(LineConnection {
                stream: BufReader::new(stream),
                max_line: self.max_line,
                last_id: 0,
                owes_reply: false,
            }),
            Err(source) => Err(LineError::Dial {
                address: self.address.clone(),
                source,
            }),
        }
    }

    /// Looks whether the connection is silent and open, which costs no round trip.
    async fn check(&self, connection: LineConnection) -> Result<LineConnection, LineError> {
        if connection.is_clean() {
            return Ok(connection);
        }
        Err(LineError::Stale {
            address: self.address.clone(),
        })
    }

    fn is_quiescent(&self, connection: &mut LineConnection) -> bool {
        connection.is_clean()
    }

    async fn close(&self, mut connection: LineConnection) {
        // An error says that it is closed already.
        let _ = connection.stream.shutdown().await;
    }
}

/// A connection to a server of commands.
#[derive(Debug)]
pub struct LineConnection {
    stream: BufReader<TcpStream>,
    max_line: usize,
    last_id: u64,
    owes_reply: bool,
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The command cannot be written as JSON. Nothing was sent; the connection is as before.
    #[error("the command cannot be written as JSON")]
    Command(#[source] serde_json::Error),
    /// The request would be too long. Nothing was sent; the connection is as before.
    #[error("the request has {length} bytes; max_line is {max_line}")]
    RequestTooLong {
        /// How long it would be.
        length: usize,
        /// The limit.
        max_line: usize,
    },
    /// The server answered that it failed. The connection is as good as after a result.
    #[error("the server says: {0}")]
    Server(Value),
    /// An earlier call on this connection has not got its reply, or the server has said something
    /// without being asked. Nothing was sent.
    #[error("the connection is not clean: an earlier reply may still come")]
    NotClean,
    /// The connection failed.
    #[error("the connection failed during a call")]
    Io(#[source] io::Error),
    /// The server closed the connection before the end of the reply.
    #[error("the server closed the connection after {received} bytes of the reply")]
    Closed {
        /// How many bytes of the reply had come.
        received: usize,
    },
    /// The reply is too long.
    #[error("the reply is longer than max_line, {max_line} bytes")]
    ReplyTooLong {
        /// The limit.
        max_line: usize,
    },
    /// The reply is no JSON object with an id and a result or an error.
    #[error("the reply makes no sense")]
    Garbled(#[source] serde_json::Error),
    /// The reply is for another request.
    #[error("the reply is for request {got:?} instead of {wanted}")]
    WrongId {
        /// The request's id.
        wanted: u64,
        /// The reply's id.
        got: Option<u64>,
    },
}

#[derive(Serialize)]
struct Request<'a, C> {
    id: u64,
    command: &'a C,
}

#[derive(Deserialize)]
struct Reply {
    id: Option<u64>,
    #[serde(default)]
    result: Value,
    error: Option<Value>,
}

impl LineConnection {
    /// Sends `command` and waits for its result.
    ///
    /// # Errors
    ///
    /// After [`CallError::Command`], [`RequestTooLong`](CallError::RequestTooLong) and
    /// [`Server`](CallError::Server) the connection can be used on. After any other one it
    /// cannot, and the pool closes it at its release.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the connection unfit, since its reply may still come: the pool closes
    /// it at its release. Whether the server has executed the command is unknown.
    pub async fn call<C: Serialize>(&mut self, command: &C) -> Result<Value, CallError> {
        if !self.is_clean() {
            self.owes_reply = true;
            return Err(CallError::NotClean);
        }
        let id = self.last_id + 1;
        let mut request =
            serde_json::to_vec(&Request { id, command }).map_err(CallError::Command)?;
        request.push(b'\n');
        if request.len() > self.max_line {
            return Err(CallError::RequestTooLong {
                length: request.len(),
                max_line: self.max_line,
            });
        }
        self.last_id = id;
        self.owes_reply = true;
        self.stream
            .write_all(&request)
            .await
            .map_err(CallError::Io)?;
        let line = self.read_line().await?;
        let reply: Reply = serde_json::from_slice(&line).map_err(CallError::Garbled)?;
        if reply.id != Some(id) {
            return Err(CallError::WrongId {
                wanted: id,
                got: reply.id,
            });
        }
        self.owes_reply = false;
        match reply.error {
            Some(error) => Err(CallError::Server(error)),
            None => Ok(reply.result),
        }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, CallError> {
        let mut line = Vec::new();
        let limit = u64::try_from(self.max_line).unwrap_or(u64::MAX);
        let mut limited = (&mut self.stream).take(limit);
        limited
            .read_until(b'\n', &mut line)
            .await
            .map_err(CallError::Io)?;
        if line.last() == Some(&b'\n') {
            return Ok(line);
        }
        if line.len() >= self.max_line {
            return Err(CallError::ReplyTooLong {
                max_line: self.max_line,
            });
        }
        Err(CallError::Closed {
            received: line.len(),
        })
    }

    /// Is no reply owed, and has the server neither spoken nor hung up since the last one?
    fn is_clean(&self) -> bool {
        // As far as the runtime has heard of it, without waiting.
        let nothing_to_read = || {
            let read = self.stream.get_ref().try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        !self.owes_reply && self.stream.buffer().is_empty() && nothing_to_read()
    }
}
