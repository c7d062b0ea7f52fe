//! Identities, all of them minted by the database and never used twice.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! minted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

minted! {
    /// A job. Rises with every job, so that a parent is always less than its child: dependencies
    /// cannot form a cycle.
    JobId
}

minted! {
    /// One registration of a worker: a process that starts again, or was given up, gets another.
    ///
    /// Knowing one is no right: what a worker may do hangs on
    /// the unforgeable handle that its registration returned.
    WorkerId
}

minted! {
    /// The fencing token of an attempt: the number of the claim that handed the job out. Of one job
    /// they strictly rise, and only the current one changes the job.
    Epoch
}
