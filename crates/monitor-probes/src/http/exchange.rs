//! Requests and their answers over one connection, without a task of its own.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Footprint, Held, Progress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::watch::{Watch, Watched};

pub(super) type NoBody = Empty<Bytes>;

/// What HTTP is spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type Driver = Connection<TokioIo<Watched<Box<dyn Stream>>>, NoBody>;

/// An open connection. hyper splits it into a handle and a future that moves the bytes; this
/// polls that future wherever it waits, so that dropping the exchange drops the socket.
pub(super) struct Exchange {
    sender: SendRequest<NoBody>,
    /// `None` once it has ended: it must not be polled again.
    connection: Option<Driver>,
    watch: Arc<Watch>,
    /// How many requests went over it.
    requests: u64,
}

/// What was read of a body.
pub(super) struct Read {
    pub(super) length: u64,
    /// The bytes, if they were asked for.
    pub(super) kept: Vec<u8>,
    /// Accounts for them.
    held: Held,
}

impl Exchange {
    pub(super) async fn open(stream: Box<dyn Stream>, head_limit: usize) -> Result<Self, Fault> {
        let watch = Arc::new(Watch::new(head_limit));
        let stream = Watched::new(stream, Arc::clone(&watch));
        let handshake = Builder::new()
            .max_buf_size(head_limit)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake
            .await
            .map_err(|error| Fault::classify(&error, Layer::Response))?;
        Ok(Self {
            sender,
            connection: Some(connection),
            watch,
            requests: 0,
        })
    }

    /// How many requests went over it.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether another request may be sent: the last answer was read to its end, and the other
    /// side has neither closed nor said anything since. Looks at what has arrived, waits for
    /// nothing.
    pub(super) fn is_ready(&mut self) -> bool {
        if let Some(running) = &mut self.connection {
            let mut context = Context::from_waker(Waker::noop());
            if Pin::new(running).poll(&mut context).is_ready() {
                self.connection = None;
            }
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// How many bytes of the answer have arrived.
    pub(super) fn received(&self) -> usize {
        self.watch.received()
    }

    /// When the first byte of the answer came.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.watch.first_byte()
    }

    /// Sends `request` and waits for the head of its answer, whose progress is reported.
    pub(super) async fn send(
        &mut self,
        request: Request<NoBody>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Fault> {
        self.watch.begin(progress.clone());
        self.requests = self.requests.saturating_add(1);
        let answer = self.sender.send_request(request);
        let answer = drive(&mut self.connection, answer)
            .await
            .and_then(|answer| answer.map_err(|error| Fault::classify(&error, Layer::Response)));
        match answer {
            Ok(answer) => {
                self.watch.head_done();
                Ok(answer)
            }
            // Closed before anything came back is no half answer.
            Err(fault) if fault.reason() == Reason::Incomplete && self.first_byte().is_none() => {
                Err(Fault::new(Layer::Response, Reason::Closed)
                    .with_detail("the connection was closed without an answer"))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reads `body` to its end, at most `limit` bytes.
    pub(super) async fn read(
        &mut self,
        mut body: Incoming,
        limit: usize,
        keep: bool,
        footprint: &Footprint,
    ) -> Result<Read, Fault> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut read = Read {
            length: 0,
            kept: Vec::new(),
            held: footprint.hold(0),
        };
        // A target that announces too much need not be heard out.
        if body.size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        while let Some(frame) = drive(&mut self.connection, body.frame())
            .await
            .map_err(cut_off)?
        {
            let frame = frame.map_err(|error| cut_off(Fault::classify(&error, Layer::Response)))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            read.length = read.length.saturating_add(data.len() as u64);
            if read.length > limit {
                return Err(too_large(limit));
            }
            if keep {
                read.kept.extend_from_slice(data);
            }
            read.held.set(read.kept.capacity() + data.len());
        }
        Ok(read)
    }
}

/// Closed within a body is half an answer.
fn cut_off(fault: Fault) -> Fault {
    match fault.reason() {
        Reason::Closed => Fault::new(Layer::Response, Reason::Incomplete)
            .with_detail("the connection was closed within the body"),
        _ => fault,
    }
}

fn too_large(limit: u64) -> Fault {
    Fault::new(Layer::Response, Reason::TooLarge)
        .with_detail(format!("the body is larger than {limit} bytes"))
}

/// Waits for `wanted` while moving the bytes of `connection`.
///
/// `wanted` is asked once more after the connection has ended: its last bytes may be the answer.
async fn drive<C, F>(connection: &mut Option<C>, wanted: F) -> Result<F::Output, Fault>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
    F: Future,
{
    let mut wanted = pin!(wanted);
    poll_fn(|cx| {
        if let Poll::Ready(output) = wanted.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let ended = match connection {
            None => Ok(()),
            Some(running) => match Pin::new(running).poll(cx) {
                Poll::Ready(ended) => {
                    *connection = None;
                    ended
                }
                Poll::Pending => Ok(()),
            },
        };
        if let Poll::Ready(output) = wanted.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        match (ended, &connection) {
            (Err(error), _) => Poll::Ready(Err(Fault::classify(&error, Layer::Response))),
            (Ok(()), None) => Poll::Ready(Err(Fault::new(Layer::Response, Reason::Closed))),
            (Ok(()), Some(_)) => Poll::Pending,
        }
    })
    .await
}
