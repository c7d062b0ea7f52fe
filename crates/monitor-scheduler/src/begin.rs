//! How runs begin: the one place where the kernel and the operations have to agree.

use monitor_operation::{BeginError, Operation};

use crate::{
    kernel::{Confirmed, Core, Keyed, Start, Tick},
    sync::{Mutex, lock},
};

/// A run that goes on from here.
pub(crate) struct Begun<K, H> {
    pub(crate) start: Start<H>,
    pub(crate) operation: Operation<K>,
    pub(crate) confirmed: Confirmed,
}

/// Begins the operations of some runs, and asks whether the runs are still wanted; those that are
/// come back.
///
/// In this order. A pause tells the kernel first and fences then. So either the kernel hears of
/// the pause before it is asked here, and the answer is no; or it hears of it afterwards, and the
/// fence finds the operation open.
///
/// INV-SCHEDULER-6: after a pause, cancel or update has returned, no run of before may commit.
pub(crate) fn begin<K, H>(
    core: &Mutex<Core<H>>,
    starts: Vec<Start<H>>,
    open: impl Fn(&Start<H>) -> Result<Operation<K>, BeginError>,
    now: impl Fn() -> Tick,
) -> impl Iterator<Item = Begun<K, H>>
where
    H: Keyed,
{
    let starts = starts.into_iter().map(|start| (open(&start), start));
    let opened: Vec<_> = starts.collect();
    let confirmed: Vec<_> = {
        let mut core = lock(core);
        let now = now();
        let mut confirm = |opened: &Result<Operation<K>, _>, start: &Start<H>| match opened {
            Ok(_) => core.confirm(start.run, now),
            Err(_) => {
                core.refuse(start.run, now);
                None
            }
        };
        opened
            .iter()
            .map(|(opened, start)| confirm(opened, start))
            .collect()
    };
    let begun = opened.into_iter().zip(confirmed);
    // What is not wanted any more ends here, under no lock.
    begun.filter_map(|((operation, start), confirmed)| match operation {
        Ok(operation) => Some(Begun {
            start,
            operation,
            confirmed: confirmed?,
        }),
        Err(error) => {
            tracing::warn!(%error, "no operation could be begun for a run");
            None
        }
    })
}
