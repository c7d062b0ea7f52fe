//! What happened, in numbers, as the run itself wrote it.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What happened.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What repeats the choice of whom and when.
    pub(crate) seed: u64,
    /// How long it went on.
    pub(crate) seconds: u64,
    /// Jobs that were put in.
    pub(crate) jobs: usize,
    /// Those that completed: each once, with its effect.
    pub(crate) completed: usize,
    /// Those that took too many workers down.
    pub(crate) buried: usize,
    /// Attempts in all.
    pub(crate) attempts: usize,
    /// Attempts that were lost with their worker and taken over by another.
    pub(crate) rescues: usize,
    /// Commits that were refused because the right was lost.
    pub(crate) fenced: usize,
    /// Processes killed with -9.
    pub(crate) kills: usize,
    /// Processes that a job took down.
    pub(crate) deaths: usize,
    /// Processes suspended past their lease, and woken.
    pub(crate) suspensions: usize,
    /// Times the server was crashed and started again.
    pub(crate) restarts: usize,
    /// Connections cut.
    pub(crate) cuts: usize,
    /// Jobs that were acknowledged and are gone, or are in no final state.
    pub(crate) lost: usize,
    /// Jobs with more than one effect, or with an effect and no completion.
    pub(crate) doubled: usize,
    /// Foreign keys that the server found violated.
    pub(crate) foreign_keys: usize,
    /// Deadlocks that the server had to end.
    pub(crate) deadlocks: usize,
}

impl Report {
    /// Prints it, and leaves it as JSON.
    pub(crate) fn write(&self) {
        let json = serde_json::to_string_pretty(self).unwrap();
        println!("{json}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jobs-chaos.json");
        fs::write(path, json + "\n").unwrap();
    }
}
