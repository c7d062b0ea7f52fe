//! From addresses to one TCP connection.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use monitor_fault::{Blame, Fault, Layer, Reason};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long an attempt is alone before the next address is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers.
///
/// They are tried in order: the next one starts when the one before has failed, or beside it
/// after 250 ms, so that one dead address does not use up the time of all.
///
/// If none answers, the fault is the most telling one. An address that could not really be tried,
/// because the prober itself was out of something, leaves the answer open and outranks the
/// others; a missing IPv6 on this side is the least.
///
/// Dropping the future closes all attempts.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Fault> {
    let mut race = Race {
        waiting: addresses.into_iter(),
        running: Vec::new(),
        timer: Box::pin(sleep(HEAD_START)),
        failed: Vec::new(),
    };
    poll_fn(|cx| race.poll(cx)).await
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

struct Race {
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<(SocketAddr, Attempt)>,
    timer: Pin<Box<Sleep>>,
    failed: Vec<(SocketAddr, Fault)>,
}

impl Race {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpStream, Fault>> {
        loop {
            if self.running.is_empty() && !self.start_next() {
                return Poll::Ready(Err(self.verdict()));
            }
            match self.poll_running(cx) {
                Poll::Ready(Some(stream)) => return Poll::Ready(Ok(stream)),
                // One failed: its successor need not wait for the timer.
                Poll::Ready(None) => {
                    self.start_next();
                }
                Poll::Pending => {
                    if self.waiting.len() == 0 || self.timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.start_next();
                }
            }
        }
    }

    /// Starts the next attempt and its head start; `false` if there is no address left.
    fn start_next(&mut self) -> bool {
        let Some(address) = self.waiting.next() else {
            return false;
        };
        self.running
            .push((address, Box::pin(TcpStream::connect(address))));
        self.timer = Box::pin(sleep(HEAD_START));
        true
    }

    /// Ready with a stream, or with `None` once an attempt has failed.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Option<TcpStream>> {
        for index in 0..self.running.len() {
            let (address, attempt) = &mut self.running[index];
            let Poll::Ready(done) = attempt.as_mut().poll(cx) else {
                continue;
            };
            let address = *address;
            drop(self.running.swap_remove(index));
            return Poll::Ready(match done {
                Ok(stream) => Some(stream),
                Err(error) => {
                    self.failed
                        .push((address, Fault::classify(&error, Layer::Connect)));
                    None
                }
            });
        }
        Poll::Pending
    }

    fn verdict(&self) -> Fault {
        let worst = self
            .failed
            .iter()
            .max_by_key(|(address, fault)| rank(*address, fault));
        let Some((_, worst)) = worst else {
            return Fault::new(Layer::Dns, Reason::NoRecords);
        };
        let all: Vec<_> = self
            .failed
            .iter()
            .map(|(address, fault)| {
                let detail = fault.detail().unwrap_or_else(|| fault.reason().as_str());
                format!("{address}: {detail}")
            })
            .collect();
        worst.clone().with_detail(all.join("; "))
    }
}

/// How much a failed attempt tells, most last.
fn rank(address: SocketAddr, fault: &Fault) -> u8 {
    match fault.blame() {
        Blame::Prober if address.is_ipv6() && no_family(fault.reason()) => 0,
        Blame::Path => 1,
        Blame::Target => 2,
        _ => 3,
    }
}

/// What a machine without IPv6 says: no such address of its own, or no such family at all.
fn no_family(reason: Reason) -> bool {
    matches!(reason, Reason::PortsExhausted | Reason::Unsupported)
}

#[cfg(test)]
mod tests {
    use monitor_testkit::targets::{Refusing, Stuck, Target};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("a socket address")
    }

    fn verdict(failed: &[(&str, Reason)]) -> Fault {
        let layer = |reason| match reason {
            Reason::PortsExhausted | Reason::DescriptorLimit | Reason::Unsupported => Layer::Local,
            _ => Layer::Connect,
        };
        let failed = failed
            .iter()
            .map(|(to, reason)| (address(to), Fault::new(layer(*reason), *reason)))
            .collect();
        Race {
            waiting: Vec::new().into_iter(),
            running: Vec::new(),
            timer: Box::pin(sleep(HEAD_START)),
            failed,
        }
        .verdict()
    }

    /// ROB-54: an address that was not really tried leaves the answer open, except that a prober
    /// without IPv6 still sees an outage.
    #[tokio::test]
    async fn the_most_telling_fault_wins() {
        let (v4, other, v6) = ("127.0.0.1:1", "127.0.0.2:1", "[::1]:1");
        for (failed, expected) in [
            (
                vec![(v4, Reason::DescriptorLimit), (other, Reason::Refused)],
                Reason::DescriptorLimit,
            ),
            (
                vec![(v4, Reason::PortsExhausted), (other, Reason::Refused)],
                Reason::PortsExhausted,
            ),
            (
                vec![(v6, Reason::PortsExhausted), (v4, Reason::Refused)],
                Reason::Refused,
            ),
            (
                vec![(v6, Reason::Unreachable), (v4, Reason::Refused)],
                Reason::Refused,
            ),
            (vec![(v6, Reason::PortsExhausted)], Reason::PortsExhausted),
            (
                vec![(v6, Reason::Unsupported), (v4, Reason::Refused)],
                Reason::Refused,
            ),
            (vec![(v6, Reason::Unsupported)], Reason::Unsupported),
        ] {
            assert_eq!(verdict(&failed).reason(), expected, "{failed:?}");
        }
    }

    /// ROB-54: an address that swallows everything does not keep the next one from being tried.
    #[tokio::test]
    async fn a_dead_address_does_not_use_up_the_time_of_all() {
        let stuck = Stuck::new().expect("a full queue");
        let healthy = Target::healthy().await.expect("a target");
        let stream = connect(vec![stuck.addr(), healthy.addr()])
            .await
            .expect("the second answers");
        assert_eq!(stream.peer_addr().expect("connected"), healthy.addr());
    }

    #[tokio::test]
    async fn all_failed_attempts_are_named() {
        let (one, two) = (
            Refusing::new().expect("a port"),
            Refusing::new().expect("a port"),
        );
        let fault = connect(vec![one.addr(), two.addr()])
            .await
            .expect_err("both refuse");
        assert_eq!(
            (fault.layer(), fault.reason()),
            (Layer::Connect, Reason::Refused)
        );
        let detail = fault.detail().expect("a detail");
        for address in [one.addr(), two.addr()] {
            assert!(detail.contains(&address.to_string()), "{detail}");
        }
    }

    #[tokio::test]
    async fn no_address_is_a_fault_not_a_panic() {
        let fault = connect(Vec::new())
            .await
            .expect_err("nothing to connect to");
        assert_eq!(fault.reason(), Reason::NoRecords);
    }
}
