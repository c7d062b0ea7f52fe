//! SIGINT and SIGTERM: the first one asks, the second one insists.

use std::{fmt, io, sync::mpsc, thread};

use tokio::{
    runtime::Builder,
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::watch,
};

/// A signal that ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: ctrl-c.
    Interrupt,
    /// SIGTERM: what `kill` and service managers send.
    Terminate,
}

impl Signal {
    /// Returns the exit code of a process that this signal has ended, as shells have it.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
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
///
/// They are received on a thread of their own, so a second one ends the process also when every
/// thread of the application is blocked.
#[derive(Clone, Debug)]
pub struct Signals {
    first: watch::Receiver<Option<Signal>>,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM. Call it first in `main`: no runtime is needed, and one that
    /// comes during start-up is kept for [`first`](Self::first). A second one calls `std::process::exit`
    /// with [`Signal::exit_code`].
    ///
    /// # Errors
    /// When no thread can be started or the handlers cannot be installed; the signals then do what
    /// they did before.
    pub fn install() -> io::Result<Self> {
        Self::install_with(|second| std::process::exit(second.exit_code()))
    }

    /// As [`install`](Self::install), with something else to do at the second signal and at every
    /// one after it, on the thread of the signals.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    pub fn install_with(second: impl FnMut(Signal) + Send + 'static) -> io::Result<Self> {
        let (tell, first) = watch::channel(None);
        let (installed, wait) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || receive(&installed, &tell, second))?;
        let gone = || io::Error::other("the thread of the signals has ended");
        wait.recv().map_err(|_| gone())??;
        Ok(Self { first })
    }

    /// Waits for the first signal, also one that came before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn first(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.try_first() {
                return signal;
            }
            if self.first.changed().await.is_err() {
                // Its thread ends only with the process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns the first signal if it has come: for steps of start-up that are worth leaving out
    /// then.
    pub fn try_first(&mut self) -> Option<Signal> {
        *self.first.borrow_and_update()
    }
}

fn receive(
    installed: &mpsc::SyncSender<io::Result<()>>,
    tell: &watch::Sender<Option<Signal>>,
    mut second: impl FnMut(Signal),
) {
    // Whoever installs waits for this answer and is there to take it.
    let runtime = match Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(installed.send(Err(error))),
    };
    runtime.block_on(async {
        let streams = signal(SignalKind::interrupt())
            .and_then(|interrupts| Ok((interrupts, signal(SignalKind::terminate())?)));
        let (mut interrupts, mut terminations) = match streams {
            Ok(streams) => streams,
            Err(error) => return drop(installed.send(Err(error))),
        };
        drop(installed.send(Ok(())));
        tell.send_replace(Some(next(&mut interrupts, &mut terminations).await));
        loop {
            second(next(&mut interrupts, &mut terminations).await);
        }
    });
}

async fn next(interrupts: &mut Stream, terminations: &mut Stream) -> Signal {
    tokio::select! {
        _ = interrupts.recv() => Signal::Interrupt,
        _ = terminations.recv() => Signal::Terminate,
    }
}
