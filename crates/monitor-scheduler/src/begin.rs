//! How a run begins: the one place where the kernel and the operations have to agree.

use std::hash::Hash;

use monitor_operation::{BeginError, Operation, Operations};

use crate::{
    kernel::{Confirmed, Core, RunId, Tick},
    sync::{Mutex, lock},
};

/// Begins the operation of a run, and asks whether the run is still wanted; none if it is not.
///
/// In this order. A pause tells the kernel first and fences then. So either the kernel hears of
/// the pause before it is asked here, and the answer is no; or it hears of it afterwards, and the
/// fence finds the operation open.
///
/// INV-SCHEDULER-6: after a pause, cancel or update has returned, no run of before may commit.
pub(crate) fn begin<K, H>(
    core: &Mutex<Core<K, H>>,
    operations: &Operations<K>,
    run: RunId,
    key: &K,
    now: impl Fn() -> Tick,
) -> Result<Option<(Operation<K>, Confirmed)>, BeginError>
where
    K: Clone + Eq + Hash,
    H: Clone,
{
    match operations.begin(key) {
        Ok(operation) => {
            let confirmed = lock(core).confirm(run, operation.epoch(), now());
            // Not wanted any more: the operation ends here, under no lock.
            Ok(confirmed.map(|confirmed| (operation, confirmed)))
        }
        Err(error) => {
            lock(core).refuse(run, now());
            Err(error)
        }
    }
}
