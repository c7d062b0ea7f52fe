//! Where a check failed.

use crate::name::named;

named! {
    /// How far a check had come when it failed, outermost first.
    ///
    /// The layers follow HAProxy's health-check codes (`SOCKERR`, `L4CON`, `L6RSP`, `L7STS`,
    /// `PROCERR` ...) in readable form.
    "layer", Layer {
        /// The check could not be started: its own configuration is wrong.
        Config = "config",
        /// The prober's machine: sockets, descriptors, memory, time.
        Local = "local",
        /// The name was being resolved.
        Dns = "dns",
        /// The connection was being made.
        Connect = "connect",
        /// TLS was being negotiated.
        Tls = "tls",
        /// The bytes that came are not what the protocol allows.
        Protocol = "protocol",
        /// The protocol worked, and the answer itself is a failure.
        Response = "response",
        /// The answer was well, but not what the check expects.
        Assertion = "assertion",
        /// A command that was run as the check.
        Process = "process",
    }
}
