//! From a host to an open HTTP connection.

use monitor_fault::{Fault, Layer};
use monitor_model::{Phase, Progress};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use url::Host;

use super::exchange::Exchange;
use crate::lap::Lap;
use crate::{Resolver, Tls, dial};

/// Where connections lead to, and what a head may be as long as.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) resolver: Resolver,
    /// The name to verify and the trust; `None` for plain `http`.
    pub(super) tls: Option<(ServerName<'static>, Tls)>,
    /// In bytes.
    pub(super) head_limit: usize,
}

impl Dialer {
    /// Opens a connection, reporting each phase. Dropping the future closes whatever is open.
    pub(super) async fn open(&self, progress: &Progress) -> Result<Exchange, Fault> {
        let mut lap = Lap::start(progress);
        progress.enter(Layer::Dns);
        let addresses = self.resolver.lookup(&self.host, self.port).await?;
        lap.end(Phase::Resolve);

        progress.enter(Layer::Connect);
        let stream = dial::connect(addresses).await?;
        // Only an optimisation (a request in two writes would wait for an acknowledgement), and on
        // a connection that is gone already, the next write tells better why.
        let _ = stream.set_nodelay(true);
        lap.end(Phase::Connect);

        let Some((name, tls)) = &self.tls else {
            return Exchange::open(Box::new(stream), self.head_limit).await;
        };
        progress.enter(Layer::Tls);
        let connector = TlsConnector::from(tls.config());
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| Fault::classify(&error, Layer::Tls))?;
        lap.end(Phase::Tls);
        Exchange::open(Box::new(stream), self.head_limit).await
    }
}
