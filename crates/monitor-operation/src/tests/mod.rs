//! Models of the kernel under loom.

#[cfg(monitor_loom)]
mod loom;
