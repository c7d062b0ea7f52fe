//! SIGINT and SIGTERM: the first one asks, the second one insists.

use std::fmt;
use std::io::{self, Write};

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::watch;

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// ctrl-c.
    Interrupt,
    /// What `kill` and service managers send.
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal has ended, as shells have it.
    const fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The signals of this process from the moment of [`install`](Self::install).
pub(crate) struct Signals {
    first: watch::Receiver<Option<Signal>>,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM, before anything is started that would have to be ended: one
    /// that comes during start-up is kept, and ends the process in order right after. A second one
    /// ends it at once.
    pub(crate) fn install() -> io::Result<Self> {
        let (tell, first) = watch::channel(None);
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            let first = next(&mut interrupts, &mut terminations).await;
            // Fails only when nobody waits any more.
            let _ = tell.send(Some(first));
            let second = next(&mut interrupts, &mut terminations).await;
            // What is committed is on disk; all else is given up, as asked for.
            let _ = writeln!(io::stderr(), "monitord: second signal, ended at once");
            std::process::exit(second.exit_code());
        });
        Ok(Self { first })
    }

    /// Waits for the first signal, also one that came before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn first(&mut self) -> Signal {
        loop {
            if let Some(signal) = *self.first.borrow_and_update() {
                return signal;
            }
            if self.first.changed().await.is_err() {
                // The task never ends before the process does.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn next(interrupts: &mut Stream, terminations: &mut Stream) -> Signal {
    tokio::select! {
        _ = interrupts.recv() => Signal::Interrupt,
        _ = terminations.recv() => Signal::Terminate,
    }
}
