//! One connection through the proxy.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Seen;
use super::fault::{Direction, Effect, Fault};

const BUFFER: usize = 16 << 10;

/// The faults that have not struck yet, and the standing delay of each direction.
#[derive(Debug, Default)]
pub(super) struct Armed(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    /// `after` is counted down as bytes pass.
    faults: Vec<Fault>,
    to_server: Duration,
    to_client: Duration,
}

impl Armed {
    pub(super) fn arm(&self, fault: Fault) {
        self.pending().faults.push(fault);
    }

    pub(super) fn clear(&self) {
        *self.pending() = Pending::default();
    }

    /// Of `available` bytes that are to pass in `direction`: how many do before the next fault,
    /// and its effect if it strikes among them.
    fn advance(&self, direction: Direction, available: usize) -> (usize, Option<Effect>) {
        let mut pending = self.pending();
        let faults = pending.faults.iter().enumerate();
        let next = faults
            .filter(|(_, fault)| fault.direction == direction)
            .min_by_key(|(_, fault)| fault.after)
            .map(|(index, fault)| (index, fault.after));
        let mut passing = available;
        let mut effect = None;
        if let Some((index, after)) = next
            && let Ok(after) = usize::try_from(after)
            && after < available
        {
            passing = after;
            effect = Some(pending.faults.remove(index).effect);
        }
        for fault in &mut pending.faults {
            if fault.direction == direction {
                fault.after = fault.after.saturating_sub(passing as u64);
            }
        }
        (passing, effect)
    }

    fn delay(&self, direction: Direction) -> Duration {
        let pending = self.pending();
        match direction {
            Direction::ToServer => pending.to_server,
            Direction::ToClient => pending.to_client,
        }
    }

    fn set_delay(&self, direction: Direction, delay: Duration) {
        let mut pending = self.pending();
        match direction {
            Direction::ToServer => pending.to_server = delay,
            Direction::ToClient => pending.to_client = delay,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why bytes stop passing in a direction.
enum Stop {
    /// A fault that concerns the whole link.
    Cut(Effect),
    /// One of the two sides failed.
    Failed,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

/// What a link needs while it passes bytes on.
pub(super) struct Link {
    pub(super) armed: Arc<Armed>,
    pub(super) healed: watch::Receiver<u64>,
    pub(super) seen: watch::Sender<Seen>,
}

impl Link {
    /// Passes bytes on until both sides have closed or a fault ends it.
    pub(super) async fn pass(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        mut strikes: mpsc::UnboundedReceiver<Effect>,
    ) -> io::Result<()> {
        let stop = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            tokio::select! {
                both = async {
                    tokio::try_join!(
                        self.pump(from_client, to_server, Direction::ToServer),
                        self.pump(from_server, to_client, Direction::ToClient),
                    )
                } => both.err(),
                Some(effect) = strikes.recv() => {
                    self.strike();
                    Some(Stop::Cut(effect))
                }
            }
        };
        match stop {
            None => Ok(()),
            // A reset is passed on as one.
            Some(Stop::Failed | Stop::Cut(Effect::Rst)) => {
                client.set_zero_linger()?;
                server.set_zero_linger()
            }
            Some(Stop::Cut(Effect::HalfOpen)) => {
                server.set_zero_linger()?;
                drop(server);
                tokio::select! {
                    drained = drain(&mut client) => drained,
                    Some(_) = strikes.recv() => client.set_zero_linger(),
                }
            }
            Some(Stop::Cut(_)) => {
                // Closing with unread bytes would be a reset, so they are read first.
                client.shutdown().await?;
                server.shutdown().await?;
                let both = async { tokio::try_join!(drain(&mut client), drain(&mut server)) };
                tokio::select! {
                    drained = both => drained.map(|_| ()),
                    Some(_) = strikes.recv() => Ok(()),
                }
            }
        }
    }

    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; BUFFER];
        let mut healed = self.healed.clone();
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                to.shutdown().await?;
                return Ok(());
            }
            let delay = self.armed.delay(direction);
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let mut rest = &mut buffer[..length];
            while !rest.is_empty() {
                // Before the fault is taken: what heals from here on ends its stall too.
                healed.mark_unchanged();
                let (passing, effect) = self.armed.advance(direction, rest.len());
                to.write_all(&rest[..passing]).await?;
                rest = &mut rest[passing..];
                let Some(effect) = effect else { continue };
                self.strike();
                match effect {
                    Effect::Corrupt(mask) => rest[0] ^= mask,
                    Effect::Delay(delay) => {
                        self.armed.set_delay(direction, delay);
                        sleep(delay).await;
                    }
                    // An error says that the proxy is gone, and this task with it.
                    Effect::Stall => drop(healed.changed().await),
                    Effect::Fin | Effect::Rst | Effect::HalfOpen => return Err(Stop::Cut(effect)),
                }
            }
        }
    }

    fn strike(&self) {
        self.seen.send_modify(|seen| seen.struck += 1);
    }
}

/// Reads whatever comes until the other side closes.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
