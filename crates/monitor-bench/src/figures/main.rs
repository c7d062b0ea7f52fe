//! Draws.
fn main() {}
