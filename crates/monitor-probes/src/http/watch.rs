//! A stream that notes the first byte of each answer and refuses a head without end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Phase, Progress};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What is known of the answer under way, shared by its stream and its check.
pub(super) struct Watch {
    answer: Mutex<Answer>,
    head_limit: usize,
}

struct Answer {
    asked: Instant,
    first_byte: Option<Instant>,
    head_done: bool,
    /// In bytes.
    received: usize,
    progress: Progress,
}

impl Watch {
    pub(super) fn new(head_limit: usize) -> Self {
        Self {
            answer: Mutex::new(Answer::to(Progress::default())),
            head_limit,
        }
    }

    /// The next answer begins: its request is about to be sent.
    pub(super) fn begin(&self, progress: Progress) {
        *self.answer() = Answer::to(progress);
    }

    /// How many bytes of the answer have arrived.
    pub(super) fn received(&self) -> usize {
        self.answer().received
    }

    /// When the first byte of the answer came.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.answer().first_byte
    }

    /// The head is complete: from now on only the body's own limit counts.
    pub(super) fn head_done(&self) {
        self.answer().head_done = true;
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn to(progress: Progress) -> Self {
        Self {
            asked: Instant::now(),
            first_byte: None,
            head_done: false,
            received: 0,
            progress,
        }
    }

    /// Counts `bytes` more.
    fn receive(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes);
        if bytes > 0 && self.first_byte.is_none() {
            let now = Instant::now();
            let took = now.saturating_duration_since(self.asked);
            self.progress.record(Phase::FirstByte, took);
            self.first_byte = Some(now);
        }
    }
}

/// The stream of one connection.
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    pub(super) const fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch }
    }

    /// Asked for more while the head is incomplete, although its limit is used up. This also ends
    /// a target that sends interim answers (1xx) for ever, each of them complete.
    fn head_is_too_large(&self) -> bool {
        let answer = self.watch.answer();
        answer.received >= self.watch.head_limit && !answer.head_done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head_is_too_large() {
            let limit = self.watch.head_limit;
            let fault = Fault::new(Layer::Protocol, Reason::TooLarge)
                .with_detail(format!("the answer's head is larger than {limit} bytes"));
            return Poll::Ready(Err(io::Error::other(fault)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.watch.answer().receive(bytes);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
