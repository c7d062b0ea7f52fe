//! What Linux says about the process: `/proc`, and its control groups.
//!
//! Files are opened once and read again and again, so that looking goes on when there is no
//! descriptor left.

mod cgroup;
mod descriptors;
mod file;
mod parse;
mod reader;

pub use reader::ProcessReader;
