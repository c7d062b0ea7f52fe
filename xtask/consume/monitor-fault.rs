//! Classifies an error that really happens, by its type.
//> network at connect: refused, blame target, retry: true
//> certificate: once a day

use std::error::Error;
use std::net::{TcpListener, TcpStream};

use monitor_fault::{Category, Fault, Layer, Reason, policy_for};

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

    let expired = Fault::new(Layer::Tls, Reason::CertExpired);
    let delay = policy_for(expired.category()).delay(1, std::time::Duration::from_secs(60));
    let daily = delay == Some(std::time::Duration::from_secs(86_400));
    assert_eq!(expired.category(), Category::Certificate);
    println!(
        "{}: {}",
        expired.category(),
        if daily { "once a day" } else { "otherwise" }
    );
    Ok(())
}
