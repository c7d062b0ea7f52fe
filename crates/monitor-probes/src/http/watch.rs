//! A stream that notes its first byte and refuses a head without end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Phase, Progress};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What is known of one answer, shared by its stream and its check.
pub(super) struct Watch {
    asked: Instant,
    first_byte: OnceLock<Instant>,
    head_done: AtomicBool,
    head_limit: usize,
}

impl Watch {
    pub(super) fn new(head_limit: usize) -> Self {
        Self {
            asked: Instant::now(),
            first_byte: OnceLock::new(),
            head_done: AtomicBool::new(false),
            head_limit,
        }
    }

    /// When the first byte of the answer came.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.first_byte.get().copied()
    }

    /// The head is complete: from now on only the body's own limit counts.
    pub(super) fn head_done(&self) {
        self.head_done.store(true, Ordering::Relaxed);
    }
}

/// The stream. It must be read by one task only, as its check does.
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    progress: Progress,
    received: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>, progress: Progress) -> Self {
        Self {
            stream,
            watch,
            progress,
            received: 0,
        }
    }

    /// Counts `bytes` more of the answer.
    fn receive(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes);
        if bytes > 0 && self.watch.first_byte.get().is_none() {
            let now = Instant::now();
            let took = now.saturating_duration_since(self.watch.asked);
            self.progress.record(Phase::FirstByte, took);
            // Already set is impossible: this is the only place, and it has `&mut self`.
            let _ = self.watch.first_byte.set(now);
        }
    }

    /// Asked for more while the head is incomplete, although its limit is used up. This also ends
    /// a target that sends interim answers (1xx) for ever, each of them complete.
    fn head_is_too_large(&self) -> bool {
        self.received >= self.watch.head_limit && !self.watch.head_done.load(Ordering::Relaxed)
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
        self.receive(bytes);
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
