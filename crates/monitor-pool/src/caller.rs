//! Who asks for a connection: the line of code and the task.

use std::panic::Location;

use tokio::task::Id;

/// Who holds a connection or waits for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) site: &'static Location<'static>,
    pub(crate) task: Option<Id>,
}

impl Caller {
    /// The present task, at `site`.
    #[inline]
    pub(crate) fn here(site: &'static Location<'static>) -> Self {
        Self {
            site,
            task: tokio::task::try_id(),
        }
    }

    /// Whether both are known to be the same task.
    pub(crate) fn is_same_task(&self, other: &Self) -> bool {
        self.task.is_some() && self.task == other.task
    }
}
