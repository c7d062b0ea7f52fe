//! How many descriptors are open, asked in a way that needs none.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{file::KernelFile, parse};

/// The directory with an entry for each open descriptor.
#[derive(Debug)]
pub(super) struct Descriptors {
    path: PathBuf,
    limits: KernelFile,
    /// Whether the size of the directory is the number of its entries.
    size_is_count: bool,
}

/// Since this version of Linux, and nowhere else, the size of `/proc/self/fd` is its count.
const SIZE_IS_COUNT_SINCE: (u32, u32) = (6, 2);
/// "Too many open files", on every architecture of Linux.
const EMFILE: i32 = 24;

impl Descriptors {
    pub(super) fn open(proc: &Path) -> io::Result<Self> {
        let release = fs::read_to_string(proc.join("sys/kernel/osrelease")).unwrap_or_default();
        Ok(Self {
            path: proc.join("self/fd"),
            limits: KernelFile::open(proc.join("self/limits"))?,
            size_is_count: parse::release(&release) >= Some(SIZE_IS_COUNT_SINCE),
        })
    }

    /// How many are open, and how many may be; `None` where there is no limit.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> Result<Option<(u64, u64)>, String> {
        let limit = self
            .limits
            .parse(buffer, "limit of open files", parse::open_files)?;
        let Some(limit) = limit else {
            return Ok(None);
        };
        let problem = |error| format!("{}: {error}", self.path.display());
        let used = self.count(limit).map_err(problem)?;
        Ok(Some((used, limit)))
    }

    fn count(&self, limit: u64) -> io::Result<u64> {
        if self.size_is_count {
            return fs::metadata(&self.path).map(|directory| directory.len());
        }
        match fs::read_dir(&self.path) {
            // Listing takes a descriptor, which is listed.
            Ok(entries) => Ok((entries.count() as u64).saturating_sub(1)),
            // That there is none left to count with is the answer.
            Err(error) if error.raw_os_error() == Some(EMFILE) => Ok(limit),
            Err(error) => Err(error),
        }
    }
}
