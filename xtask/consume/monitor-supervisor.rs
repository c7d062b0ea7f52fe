//! A check that fails in three ways, and an end in phases.
//+ tokio = { version = "1", features = ["rt", "time", "macros", "test-util"] }
//> 0 s: unhealthy: database
//> 300 s: error: refused
//> 600 s: panic: broken
//> 900 s: healthy
//> alerts: 1
//> 2 of 3 finished; listener failed: in use

use std::error::Error;
use std::time::Duration;

use monitor_supervisor::{Health, Phase, Shutdown, Supervisor, TaskSpec, What};
use tokio::time::{Instant, sleep};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    std::panic::set_hook(Box::new(|_| {}));
    let (supervisor, shutdown, begun) = (Supervisor::new(), Shutdown::new(), Instant::now());
    let mut events = supervisor.subscribe();
    let check = supervisor.spawn(TaskSpec::builder("health").build()?, |tick| async move {
        match tick.number {
            1 => Ok(Health::of(["database"])),
            2 => Err("refused"),
            3 => panic!("broken"),
            _ => Ok(Health::Healthy),
        }
    })?;
    check.first().await;
    for _ in 0..4 {
        let last = check.status().last.ok_or("no tick yet")?;
        println!("{} s: {last}", begun.elapsed().as_secs() / 300 * 300);
        sleep(Duration::from_secs(301)).await;
    }
    let mut alerts = 0;
    while let Ok(event) = events.try_recv() {
        alerts += u32::from(matches!(event.what, What::Alert { .. }));
    }
    println!("alerts: {alerts}");

    let stops = supervisor.clone();
    shutdown.register("store", Phase::CLOSE, |_| async { Ok(()) })?;
    shutdown.register("listener", Phase::INTAKE, |_| async {
        Err("in use".into())
    })?;
    shutdown.register("tasks", Phase::CANCEL, |left| async move {
        let left = stops.stop(left).await;
        assert!(left.is_empty());
        Ok(())
    })?;
    println!("{}", shutdown.run(Duration::from_secs(30)).await);
    Ok(())
}
