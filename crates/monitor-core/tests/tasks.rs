//! Periodic tasks beside the checks: what fails in them stays in them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Act, Puppet, definition, next_record};
use monitor_core::Core;
use monitor_core::model::{MemoryStore, Outcome};
use monitor_core::pressure::Config;
use monitor_core::supervisor::{FailureKind, Health, Supervisor, TaskSpec};

fn names(supervisor: &Supervisor) -> Vec<String> {
    let status = supervisor.status().into_iter();
    status.map(|task| task.name.to_string()).collect()
}

/// STB-18: every periodic task panics in every tick; checks go on, and each panic is on record.
#[tokio::test(start_paused = true)]
async fn a_panic_in_every_task_costs_no_check() {
    let builder = Core::builder(Arc::new(MemoryStore::new()))
        .pressure(Config::default())
        .before_tick(|name| panic!("sabotaged {name}"));
    let core = builder.start().await.unwrap();
    let mut events = core.subscribe();
    let spec = TaskSpec::builder("mine").build().unwrap();
    core.supervise(spec, |_| async { Health::Healthy }).unwrap();
    core.define(definition("a", &Puppet::new(Act::Up)))
        .await
        .unwrap();
    for _ in 0..100 {
        let (record, _) = next_record(&mut events).await;
        assert_eq!(record.outcome(), Outcome::Up);
    }
    assert_eq!(names(core.supervisor()), ["mine", "pools", "pressure"]);
    for task in core.supervisor().status() {
        assert!(task.is_alerting && task.ticks >= 3, "{task:?}");
        assert_eq!(task.counts.of(FailureKind::Panic), task.counts.total());
        let last = task.last.unwrap().to_string();
        assert_eq!(last, format!("panic: sabotaged {}", task.name));
    }
}

/// STB-19: the core's own tasks end with it, whether it is shut down or just dropped; what others
/// put beside them is theirs to stop.
#[tokio::test(start_paused = true)]
async fn its_own_tasks_end_with_the_core() {
    for is_shut_down in [true, false] {
        let builder = Core::builder(Arc::new(MemoryStore::new())).pressure(Config::default());
        let core = builder.start().await.unwrap();
        let supervisor = core.supervisor().clone();
        let spec = TaskSpec::builder("mine").build().unwrap();
        core.supervise(spec, |_| async {}).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(names(&supervisor), ["mine", "pools", "pressure"]);
        if is_shut_down {
            core.shutdown(Duration::from_secs(1)).await;
        }
        drop(core);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(names(&supervisor), ["mine"], "shut down: {is_shut_down}");
        let left = supervisor.stop(Duration::from_secs(1)).await;
        assert!(left.is_empty() && supervisor.live_tasks() == 0);
    }
}
