//! The budget's rules, with time as a number.

#[cfg(monitor_loom)]
mod loom;
#[cfg(not(monitor_loom))]
mod rules;
