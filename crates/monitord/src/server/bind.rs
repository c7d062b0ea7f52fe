//! Taking hold of the address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::app::App;
use super::connections;

/// Why the address could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: another program does; stop it, or choose another address \
         with --listen (port 0 takes any free one)"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The port is reserved.
    #[error(
        "cannot listen on {address}: ports below 1024 need the right CAP_NET_BIND_SERVICE; \
         choose a higher one with --listen"
    )]
    Denied {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A listener that is not served yet. Clients that connect meanwhile wait.
#[derive(Debug)]
pub struct Bound {
    listener: Arc<TcpListener>,
    address: SocketAddr,
}

/// Takes hold of `address`; port 0 takes any free one.
///
/// # Errors
/// See [`BindError`].
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, source },
        io::ErrorKind::PermissionDenied => BindError::Denied { address, source },
        _ => BindError::Other { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let listener = Arc::new(listener);
    Ok(Bound { listener, address })
}

impl Bound {
    /// The address with its real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `app` until `shutdown` ends, then lets the requests in progress finish for 5 s and
    /// cuts off the rest. Once at a time; it may be called again when the former call is over.
    ///
    /// # Cancel safety
    /// Dropped, it cuts off every request.
    pub fn serve<S: Future<Output = ()>>(
        &self,
        app: App,
        shutdown: S,
    ) -> impl Future<Output = ()> + use<S> {
        connections::serve(Arc::clone(&self.listener), app, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A taken address is named, together with the remedy.
    #[tokio::test]
    async fn a_taken_address_is_named_with_its_remedy() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr();
        assert_ne!(address.port(), 0);
        let error = bind(address).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("--listen"),
            "{text}"
        );
    }
}
