//! The prober's own machine says no, for real.

#![cfg(target_os = "linux")]

mod support;

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use monitor_fault::{Blame, Category, Layer, Reason};
use support::row;

/// ROB-54: an address that this machine does not have, and a port that is taken.
#[test]
fn no_address_to_start_from() {
    let expected = (
        Layer::Local,
        Reason::PortsExhausted,
        Category::Resource,
        Blame::Prober,
    );
    // RFC 5737: for documentation, never anybody's.
    let error = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0)).expect_err("not ours");
    assert_eq!(row(&error, Layer::Connect), expected);

    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = first.local_addr().expect("an address");
    let error = TcpListener::bind(address).expect_err("it is taken");
    assert_eq!(row(&error, Layer::Connect), expected);
}

/// ROB-54: the kernel forbids it, which is a matter of configuration: nothing was sent at all.
#[test]
fn forbidden_on_this_machine() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let error = socket
        .send_to(b"?", (Ipv4Addr::BROADCAST, 9))
        .expect_err("broadcasts have to be asked for");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let expected = (
        Layer::Local,
        Reason::PermissionDenied,
        Category::Configuration,
        Blame::Prober,
    );
    assert_eq!(row(&error, Layer::Connect), expected);
}
