//! Runs a key on its interval, triggers it by hand, and shuts down.
//+ tokio = { version = "1", default-features = false, features = ["rt", "sync", "time"] }
//> created
//> 3 runs, never two at once
//> critical
//> nothing left

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use monitor_scheduler::{
    Class, Config, Missed, Observer, Operations, Run, Scheduled, Scheduler, Spec, Verdict,
};
use tokio::sync::mpsc;

struct Quiet;

impl Observer<&'static str> for Quiet {
    fn missed(&self, _missed: Missed<&'static str>) {}
}

async fn run() -> Result<(), Box<dyn Error>> {
    let scheduler = Scheduler::new(Config::default(), Operations::new(), Arc::new(Quiet));
    let spec = Spec::builder(Duration::from_millis(100))
        .immediate(true)
        .class(Class::Critical)
        .build()?;
    let (ran, mut runs) = mpsc::channel(3);
    let at_once = Arc::new(AtomicU32::new(0));
    let handler = move |run: Run<&'static str>| {
        let (ran, at_once) = (ran.clone(), Arc::clone(&at_once));
        async move {
            let others = at_once.fetch_add(1, Ordering::SeqCst);
            let committed = run.operation.commit(|| others);
            at_once.fetch_sub(1, Ordering::SeqCst);
            let _ = ran.send(committed).await;
            Verdict::Success
        }
    };
    let scheduled = scheduler.schedule("web", spec, handler)?;
    println!(
        "{}",
        if matches!(scheduled, Scheduled::Created { .. }) {
            "created"
        } else {
            "updated"
        }
    );
    let mut alone = 0;
    for _ in 0..3 {
        let others = runs.recv().await.ok_or("the handler is gone")??;
        alone += u32::from(others == 0);
    }
    println!("{alone} runs, never two at once");
    let why = scheduler.explain(&"web").ok_or("the key is gone")?;
    println!("{}", why.class.as_str());
    scheduler.cancel(&"web");
    let left = scheduler.status().scheduled.len();
    scheduler.shutdown(Duration::from_secs(5)).await;
    println!("{} left", if left == 0 { "nothing" } else { "something" });
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(run())
}
