//! How an HTTP check is put together, and what is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use monitor_pool::{ConfigError, Listener};
use rustls::pki_types::ServerName;
use thiserror::Error;
use url::{Host, Url};

use super::dialer::Dialer;
use super::{HttpConnections, HttpProbe, StatusSet};
use crate::target::parse_url;
use crate::{Resolver, TargetError, Tls, TlsError};

const USER_AGENT_VALUE: &str = concat!("monitord/", env!("CARGO_PKG_VERSION"));
const DEFAULT_BODY_LIMIT: usize = 1 << 20;
const DEFAULT_HEAD_LIMIT: usize = 64 << 10;
/// hyper's smallest buffer.
const MIN_HEAD_LIMIT: usize = 8 << 10;

/// The request's method. Others change things, which a check must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Method {
    /// The whole answer.
    #[default]
    Get,
    /// The head alone.
    Head,
}

impl Method {
    /// Returns the method as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// Why an [`HttpProbe`] cannot be built. Nothing was contacted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The name of a request header.
    #[error("{name:?} is no valid header name; use letters, digits and dashes")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// The value of a request header, which is not quoted since it may be a secret.
    #[error("the value of header {name:?} contains characters that no header may contain")]
    HeaderValue {
        /// The header's name.
        name: String,
    },
    /// The limit of the head.
    #[error("header_limit {given} is too small; at least 8192 bytes are needed")]
    HeaderLimit {
        /// The limit in bytes.
        given: usize,
    },
    /// `expect_body` together with HEAD.
    #[error("expect_body needs method GET: an answer to HEAD has no body")]
    BodyOfHead,
    /// The host, as the name of a certificate.
    #[error("{host:?} cannot be the name in a certificate")]
    ServerName {
        /// The host.
        host: String,
    },
    /// The trust store.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The number of connections to keep.
    #[error("the connections to keep: {0}")]
    Pool(#[from] ConfigError),
}

/// Collects what an [`HttpProbe`] asks and expects. Everything is checked by
/// [`build`](Self::build).
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct HttpProbeBuilder {
    url: String,
    method: Method,
    headers: Vec<(String, String)>,
    expect_status: StatusSet,
    expect_body: Option<String>,
    body_limit: usize,
    header_limit: usize,
    degraded_over: Option<Duration>,
    resolver: Option<Resolver>,
    tls: Option<Tls>,
    keep: Option<Keep>,
}

/// How many connections to keep, and who hears of it.
#[derive(Clone)]
struct Keep {
    most: usize,
    listener: Option<Arc<dyn Listener>>,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keep").field(&self.most).finish()
    }
}

impl HttpProbeBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: Method::Get,
            headers: Vec::new(),
            expect_status: StatusSet::default(),
            expect_body: None,
            body_limit: DEFAULT_BODY_LIMIT,
            header_limit: DEFAULT_HEAD_LIMIT,
            degraded_over: None,
            resolver: None,
            tls: None,
            keep: None,
        }
    }

    /// Sets the method. Default: GET.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Adds a request header. One of the same name replaces it, also `host` and `user-agent`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the statuses that count as success. Default: 200 to 399.
    pub fn expect_status(mut self, statuses: StatusSet) -> Self {
        self.expect_status = statuses;
        self
    }

    /// Sets a text that the body must contain, exactly as written. Bytes of the body that are not
    /// UTF-8 match nothing. Default: none.
    pub fn expect_body(mut self, text: impl Into<String>) -> Self {
        self.expect_body = Some(text.into());
        self
    }

    /// Sets the largest accepted body in bytes. Default: 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the largest accepted head (status line and headers) in bytes, at least 8192.
    /// Default: 64 KiB.
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.header_limit = bytes;
        self
    }

    /// Sets the total time over which an otherwise good check counts as degraded. Default: never.
    pub fn degraded_over(mut self, limit: Duration) -> Self {
        self.degraded_over = Some(limit);
        self
    }

    /// Sets the resolver, which several probes may share. Default: one of its own for the
    /// system's configuration.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Sets which authorities are trusted. Default: the system's, with Mozilla's.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Keeps up to `most` connections from one check to the next, for five minutes each, in a pool
    /// that tells `listener` what happens. Default: none is kept.
    ///
    /// Names, routes and certificates are then looked at only when a connection is made. A
    /// connection that the target has closed meanwhile is no fault: the check asks over a new one.
    pub fn keep_connections(mut self, most: usize, listener: Option<Arc<dyn Listener>>) -> Self {
        self.keep = Some(Keep { most, listener });
        self
    }

    /// Builds the probe.
    ///
    /// # Errors
    ///
    /// - [`BuildError::Target`]: the URL is not an `http` or `https` one.
    /// - [`BuildError::HeaderName`], [`BuildError::HeaderValue`]: a request header.
    /// - [`BuildError::HeaderLimit`]: less than 8192 bytes.
    /// - [`BuildError::BodyOfHead`]: an expected text in a body that HEAD does not have.
    /// - [`BuildError::ServerName`], [`BuildError::Tls`]: for `https`.
    /// - [`BuildError::Pool`]: no connection, or too many, to be kept.
    pub fn build(self) -> Result<HttpProbe, BuildError> {
        let url = parse_url(&self.url)?;
        if self.header_limit < MIN_HEAD_LIMIT {
            return Err(BuildError::HeaderLimit {
                given: self.header_limit,
            });
        }
        if self.method == Method::Head && self.expect_body.is_some() {
            return Err(BuildError::BodyOfHead);
        }
        let empty = || TargetError::EmptyHost {
            given: self.url.clone(),
        };
        let host = url.host().map(|host| host.to_owned()).ok_or_else(empty)?;
        let port = url.port_or_known_default().ok_or_else(empty)?;
        let tls = match (url.scheme(), self.tls) {
            ("https", Some(tls)) => Some((server_name(&host)?, tls)),
            ("https", None) => Some((server_name(&host)?, Tls::system()?)),
            _ => None,
        };
        let dialer = Dialer {
            host,
            port,
            resolver: self.resolver.unwrap_or_default(),
            tls,
            head_limit: self.header_limit,
        };
        let name = format!("{}:{port}", dialer.host);
        let pool =
            |keep: Keep| HttpConnections::pool(dialer.clone(), &name, keep.most, keep.listener);
        Ok(HttpProbe {
            headers: headers(&url, &self.headers)?,
            url,
            pool: self.keep.map(pool).transpose()?,
            dialer,
            method: self.method,
            expect_status: self.expect_status,
            expect_body: self.expect_body,
            body_limit: self.body_limit,
            degraded_over: self.degraded_over,
        })
    }
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, BuildError> {
    match host {
        Host::Ipv4(ip) => Ok(std::net::IpAddr::V4(*ip).into()),
        Host::Ipv6(ip) => Ok(std::net::IpAddr::V6(*ip).into()),
        Host::Domain(name) => {
            // A trailing dot belongs to DNS; certificates are without.
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(name.clone()).map_err(|_| BuildError::ServerName { host: name })
        }
    }
}

fn headers(url: &Url, given: &[(String, String)]) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    let host = HeaderValue::try_from(authority).map_err(|_| BuildError::HeaderValue {
        name: HOST.to_string(),
    })?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
    for (name, value) in given {
        let header = HeaderName::try_from(name.as_str())
            .map_err(|_| BuildError::HeaderName { name: name.clone() })?;
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| BuildError::HeaderValue { name: name.clone() })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}
