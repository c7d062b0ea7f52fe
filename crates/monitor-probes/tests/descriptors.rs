//! What happens when the prober is out of file descriptors. Alone in its file, since the limit is
//! that of the whole process.

mod support;

use monitor_fault::{Blame, Layer, Reason};
use monitor_model::{Finding, Phase};
use monitor_probes::TcpProbe;
use monitor_testkit::targets::Target;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::{http, place, run};

/// ROB-54: a prober without a descriptor knows nothing about its target: unknown, never down.
/// Once there are descriptors again, it sees the target.
#[tokio::test]
async fn out_of_descriptors_is_unknown() {
    let target = Target::healthy().await.expect("a target");
    let tcp = TcpProbe::new("127.0.0.1", target.addr().port()).expect("a target");
    let http = http(&target.url());

    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    none.current = Some(0);
    setrlimit(Resource::Nofile, none).expect("lowering is always allowed");
    let seen = [run(&tcp).await, run(&http).await];
    setrlimit(Resource::Nofile, before).expect("back to what it was");

    for (observation, phases) in seen {
        let Finding::Unknown(fault) = observation.finding else {
            panic!("expected unknown, found {observation:?}");
        };
        assert_eq!(place(&fault), (Layer::Local, Reason::DescriptorLimit));
        assert_eq!(fault.blame(), Blame::Prober);
        assert_eq!(phases, [Phase::Resolve]);
    }
    assert_eq!(target.seen().connections, 0);
    assert_eq!(run(&tcp).await.0.finding, Finding::Up);
    assert_eq!(run(&http).await.0.finding, Finding::Up);
}
