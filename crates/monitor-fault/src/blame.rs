//! Who is at fault.

use crate::name::named;

named! {
    /// Whose fault a failure most probably is.
    ///
    /// A failure that is the prober's own says nothing about the target: it makes a check's
    /// outcome *unknown*, never *down*.
    "blame", Blame {
        /// The thing that was checked, or its configuration.
        Target = "target",
        /// Something between the prober and the target: a resolver, a router, a firewall.
        Path = "path",
        /// The prober itself: out of descriptors, ports or memory, or wrongly configured.
        Prober = "prober",
    }
}
