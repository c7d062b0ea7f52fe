//! A probe of one's own, and a store in memory.
//+ async-trait = "0.1"
//+ tokio = { version = "1", default-features = false, features = ["rt"] }
//> disk looks at /var
//> up is Some(true)
//> loaded 0 monitors

use std::error::Error;

use async_trait::async_trait;
use monitor_model::{
    Finding, MemoryStore, MonitorId, Observation, Outcome, Probe, ProbeContext, Store,
};

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
        Observation::up().with_note("42 % used")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let id: MonitorId = Disk.kind().parse()?;
    println!("{id} looks at {}", Disk.target());
    assert!("no blanks".parse::<MonitorId>().is_err());
    assert_eq!(Observation::up().finding, Finding::Up);
    println!("{} is Some({})", Outcome::Up, Outcome::Up == "up".parse()?);

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let loaded = runtime.block_on(MemoryStore::new().load())?;
    println!("loaded {} monitors", loaded.monitors.len());
    Ok(())
}
