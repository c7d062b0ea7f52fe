//! Names to addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use monitor_fault::{Fault, Layer, Reason};
use url::Host;

/// The most addresses of one name that are tried.
///
/// A name with more is either a very large service, of which eight are as good a sample as all,
/// or a hostile answer that would have the prober open sockets without end.
const MAX_ADDRESSES: usize = 8;

/// Turns host names into addresses. A cheap handle: clones share one client.
///
/// Literal addresses and `localhost` never reach the network. Other names are looked up in the
/// hosts file and then asked for at every check: answers are not cached, since a check that
/// believes an older answer would not see that the name is gone. The client is made at the first
/// name, so that checks of literal addresses work without any resolver configuration, which is
/// read once: a change of it needs a new `Resolver`.
///
/// The client's own sockets belong to the shared client, not to a check.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    /// The one name server to ask; `None` asks those of the system.
    server: Option<SocketAddr>,
    client: OnceLock<TokioResolver>,
}

impl Resolver {
    /// Makes a resolver that asks the system's name servers, as configured in
    /// `/etc/resolv.conf`.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Shared {
            server: None,
            client: OnceLock::new(),
        }))
    }

    /// Makes a resolver that asks the name server at `server`, by UDP and, for long answers, TCP.
    #[must_use]
    pub fn with_name_server(server: SocketAddr) -> Self {
        Self(Arc::new(Shared {
            server: Some(server),
            client: OnceLock::new(),
        }))
    }

    /// Returns the addresses of `host`, IPv6 and IPv4 alternating, at most eight, never none.
    pub(crate) async fn lookup(
        &self,
        host: &Host<String>,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let ips = match host {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) if is_localhost(name) => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Host::Domain(name) => self.ask(name).await?,
        };
        Ok(ips
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let client = self.client()?;
        let found = client.lookup_ip(name).await;
        // The name is all that a reader can use of the resolver's own words.
        let found = found.map_err(|error| {
            let fault = Fault::classify(&error, Layer::Dns);
            match fault.reason() {
                Reason::Other => fault,
                _ => fault.with_detail(name),
            }
        })?;
        let ips = alternate(found.iter());
        if ips.is_empty() {
            return Err(Fault::new(Layer::Dns, Reason::NoRecords).with_detail(name));
        }
        Ok(ips)
    }

    fn client(&self) -> Result<&TokioResolver, Fault> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let client = make_client(self.0.server).map_err(|error| {
            Fault::new(Layer::Config, Reason::Invalid)
                .with_detail(format!("the resolver configuration is not usable: {error}"))
        })?;
        Ok(self.0.client.get_or_init(|| client))
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("server", &self.0.server)
            .finish_non_exhaustive()
    }
}

fn make_client(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(vec![name_server(server)]),
            TokioRuntimeProvider::default(),
        ),
    };
    builder.options_mut().cache_size = 0;
    builder.build()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        *connection = ConnectionConfig::new(connection.protocol.clone());
        connection.port = server.port();
    }
    config
}

/// `localhost` and all names under it are this machine (RFC 6761, 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

/// Alternates the families, IPv6 first, as in RFC 8305, section 4.
fn alternate(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = ips.partition(IpAddr::is_ipv6);
    let mut v6 = v6.into_iter();
    let mut v4 = v4.into_iter();
    let mut mixed = Vec::new();
    while mixed.len() < MAX_ADDRESSES {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            break;
        }
        mixed.extend(pair.into_iter().flatten());
    }
    mixed.truncate(MAX_ADDRESSES);
    mixed
}
