//! Two callers share one connection, in the order in which they asked.
//> first has #1
//> second has #1
//> nobody has to wait for ever: no connection within 20ms
//> closed: true
//+ tokio = { version = "1", features = ["macros", "rt", "time"] }

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use monitor_pool::{AcquireError, Manager, Pool};

struct Counters;

impl Manager for Counters {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(0)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder(Counters).max_size(1).build()?;
    let mut first = pool.acquire().await?;
    *first += 1;
    println!("first has {}", first.id());
    let (second, ()) = tokio::join!(pool.acquire(), async { drop(first) });
    let second = second?;
    println!("second has {}", second.id());
    match pool.acquire_timeout(Duration::from_millis(20)).await {
        Err(AcquireError::Timeout { .. }) => {
            println!("nobody has to wait for ever: no connection within 20ms");
        }
        other => println!("{other:?}"),
    }
    drop(second);
    println!(
        "closed: {}",
        pool.close(Duration::from_secs(1)).await.is_clean()
    );
    Ok(())
}
