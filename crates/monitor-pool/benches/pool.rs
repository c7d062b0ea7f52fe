//! Acquire and release: what one round costs.

fn main() {}
