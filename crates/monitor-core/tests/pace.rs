//! When the next check comes: at the latest of backoff, breaker and what failed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Puppet, core_on, definition};
use monitor_core::backoff::{Floor, Jitter, Policy, Schedule};
use monitor_core::fault::{Fault, Layer, Policies, Reason};
use monitor_core::model::{MemoryStore, Observation, Probe, ProbeContext};
use monitor_core::{Definition, Settings};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Sees one fault after the other, the last one for ever, and notes when it looked.
struct Faults {
    faults: Vec<Option<Fault>>,
    looks: Mutex<Vec<Instant>>,
}

#[async_trait]
impl Probe for Faults {
    fn kind(&self) -> &'static str {
        "faults"
    }

    fn target(&self) -> String {
        "faults".into()
    }

    async fn check(&self, _: &ProbeContext) -> Observation {
        let mut looks = self.looks.lock().unwrap();
        let fault = &self.faults[looks.len().min(self.faults.len() - 1)];
        looks.push(Instant::now());
        match fault {
            Some(fault) => Observation::fault(fault.clone()),
            None => Observation::up(),
        }
    }
}

/// The interval whatever failed, exactly.
fn always_the_interval() -> Policy {
    Policy::builder()
        .schedule(Schedule::Fixed(Duration::ZERO))
        .floor(Floor::AtLeastInterval)
        .jitter(Jitter::NONE)
        .build()
        .unwrap()
}

/// The gaps between the checks of a virtual while, rounded to seconds.
async fn gaps(faults: Vec<Option<Fault>>, settings: Settings, span: Duration) -> Vec<u64> {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Arc::new(Faults {
        faults,
        looks: Mutex::default(),
    });
    core.define(Definition {
        probe: Arc::clone(&probe) as _,
        settings,
        ..definition("a", &Puppet::new(Act::Up))
    })
    .await
    .unwrap();
    tokio::time::sleep(span).await;
    let looks = probe.looks.lock().unwrap().clone();
    looks
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64().round() as u64)
        .collect()
}

fn settings(by_category: Option<Policies>) -> Settings {
    Settings {
        interval: MINUTE,
        backoff: always_the_interval(),
        breaker: None,
        by_category,
        ..Settings::default()
    }
}

fn unauthorized() -> Option<Fault> {
    Some(Fault::new(Layer::Response, Reason::Unauthorized))
}

/// ROB-56, ROB-59: a refused password is tried once more and then every hour, so that no account
/// is locked for it: never more than twice in an hour. Without waits by category it is tried at
/// every interval.
#[tokio::test(start_paused = true)]
async fn a_refused_password_is_tried_twice_an_hour_at_most() {
    let careful = settings(Some(Policies::default()));
    let waits = gaps(vec![unauthorized()], careful, 5 * HOUR).await;
    assert!(waits[0] >= 60 && waits.len() <= 5, "{waits:?}");
    assert!(waits[1..].iter().all(|gap| *gap >= 3600), "{waits:?}");
    let careless = gaps(vec![unauthorized()], settings(None), HOUR).await;
    assert!(careless.len() >= 57, "{careless:?}");
}

/// ROB-62: a certificate that has expired is looked at once a day.
#[tokio::test(start_paused = true)]
async fn a_bad_certificate_is_looked_at_daily() {
    let expired = Some(Fault::new(Layer::Tls, Reason::CertExpired));
    let careful = settings(Some(Policies::default()));
    let waits = gaps(vec![expired], careful, 72 * HOUR).await;
    assert!(waits.len() <= 3 && waits.iter().all(|gap| *gap >= 86_400));
}

/// ROB-61: a target may ask for more patience than its category, within limits.
#[tokio::test(start_paused = true)]
async fn a_target_may_ask_for_patience() {
    let asked = Fault::new(Layer::Response, Reason::RateLimited)
        .with_retry_after(Some(Duration::from_secs(1000)));
    let careful = settings(Some(Policies::default()));
    let waits = gaps(vec![Some(asked)], careful, HOUR).await;
    assert!(waits.iter().all(|gap| *gap >= 1000), "{waits:?}");
}

/// ROB-97: a success ends the streak of a category: the next failure is a first one again.
#[tokio::test(start_paused = true)]
async fn a_success_ends_the_streak() {
    let faults = vec![unauthorized(), unauthorized(), None, unauthorized(), None];
    let careful = settings(Some(Policies::default()));
    let waits = gaps(faults, careful, 3 * HOUR).await;
    assert!(waits[1] >= 3600, "the second in a row: {waits:?}");
    assert!(waits[3] < 3600, "a first one again: {waits:?}");
}

/// ROB-58: what a category allows to come sooner does not come sooner than the backoff says.
#[tokio::test(start_paused = true)]
async fn a_category_never_hurries_the_backoff() {
    let refused = Some(Fault::new(Layer::Connect, Reason::Refused));
    let careful = settings(Some(Policies::default()));
    let waits = gaps(vec![refused], careful, HOUR).await;
    assert!(waits.iter().all(|gap| *gap >= 60), "{waits:?}");
}

/// ROB-49: with a breaker as well, the next check comes at the latest of the three.
#[tokio::test(start_paused = true)]
async fn the_latest_of_the_three_counts() {
    let refused = Some(Fault::new(Layer::Connect, Reason::Refused));
    let breaker = monitor_core::breaker::Config::mail()
        .to_builder()
        .failure_threshold(3)
        .open_duration(Duration::from_secs(1800));
    let with_breaker = Settings {
        breaker: Some(breaker.build().unwrap()),
        ..settings(Some(Policies::default()))
    };
    let waits = gaps(vec![refused], with_breaker, 2 * HOUR).await;
    assert_eq!(waits[..2], [60, 60]);
    assert!(waits[2..].iter().all(|gap| *gap >= 1800), "{waits:?}");
}
