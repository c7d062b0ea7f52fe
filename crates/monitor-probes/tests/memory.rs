//! What a check holds in memory is accounted for, bounded, and given back.

mod support;

use std::time::Duration;

use monitor_fault::Reason;
use monitor_model::{Footprint, Observation, Probe};
use monitor_probes::HttpProbe;
use monitor_testkit::targets::Target;
use support::{Check, build, http};

const BODY: usize = 300_000;
/// What hyper hands over at once, and the lines of the head with it, stay well below this.
const FRAME: usize = 128 * 1024;

async fn check(probe: &HttpProbe) -> (Observation, Footprint) {
    let check = Check::new();
    let observation = probe.check(&check.context).await;
    (observation, check.context.footprint.clone())
}

/// ROB-75: a body that is searched is kept until its end, and accounted for; one that is only
/// counted is not kept. Afterwards nothing is held.
#[tokio::test]
async fn a_body_is_accounted_for_where_it_is_kept() {
    let target = Target::body("x".repeat(BODY)).await.expect("a target");
    let (_, counted) = check(&http(&target.url())).await;
    assert!(counted.most() > 0 && counted.most() < FRAME, "{counted:?}");
    let searching = HttpProbe::builder(&target.url()).expect_body("xx");
    let (observation, kept) = check(&build(searching)).await;
    assert_eq!(observation.note.as_deref(), Some("200 OK, 300.0 kB"));
    assert!((BODY..2 * BODY + FRAME).contains(&kept.most()), "{kept:?}");
    assert_eq!((counted.held(), kept.held()), (0, 0));
}

/// ROB-75: whatever the target sends, a check holds no more than its limit allows.
#[tokio::test]
async fn a_body_without_end_is_held_to_its_limit() {
    const LIMIT: usize = 64 * 1024;
    let target = Target::endless_body().await.expect("a target");
    let builder = HttpProbe::builder(&target.url()).expect_body("never there");
    let (observation, footprint) = check(&build(builder.body_limit(LIMIT))).await;
    let fault = observation.finding.fault().expect("a fault");
    assert_eq!(fault.reason(), Reason::TooLarge);
    assert!(footprint.most() < 2 * LIMIT + FRAME, "{footprint:?}");
    assert_eq!(footprint.held(), 0);
}

/// ROB-75: a check that is cut off gives back what it held.
#[tokio::test]
async fn a_check_that_is_cut_off_holds_nothing() {
    let target = Target::endless_body().await.expect("a target");
    let builder = HttpProbe::builder(&target.url()).expect_body("never there");
    let probe = build(builder.body_limit(1 << 40));
    let running = Check::new();
    let footprint = running.context.footprint.clone();
    let mut looking = Box::pin(probe.check(&running.context));
    while footprint.held() < FRAME {
        let turn = tokio::time::timeout(Duration::from_millis(1), &mut looking).await;
        assert!(turn.is_err(), "it has no end: {turn:?}");
    }
    drop(looking);
    assert_eq!(footprint.held(), 0);
    assert!(footprint.most() >= FRAME);
}
