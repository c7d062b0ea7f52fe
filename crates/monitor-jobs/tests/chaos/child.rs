//! One worker process. It says on standard output what its parent counts.

use std::time::Duration;

use monitor_jobs::{Context, Failure, Jobs, Payload, PgJobs, PgOptions, SettleError, Worker};

/// The variable with the address of the database: whoever has it is a worker process.
pub(crate) const URL: &str = "MONITOR_JOBS_CHAOS_URL";

/// How long a process may be silent before its jobs are another's.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// What is said when a right turned out to be lost at the time of the commit.
pub(crate) const FENCED: &str = "fenced";

/// Works until it is killed.
pub(crate) fn work(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut options = PgOptions::default();
        options.max_connections = 4;
        loop {
            let store = match PgJobs::connect(url.parse().unwrap(), options.clone()).await {
                Ok(store) => store,
                // The server is down: so are its parents' hopes, for a moment.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let _ = serve(store).await;
        }
    });
}

/// Works until the registration is lost; then whoever calls makes another.
async fn serve(store: PgJobs) -> Result<(), monitor_jobs::RegisterError> {
    let jobs = Jobs::new(store.clone());
    let effect = move |context: Context| {
        let store = store.clone();
        async move { effect(&store, &context).await }
    };
    let flaky = {
        let effect = effect.clone();
        move |context: Context| {
            let effect = effect.clone();
            async move {
                if context.job().attempt == 1 {
                    return Err(Failure::new("not the first time").retry_after(Duration::ZERO));
                }
                effect(context).await
            }
        }
    };
    let mut running = Worker::builder(&jobs, format!("process {}", std::process::id()))
        .capacity(8)
        .lease(LEASE)
        .grace(Duration::from_millis(100))
        .handler("work", effect)
        .handler("flaky", flaky)
        .handler("poison", |_| async { std::process::abort() })
        .start()
        .await?;
    running.ended().await;
    Ok(())
}

/// Writes its effect and completes the job, both or neither.
async fn effect(store: &PgJobs, context: &Context) -> Result<Option<Payload>, Failure> {
    let again = |error: &dyn std::fmt::Display| {
        Failure::new(error.to_string()).retry_after(Duration::from_millis(20))
    };
    let job = context.job();
    // Long enough to be killed in the middle of.
    let work = Duration::from_millis(job.id.0.unsigned_abs() % 20);
    tokio::time::sleep(work).await;
    let mut transaction = store.begin().await.map_err(|error| again(&error))?;
    let insert = "INSERT INTO effect VALUES ($1, $2)";
    let written = transaction
        .client()
        .execute(insert, &[&job.id.0, &job.epoch.0])
        .await;
    written.map_err(|error| again(&error))?;
    let permit = match context.complete_in(&mut transaction, None).await {
        Ok(permit) => permit,
        Err(SettleError::Store(error)) => return Err(again(&error)),
        Err(error) => {
            println!("{FENCED}");
            return Err(again(&error));
        }
    };
    transaction
        .commit(permit)
        .await
        .map_err(|error| again(&error))?;
    Ok(None)
}
