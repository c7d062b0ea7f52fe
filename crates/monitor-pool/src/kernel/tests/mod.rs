//! Tests of the kernel: plain calls with made-up times.

#[cfg(monitor_loom)]
mod loom;
#[cfg(not(monitor_loom))]
mod rules;
#[cfg(not(monitor_loom))]
mod sequential;
mod world;
