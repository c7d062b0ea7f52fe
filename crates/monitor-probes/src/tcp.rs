//! The TCP check: resolve, connect.

use async_trait::async_trait;
use monitor_fault::{Fault, Layer};
use monitor_model::{Observation, Phase, Probe, ProbeContext, Progress};
use url::Host;

use crate::lap::Lap;
use crate::{Resolver, TargetError, dial, target};

/// Checks that a TCP port accepts a connection.
///
/// It times two phases, resolve and connect, and closes the connection without sending anything.
///
/// A fault that is the prober's own (no descriptor left, say) makes the finding
/// [`Unknown`](monitor_model::Finding::Unknown), any other makes it
/// [`Down`](monitor_model::Finding::Down).
///
/// # Cancel safety
///
/// Dropping the check's future closes every connection attempt; no task is left behind.
///
/// ```
/// use monitor_model::Probe;
/// use monitor_probes::TcpProbe;
///
/// let probe = TcpProbe::new("db.example.com", 5432)?;
/// assert_eq!(probe.target(), "db.example.com:5432");
/// # Ok::<(), monitor_probes::TargetError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TcpProbe {
    host: Host<String>,
    port: u16,
    resolver: Resolver,
}

impl TcpProbe {
    /// Makes a probe of `port` on `host`: a name, or an address with or without brackets.
    ///
    /// # Errors
    ///
    /// - [`TargetError::EmptyHost`], [`TargetError::Host`]: not a host.
    /// - [`TargetError::Port`]: port 0.
    pub fn new(host: &str, port: u16) -> Result<Self, TargetError> {
        if port == 0 {
            return Err(TargetError::Port {
                port: "0".to_owned(),
            });
        }
        let host = match host.parse() {
            Ok(ip) => Host::Ipv6(ip),
            Err(_) => target::parse_host(host)?,
        };
        Ok(Self {
            host,
            port,
            resolver: Resolver::system(),
        })
    }

    /// Replaces the resolver, which by default is the system's.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    async fn run(&self, progress: &Progress) -> Result<String, Fault> {
        let mut lap = Lap::start(progress);
        progress.enter(Layer::Dns);
        let addresses = self.resolver.lookup(&self.host, self.port).await?;
        lap.end(Phase::Resolve);
        progress.enter(Layer::Connect);
        let stream = dial::connect(addresses).await?;
        lap.end(Phase::Connect);
        let note = match stream.peer_addr() {
            Ok(peer) => format!("connected to {peer}"),
            Err(_) => "connected".to_owned(),
        };
        Ok(note)
    }
}

#[async_trait]
impl Probe for TcpProbe {
    fn kind(&self) -> &'static str {
        "tcp"
    }

    fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        match self.run(&context.progress).await {
            Ok(note) => Observation::up().with_note(note),
            Err(fault) => Observation::fault(fault),
        }
    }
}
