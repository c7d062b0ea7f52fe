//! What each command does.

use std::fmt;

pub mod backup;
pub mod check;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod jobs;
pub mod run;
pub mod simulate;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code: 1 when it failed, 2 when it was asked for something that cannot be.
    pub code: u8,
    /// The whole story, causes included.
    pub message: String,
}

impl Failure {
    /// It failed.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self {
            code: 1,
            message: message.to_string(),
        }
    }

    /// Usage or configuration is wrong.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: 2,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}
