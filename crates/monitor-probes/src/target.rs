//! What a person may write to name a target.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, Url};

use crate::redacted;

/// What to check, as written on a command line: a URL or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An `http` or `https` URL.
    Http(Url),
    /// A TCP port.
    Tcp {
        /// The name or literal address.
        host: Host<String>,
        /// The port, never 0.
        port: u16,
    },
}

/// Why a text is not a target. Nothing was contacted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing was given.
    #[error("the target is empty; give a URL such as https://example.com/ or host:port")]
    Empty,
    /// White space or control characters.
    #[error("{given:?} contains white space or control characters; percent-encode them in a URL")]
    Whitespace {
        /// What was given.
        given: String,
    },
    /// Neither a scheme nor a port.
    #[error("{given:?} has neither a scheme nor a port; write https://{given} or {given}:443")]
    NoSchemeNoPort {
        /// What was given.
        given: String,
    },
    /// A path without a scheme.
    #[error("{given:?} has no scheme; write http://{given} or https://{given}")]
    NoScheme {
        /// What was given.
        given: String,
    },
    /// `http:/x` and the like.
    #[error(
        "{given:?} is not a URL: after \"{scheme}\" comes \"://\", as in {scheme}://example.com/"
    )]
    Slashes {
        /// What was given.
        given: String,
        /// Its scheme.
        scheme: String,
    },
    /// A scheme that no probe serves.
    #[error("scheme {scheme:?} is not supported; supported are http, https and tcp")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// No host.
    #[error("{given:?} names no host; write it before the port, as in example.com:443")]
    EmptyHost {
        /// What was given.
        given: String,
    },
    /// An IPv6 address whose end cannot be told from the port.
    #[error("the IPv6 address in {given:?} needs brackets, as in [::1]:8080")]
    Ipv6Brackets {
        /// What was given.
        given: String,
    },
    /// Not a host name and not an address.
    #[error("{host:?} is no valid host name or address: {why}")]
    Host {
        /// The host.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A port that is missing or out of range.
    #[error("port {port:?} is not a number from 1 to 65535")]
    Port {
        /// The port.
        port: String,
    },
    /// A user name or a password in the URL.
    #[error(
        "the URL contains a user name or password, which would show on pages and in logs; \
         send an authorization header instead"
    )]
    Credentials,
    /// Any other fault of a URL.
    #[error("{given:?} is not a URL: {why}")]
    Url {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads a target: `http://...`, `https://...`, `tcp://host:port` or `host:port`.
///
/// # Errors
///
/// Each [`TargetError`] names what is wrong and what would be right. Nothing is guessed: white
/// space, missing slashes, port 0 and credentials in the URL are errors.
///
/// ```
/// use monitor_probes::{Target, parse_target};
///
/// assert!(matches!(parse_target("https://example.com/health"), Ok(Target::Http(_))));
/// assert!(matches!(parse_target("[::1]:5432"), Ok(Target::Tcp { port: 5432, .. })));
/// assert_eq!(
///     parse_target("localhost:70000").unwrap_err().to_string(),
///     "port \"70000\" is not a number from 1 to 65535"
/// );
/// ```
pub fn parse_target(text: &str) -> Result<Target, TargetError> {
    let given = || shorten(text);
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(TargetError::Whitespace { given: given() });
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => parse_url(text).map(Target::Http),
            "tcp" => parse_host_port(rest.strip_suffix('/').unwrap_or(rest)),
            _ => Err(TargetError::Scheme {
                scheme: shorten(scheme),
            }),
        };
    }
    for scheme in ["http", "https", "tcp"] {
        let rest = text.get(scheme.len()..).unwrap_or("");
        let same = text
            .get(..scheme.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        if same && (rest.starts_with(":/") || rest.starts_with('/')) {
            return Err(TargetError::Slashes {
                given: given(),
                scheme: scheme.to_owned(),
            });
        }
    }
    if text.contains(['/', '?', '#']) {
        return Err(TargetError::NoScheme { given: given() });
    }
    parse_host_port(text)
}

