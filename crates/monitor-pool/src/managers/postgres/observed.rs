//! A stream that keeps account of the messages in it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::protocol::Tracker;

/// The account of a session, shared between its stream and its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Account(Arc<Mutex<Tracker>>);

impl Account {
    pub(super) fn is_quiescent(&self) -> bool {
        self.tracker().is_quiescent()
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes everything on and notes it. Shutting it down waits until the other side has closed too:
/// a server that has hung up has no session left.
#[derive(Debug)]
pub(super) struct Observed<S> {
    stream: S,
    account: Account,
    is_shut_down: bool,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, account: Account) -> Self {
        Self {
            stream,
            account,
            is_shut_down: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.account.tracker().received(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.account.tracker().sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut_down = true;
        }
        loop {
            let mut bytes = [0; 256];
            let mut last_words = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut last_words))?;
            if last_words.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: TlsStream + Unpin> TlsStream for Observed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Observes what is inside the encryption instead of what is outside.
pub(super) struct Observing<T>(pub(super) T);

impl<S, T> TlsConnect<Observed<S>> for Observing<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Observed<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: Observed<S>) -> Self::Future {
        let Observed {
            stream, account, ..
        } = stream;
        // The session starts anew inside.
        *account.tracker() = Tracker::default();
        let handshake = self.0.connect(stream);
        Box::pin(async move { Ok(Observed::new(handshake.await?, account)) })
    }
}
