#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(any(feature = "http", feature = "tcp"))]
mod dial;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "http", feature = "tcp"))]
mod lap;
mod redact;
#[cfg(any(feature = "http", feature = "tcp"))]
mod resolve;
mod target;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "http")]
mod tls;

#[cfg(feature = "http")]
pub use http::{
    BuildError, HttpConnections, HttpProbe, HttpProbeBuilder, InvalidStatusSet, KeptConnection,
    Method, StatusSet,
};
pub use redact::redacted;
#[cfg(any(feature = "http", feature = "tcp"))]
pub use resolve::Resolver;
pub use target::{Target, TargetError, parse_target};
#[cfg(feature = "tcp")]
pub use tcp::TcpProbe;
#[cfg(feature = "http")]
pub use tls::{Tls, TlsError};

#[doc(no_inline)]
pub use monitor_model as model;
