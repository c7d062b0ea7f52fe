//! Two jobs, one waiting for the other; a worker runs them; a stale right is refused.
//> report, then mail
//> result: "2026"
//> refused: the job is another's
//+ tokio = { version = "1", default-features = false, features = ["macros", "rt", "time"] }

use std::error::Error;
use std::time::Duration;

use monitor_jobs::{
    Backend, Context, JobState, Jobs, Memory, NewJob, Parent, Payload, Register, Worker,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let memory = Memory::new();
    let jobs = Jobs::new(memory.clone());
    let report = NewJob::new("report", Payload::of(&2026)?);
    let mail = NewJob::new("mail", Payload::default()).after(Parent::Earlier(0));
    let ids = jobs.enqueue(&[report, mail]).await?;
    println!("report, then mail");

    let worker = Worker::builder(&jobs, "reports-1")
        .handler("report", |job: Context| async move {
            let year: u32 = job.payload().read()?;
            Ok(Some(Payload::of(&year.to_string())?))
        })
        .handler("mail", |_| async { Ok(None) })
        .start()
        .await?;
    while memory
        .job(ids[1].id())
        .await?
        .is_some_and(|job| job.state != JobState::Completed)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.drain(Duration::from_secs(5)).await;
    let report = memory.job(ids[0].id()).await?.ok_or("pruned")?;
    println!("result: {}", report.result.ok_or("no result")?);

    let registered = jobs
        .register(Register {
            name: "slow".to_owned(),
            queues: vec!["default".to_owned()],
            capacity: 1,
            lease: Duration::from_secs(30),
        })
        .await?;
    jobs.enqueue(&[NewJob::new("report", Payload::default())])
        .await?;
    let claimed = registered.claim(1, Duration::from_secs(5)).await?.remove(0);
    for pulse in memory.pulses().await? {
        memory.rescue(&pulse, 10).await?;
    }
    if claimed.complete(None).await.is_err() {
        println!("refused: the job is another's");
    }
    Ok(())
}