/// Reads an `http` or `https` URL with a host, a valid port and no credentials.
pub(crate) fn parse_url(text: &str) -> Result<Url, TargetError> {
    use url::ParseError as E;
    let authority = authority(text);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.matches(':').count() > 1 && !host.starts_with('[') {
        return Err(TargetError::Ipv6Brackets {
            given: shorten(text),
        });
    }
    let url = Url::parse(text).map_err(|error| match error {
        E::EmptyHost => TargetError::EmptyHost {
            given: shorten(text),
        },
        E::InvalidPort => TargetError::Port {
            port: shorten(port_text(authority)),
        },
        E::InvalidIpv6Address if !authority.starts_with('[') => TargetError::Ipv6Brackets {
            given: shorten(text),
        },
        E::IdnaError | E::InvalidIpv4Address | E::InvalidIpv6Address => TargetError::Host {
            host: shorten(authority),
            why: error.to_string(),
        },
        E::InvalidDomainCharacter => TargetError::Host {
            host: shorten(authority),
            why: error.to_string(),
        },
        _ => TargetError::Url {
            given: shorten(text),
            why: error.to_string(),
        },
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme {
            scheme: shorten(url.scheme()),
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Credentials);
    }
    if authority.is_empty() || url.host().is_none() {
        return Err(TargetError::EmptyHost {
            given: shorten(text),
        });
    }
    if let Some(Host::Domain(name)) = url.host() {
        check_name(name)?;
    }
    if url.port() == Some(0) {
        return Err(TargetError::Port {
            port: "0".to_owned(),
        });
    }
    Ok(url)
}

/// What stands between `//` and the next slash: the URL parser reads `http:///x` as host `x`,
/// which nobody means.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or("")
}

fn port_text(authority: &str) -> &str {
    authority
        .rsplit_once(':')
        .map_or(authority, |(_, port)| port)
}

fn parse_host_port(text: &str) -> Result<Target, TargetError> {
    let given = || shorten(text);
    let (host, port) = match text.rsplit_once(':') {
        None => return Err(TargetError::NoSchemeNoPort { given: given() }),
        // The colon belongs to the address itself: `[::1]`.
        Some((_, after)) if after.ends_with(']') => {
            return Err(TargetError::NoSchemeNoPort { given: given() });
        }
        Some(split) => split,
    };
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(TargetError::Ipv6Brackets { given: given() });
    }
    if host.contains('@') {
        return Err(TargetError::Credentials);
    }
    let port = parse_port(port)?;
    if host.is_empty() {
        return Err(TargetError::EmptyHost { given: given() });
    }
    Ok(Target::Tcp {
        host: parse_host(host)?,
        port,
    })
}

/// Digits only: `"+80".parse()` would be 80.
fn parse_port(text: &str) -> Result<u16, TargetError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(TargetError::Port {
            port: shorten(text),
        }),
    }
}

pub(crate) fn parse_host(host: &str) -> Result<Host<String>, TargetError> {
    let parsed = Host::parse(host).map_err(|error| match error {
        url::ParseError::EmptyHost => TargetError::EmptyHost {
            given: shorten(host),
        },
        _ => TargetError::Host {
            host: shorten(host),
            why: error.to_string(),
        },
    })?;
    if let Host::Domain(name) = &parsed {
        check_name(name)?;
    }
    Ok(parsed)
}

/// What no name server could be asked for (RFC 1035, section 2.3.4).
fn check_name(name: &str) -> Result<(), TargetError> {
    let wrong = |why: &str| TargetError::Host {
        host: shorten(name),
        why: why.to_owned(),
    };
    let relative = name.strip_suffix('.').unwrap_or(name);
    if relative.len() > 253 {
        return Err(wrong("a name has at most 253 bytes"));
    }
    for label in relative.split('.') {
        if label.is_empty() {
            return Err(wrong(
                "there is nothing between two dots, or before the first",
            ));
        }
        if label.len() > 63 {
            return Err(wrong("a part of a name between dots has at most 63 bytes"));
        }
    }
    Ok(())
}

/// An error quotes what was given, but not a page of it, and no password.
fn shorten(text: &str) -> String {
    const MAX: usize = 100;
    let mut text = redacted(text);
    if let Some((end, _)) = text.char_indices().nth(MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        parse_target(text)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => write!(f, "{url}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
