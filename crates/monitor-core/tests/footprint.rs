//! Memory, accounted for by monitor.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Moody, Puppet, core_on, definition, id, next_record};
use monitor_core::Core;
use monitor_core::model::{MemoryStore, Observation, Outcome, Probe, ProbeContext};
use tokio::sync::Notify;

/// Holds so many bytes until it is released, or for ever.
struct Holds {
    bytes: usize,
    release: Notify,
}

#[async_trait]
impl Probe for Holds {
    fn kind(&self) -> &'static str {
        "holds"
    }

    fn target(&self) -> String {
        "memory".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let buffer = vec![0_u8; self.bytes];
        let _held = context.footprint.hold(buffer.capacity());
        self.release.notified().await;
        Observation::up().with_note(format!("{} bytes", buffer.len()))
    }
}

fn held(core: &Core, name: &str) -> usize {
    core.view(&id(name)).unwrap().footprint.held()
}

/// ROB-75: what a check holds is its monitor's and nobody else's, while it runs and no longer; what
/// it was at most is remembered. A check that is cut off gives it back as well.
#[tokio::test(start_paused = true)]
async fn memory_is_accounted_per_probe() {
    const MIB: usize = 1 << 20;
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let mut events = core.subscribe();
    let probe = Arc::new(Holds {
        bytes: MIB,
        release: Notify::new(),
    });
    let mut large = definition("large", &Puppet::new(Act::Up));
    large.probe = Arc::clone(&probe) as _;
    core.define(large).await.unwrap();
    let small = Puppet::new(Act::Wait);
    core.define(definition("small", &small)).await.unwrap();
    small.begun.notified().await;
    while held(&core, "large") < MIB {
        tokio::task::yield_now().await;
    }
    assert!(
        held(&core, "large") < MIB + 4096,
        "and the state of the probe"
    );
    let of_small = held(&core, "small");
    assert!(
        (1..4096).contains(&of_small),
        "its own state alone: {of_small}"
    );

    probe.release.notify_one();
    small.release.notify_one();
    for _ in 0..2 {
        assert_eq!(next_record(&mut events).await.0.outcome(), Outcome::Up);
    }
    let (record, _) = next_record(&mut events).await;
    assert_eq!(
        record.outcome(),
        Outcome::Down,
        "nobody released it: it was cut off"
    );
    for name in ["large", "small"] {
        core.pause(&id(name)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for name in ["large", "small"] {
        assert_eq!(held(&core, name), 0, "{name}");
    }
    let most = core.view(&id("large")).unwrap().footprint.most();
    assert!((MIB..2 * MIB).contains(&most), "{most}");
}

/// ROB-75: results that wait for the store are accounted for until it has taken them.
#[tokio::test(start_paused = true)]
async fn results_that_wait_are_accounted_for() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let mut events = core.subscribe();
    core.define(definition("a", &Puppet::new(Act::Down)))
        .await
        .unwrap();
    next_record(&mut events).await;
    store.refuses.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(core.undelivered() >= 1);
    let waiting = held(&core, "a");
    assert!(
        waiting > size_of::<monitor_core::model::Record>(),
        "{waiting}"
    );
    store.refuses.store(false, SeqCst);
    next_record(&mut events).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((core.undelivered(), held(&core, "a")), (0, 0));
}
