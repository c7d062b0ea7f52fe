//! From a check to a monitor, and a clean end.
//+ async-trait = "0.1"
//+ tokio = { version = "1", default-features = false, features = ["rt", "time"] }
//> healthy: 1
//> uncommitted: 0

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use monitor_core::model::{MemoryStore, Monitor, Observation, Probe, ProbeContext, Source};
use monitor_core::{Core, Definition, Settings};

struct Disk;

#[async_trait]
impl Probe for Disk {
    fn kind(&self) -> &'static str {
        "disk"
    }

    fn target(&self) -> String {
        "/var".into()
    }

    async fn check(&self, _context: &ProbeContext) -> Observation {
        Observation::up()
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let core = Core::builder(Arc::new(MemoryStore::new())).start().await?;
    let mut events = core.subscribe();
    let monitor = Monitor {
        id: "disk".parse()?,
        name: "Disk".into(),
        source: Source::Api,
        spec: String::new(),
    };
    let settings = Settings {
        interval: Duration::from_millis(100),
        ..Settings::default()
    };
    core.define(Definition {
        monitor,
        probe: Arc::new(Disk),
        pool: None,
        settings,
    })
    .await?;
    events.recv().await?; // defined
    events.recv().await?; // the first check is committed
    println!(
        "healthy: {}",
        core.health().ratio().ok_or("no verdict yet")?
    );
    let report = core.shutdown(Duration::from_secs(5)).await;
    println!("uncommitted: {}", report.uncommitted);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(run())
}
