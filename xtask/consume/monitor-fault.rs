//! Classifies an error that really happens, by its type; waits and alerts as its category says.
//> network at connect: refused, blame target, retry: true
//> waits in seconds: [2, 5, 10, 60]
//> alerted at failure 3, over after 17 s
//> PostgreSQL 28P01: authentication, once more in 60 s
//> certificate: once a day

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use monitor_fault::{
    AlertChange, Category, CategoryStreaks, Escalation, Fault, Layer, Policies, Reason,
};

const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    // A port that was free a moment ago and has no listener any more.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let Err(error) = TcpStream::connect(address) else {
        return Err("somebody answers".into());
    };
    let fault = Fault::classify(&error, Layer::Connect);
    println!(
        "{} at {}: {}, blame {}, retry: {}",
        fault.category(),
        fault.layer(),
        fault.reason(),
        fault.blame(),
        fault.is_retryable()
    );

    let policies = Policies::default();
    let network = policies.get(fault.category());
    let (mut streaks, mut alert) = (CategoryStreaks::new(), Escalation::new());
    let (mut now, mut waits, mut alerted) = (Duration::ZERO, Vec::new(), None);
    for _ in 0..4 {
        let failures = streaks.failure(fault.category(), &policies);
        let told = alert.failure(now, fault.category(), &policies);
        if let Some(AlertChange::Raised { failures, .. }) = told {
            alerted = Some(failures);
        }
        let wait = network
            .delay_after(&fault, failures, MINUTE)
            .unwrap_or(MINUTE);
        waits.push(wait.as_secs());
        now += wait;
    }
    println!("waits in seconds: {waits:?}");
    let Some(AlertChange::Resolved { lasted, .. }) = alert.success(Duration::from_secs(17)) else {
        return Err("nobody was alerted".into());
    };
    println!(
        "alerted at failure {}, over after {} s",
        alerted.unwrap_or_default(),
        lasted.as_secs()
    );

    let refused = Fault::from_sqlstate("28P01").category();
    let once = policies.get(refused).delay(1, MINUTE).unwrap_or_default();
    println!(
        "PostgreSQL 28P01: {refused}, once more in {} s",
        once.as_secs()
    );

    let expired = Fault::new(Layer::Tls, Reason::CertExpired);
    assert_eq!(expired.category(), Category::Certificate);
    let delay = policies.get(expired.category()).delay(1, MINUTE);
    let daily = delay == Some(Duration::from_secs(86_400));
    println!(
        "{}: {}",
        expired.category(),
        if daily { "once a day" } else { "otherwise" }
    );
    Ok(())
}
