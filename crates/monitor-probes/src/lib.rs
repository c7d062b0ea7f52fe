#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod dial;
#[cfg(feature = "http")]
mod http;
mod lap;
mod resolve;
mod target;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "http")]
mod tls;

#[cfg(feature = "http")]
pub use http::{BuildError, HttpProbe, HttpProbeBuilder, InvalidStatusSet, Method, StatusSet};
pub use resolve::Resolver;
pub use target::{Target, TargetError, parse_target};
#[cfg(feature = "tcp")]
pub use tcp::TcpProbe;
#[cfg(feature = "http")]
pub use tls::{Tls, TlsError};
