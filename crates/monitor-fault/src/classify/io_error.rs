//! `std::io::Error`: the codes that have no stable `ErrorKind`, then the kinds.

use std::io::{Error, ErrorKind};

use super::Speaker;
use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &Error, stage: Layer, speaker: Speaker) -> Option<Fault> {
    if let Some(fault) = error.raw_os_error().and_then(of_code) {
        return Some(fault);
    }
    of_kind(error.kind(), stage).or_else(|| of_own_kind(error, stage, speaker))
}

/// The prober's own limits, by the numbers that Linux shares over its architectures (MIPS and
/// SPARC apart, which have their own for `ENOBUFS` and `EAFNOSUPPORT`).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn of_code(code: i32) -> Option<Fault> {
    let reason = match code {
        12 => Reason::OutOfMemory,          // ENOMEM
        23 | 24 => Reason::DescriptorLimit, // ENFILE, EMFILE
        97 => Reason::Unsupported,          // EAFNOSUPPORT
        105 => Reason::BufferLimit,         // ENOBUFS
        _ => return None,
    };
    Some(Fault::new(Layer::Local, reason))
}

/// The same on the BSDs and macOS.
#[cfg(any(
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
fn of_code(code: i32) -> Option<Fault> {
    let reason = match code {
        12 => Reason::OutOfMemory,
        23 | 24 => Reason::DescriptorLimit,
        47 => Reason::Unsupported,
        55 => Reason::BufferLimit,
        _ => return None,
    };
    Some(Fault::new(Layer::Local, reason))
}

/// The same on Windows sockets.
#[cfg(windows)]
fn of_code(code: i32) -> Option<Fault> {
    let reason = match code {
        8 | 14 => Reason::OutOfMemory, // ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY
        10024 => Reason::DescriptorLimit, // WSAEMFILE
        10047 => Reason::Unsupported,  // WSAEAFNOSUPPORT
        10055 => Reason::BufferLimit,  // WSAENOBUFS
        _ => return None,
    };
    Some(Fault::new(Layer::Local, reason))
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    windows
)))]
fn of_code(_code: i32) -> Option<Fault> {
    None
}

fn of_kind(kind: ErrorKind, stage: Layer) -> Option<Fault> {
    let fault = match kind {
        // A blocking socket with a timeout says `WouldBlock` on some systems.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fault::new(stage, Reason::Timeout),
        ErrorKind::ConnectionRefused => Fault::new(stage, Reason::Refused),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            Fault::new(stage, Reason::Reset)
        }
        // The first write after the other side's reset: the same event, seen later.
        ErrorKind::BrokenPipe => Fault::new(stage, Reason::Reset),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Fault::new(stage, Reason::Unreachable)
        }
        ErrorKind::UnexpectedEof | ErrorKind::NotConnected | ErrorKind::WriteZero => {
            Fault::new(stage, Reason::Closed)
        }
        ErrorKind::InvalidData => Fault::new(stage, Reason::Malformed),
        _ => return None,
    };
    Some(fault)
}

/// Kinds that say that the prober itself is to blame.
///
/// INV-FAULT-1: they are believed only of the operating system, or while the target cannot have
/// said anything yet. Parsers make errors of these kinds from what they read (hyper calls a bad
/// chunk size "invalid input", tokio-postgres a bad message), and no target may talk itself out
/// of being down.
fn of_own_kind(error: &Error, stage: Layer, speaker: Speaker) -> Option<Fault> {
    let unheard = matches!(stage, Layer::Config | Layer::Local | Layer::Connect);
    let trusted = error.raw_os_error().is_some() || (unheard && speaker == Speaker::System);
    if !trusted {
        let malformed = error.kind() == ErrorKind::InvalidInput;
        let layer = if unheard { Layer::Protocol } else { stage };
        return malformed.then(|| Fault::new(layer, Reason::Malformed));
    }
    let fault = match error.kind() {
        ErrorKind::NetworkDown => Fault::new(Layer::Local, Reason::NetworkDown),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => {
            Fault::new(Layer::Local, Reason::PortsExhausted)
        }
        ErrorKind::OutOfMemory => Fault::new(Layer::Local, Reason::OutOfMemory),
        ErrorKind::PermissionDenied => Fault::new(Layer::Local, Reason::PermissionDenied),
        ErrorKind::InvalidInput => Fault::new(Layer::Config, Reason::Invalid),
        ErrorKind::Unsupported => Fault::new(Layer::Config, Reason::Unsupported),
        _ => return None,
    };
    Some(fault)
}
