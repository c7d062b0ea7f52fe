//! What Linux says about the process: `/proc`, and its control groups.
//!
//! Files are opened once and read again and again, so that looking goes on when there is no
//! descriptor left.

mod cgroup;
mod descriptors;
mod file;
mod parse;
mod reader;
#[cfg(feature = "tokio")]
mod stall_watch;

pub use reader::ProcessReader;
#[cfg(feature = "tokio")]
pub use stall_watch::StallWatch;
