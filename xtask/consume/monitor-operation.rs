//! Work begins, its key is paused, and the late result is refused.
//> in time: 1
//> too late: nothing, because of paused
//> after it: 2

use std::error::Error;

use monitor_operation::{Cause, Epoch, Operations};

fn main() -> Result<(), Box<dyn Error>> {
    let operations = Operations::new();
    operations.register("web", Epoch::new(1))?;
    let mut status = 0;

    let operation = operations.begin(&"web")?;
    operation.commit(|| status = 1)?;
    println!("in time: {status}");

    let late = operations.begin(&"web")?;
    let fence = operations.fence(&"web", Cause::Paused);
    let Err(refusal) = late.commit(|| status = 99) else {
        return Err("committed".into());
    };
    let cause = late.cancellation().cause().ok_or("not cancelled")?;
    assert!(!refusal.to_string().is_empty() && status == 1);
    println!("too late: nothing, because of {}", cause.as_str());

    assert!(fence.is_some_and(|fence| fence.epoch() == Epoch::new(2) && fence.is_settled()));
    operations.begin(&"web")?.commit(|| status = 2)?;
    println!("after it: {status}");
    Ok(())
}
