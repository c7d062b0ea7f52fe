//! I/O errors that really happened, on loopback.

mod support;

use std::io;
use std::net::ToSocketAddrs;

use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::targets::{Refusing, Target};
use support::row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// ROB-54: nobody listens on the port.
#[tokio::test]
async fn refused() {
    let target = Refusing::new().expect("a port");
    let error = TcpStream::connect(target.addr())
        .await
        .expect_err("nobody listens");
    let expected = (
        Layer::Connect,
        Reason::Refused,
        Category::Network,
        Blame::Target,
    );
    assert_eq!(row(&error, Layer::Connect), expected);
}

/// ROB-54: the other side resets the connection.
#[tokio::test]
async fn reset() {
    let target = Target::reset().await.expect("a target");
    let mut stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("it reads");
    let error = stream
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("it resets");
    let expected = (
        Layer::Response,
        Reason::Reset,
        Category::Network,
        Blame::Target,
    );
    assert_eq!(row(&error, Layer::Response), expected);
}

/// ROB-54: the other side closes before anything came.
#[tokio::test]
async fn closed() {
    let target = Target::close_at_once().await.expect("a target");
    let mut stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    let error = stream.read_exact(&mut [0]).await.expect_err("it closes");
    let expected = (
        Layer::Response,
        Reason::Closed,
        Category::Network,
        Blame::Target,
    );
    assert_eq!(row(&error, Layer::Response), expected);
}

/// ROB-54: `getaddrinfo` fails without any code that says so. It was once classified as network,
/// since it is an operating system error by inheritance; the stage says that it is DNS.
#[test]
fn getaddrinfo() {
    let error = ("no such host", 80)
        .to_socket_addrs()
        .expect_err("no name contains spaces");
    let fault = Fault::classify(&error, Layer::Dns);
    assert_eq!(
        (fault.layer(), fault.category()),
        (Layer::Dns, Category::Dns)
    );
    assert_eq!(fault.blame(), Blame::Path);
}

/// ROB-54: what the prober's own machine is out of, by code. Blamed on the prober at any stage,
/// even while a name is resolved.
#[cfg(target_os = "linux")]
#[test]
fn own_limits() {
    let table = [
        (24, Reason::DescriptorLimit),  // EMFILE
        (23, Reason::DescriptorLimit),  // ENFILE
        (99, Reason::PortsExhausted),   // EADDRNOTAVAIL
        (98, Reason::PortsExhausted),   // EADDRINUSE
        (105, Reason::BufferLimit),     // ENOBUFS
        (12, Reason::OutOfMemory),      // ENOMEM
        (100, Reason::NetworkDown),     // ENETDOWN
        (1, Reason::PermissionDenied),  // EPERM
        (13, Reason::PermissionDenied), // EACCES
        (97, Reason::Unsupported),      // EAFNOSUPPORT: no IPv6 here
    ];
    for (code, reason) in table {
        for stage in Layer::ALL {
            let error = io::Error::from_raw_os_error(code);
            let fault = Fault::classify(&error, *stage);
            assert_eq!(
                (fault.layer(), fault.reason()),
                (Layer::Local, reason),
                "{error}"
            );
            assert_eq!(fault.blame(), Blame::Prober, "{error}");
            assert!(
                fault
                    .detail()
                    .is_some_and(|detail| detail.contains(&code.to_string()))
            );
        }
    }
}

/// INV-FAULT-1, ROB-54: without a code of the operating system, no kind of error that comes up
/// while the target speaks is blamed on the prober: whatever a target sends, it cannot make a
/// check's outcome unknown.
#[test]
fn inv_fault_1_no_target_talks_itself_out() {
    let kinds = [
        io::ErrorKind::InvalidInput,
        io::ErrorKind::InvalidData,
        io::ErrorKind::Unsupported,
        io::ErrorKind::OutOfMemory,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::AddrNotAvailable,
        io::ErrorKind::AddrInUse,
        io::ErrorKind::NetworkDown,
    ];
    for kind in kinds {
        for stage in [
            Layer::Tls,
            Layer::Protocol,
            Layer::Response,
            Layer::Assertion,
        ] {
            let fault = Fault::classify(&io::Error::new(kind, "bad chunk"), stage);
            assert_eq!(
                (fault.layer(), fault.blame()),
                (stage, Blame::Target),
                "{kind:?}"
            );
        }
    }
    let error = io::Error::from(io::ErrorKind::InvalidInput);
    assert_eq!(
        Fault::classify(&error, Layer::Connect).blame(),
        Blame::Prober
    );
}

/// ROB-54: there is no way to a broadcast address for a stream.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_way_there() {
    let error = TcpStream::connect("255.255.255.255:9")
        .await
        .expect_err("no stream goes to everybody");
    let expected = (
        Layer::Connect,
        Reason::Unreachable,
        Category::Network,
        Blame::Path,
    );
    assert_eq!(row(&error, Layer::Connect), expected);
}

/// ROB-54: codes of the way to the target.
#[cfg(target_os = "linux")]
#[test]
fn unreachable() {
    // ENETUNREACH, EHOSTUNREACH
    for code in [101, 113] {
        let error = io::Error::from_raw_os_error(code);
        let expected = (
            Layer::Connect,
            Reason::Unreachable,
            Category::Network,
            Blame::Path,
        );
        assert_eq!(row(&error, Layer::Connect), expected);
    }
    // ETIMEDOUT
    let error = io::Error::from_raw_os_error(110);
    let expected = (
        Layer::Connect,
        Reason::Timeout,
        Category::Timeout,
        Blame::Path,
    );
    assert_eq!(row(&error, Layer::Connect), expected);
}
