//! Writes to a database file and reads it back after opening it again; without default features
//! there is no SQLite and nothing but the model.
//+ tokio = { version = "1", default-features = false, features = ["rt", "time"] }
//> read back: Web

use std::error::Error;

#[cfg(feature = "full")]
async fn run() -> Result<String, Box<dyn Error>> {
    use monitor_store::model::operation::Epoch;
    use monitor_store::model::{Monitor, Source, Store};
    use monitor_store::{Options, SqliteStore};

    let folder = std::env::temp_dir().join(format!("uses-monitor-store-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let path = folder.join("monitor.sqlite");
    let store = SqliteStore::open(Options::new(&path))?;
    let monitor = Monitor {
        id: "web".parse()?,
        name: "Web".into(),
        source: Source::Api,
        spec: String::new(),
    };
    store.define(monitor, Epoch::new(1)).await?;
    store.close().await?;
    drop(store);

    let store = SqliteStore::open(Options::new(&path))?;
    let loaded = store.load().await?;
    store.close().await?;
    drop(store);
    std::fs::remove_dir_all(folder)?;
    let first = loaded
        .monitors
        .into_iter()
        .next()
        .ok_or("no monitor was kept")?;
    Ok(first.monitor.name)
}

#[cfg(not(feature = "full"))]
async fn run() -> Result<String, Box<dyn Error>> {
    use monitor_store::model::operation::Epoch;
    use monitor_store::model::{MemoryStore, Monitor, Source, Store};

    let store = MemoryStore::new();
    let monitor = Monitor {
        id: "web".parse()?,
        name: "Web".into(),
        source: Source::Api,
        spec: String::new(),
    };
    store.define(monitor, Epoch::new(1)).await?;
    let loaded = store.load().await?;
    let first = loaded
        .monitors
        .into_iter()
        .next()
        .ok_or("no monitor was kept")?;
    Ok(first.monitor.name)
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    println!("read back: {}", runtime.block_on(run())?);
    Ok(())
}
