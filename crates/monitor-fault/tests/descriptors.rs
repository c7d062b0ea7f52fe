//! What happens when the prober is out of file descriptors. Alone in its file, since the limit is
//! that of the whole process.

#![cfg(target_os = "linux")]

mod support;

use std::net::TcpStream;

use monitor_fault::{Blame, Category, Layer, Reason};
use monitor_testkit::targets::Refusing;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::row;

/// ROB-54: `EMFILE` says nothing about the target, which would have refused.
#[test]
fn out_of_descriptors() {
    let target = Refusing::new().expect("a port");
    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    none.current = Some(0);
    setrlimit(Resource::Nofile, none).expect("lowering is always allowed");
    let starved = TcpStream::connect(target.addr()).expect_err("no descriptor");
    setrlimit(Resource::Nofile, before).expect("back to what it was");

    let expected = (
        Layer::Local,
        Reason::DescriptorLimit,
        Category::Resource,
        Blame::Prober,
    );
    assert_eq!(row(&starved, Layer::Connect), expected);
    let refused = TcpStream::connect(target.addr()).expect_err("nobody listens");
    assert_eq!(row(&refused, Layer::Connect).1, Reason::Refused);
}
