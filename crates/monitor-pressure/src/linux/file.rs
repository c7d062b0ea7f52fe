//! A file of the kernel's that stays open.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

/// An open file whose content is made anew at each reading, as in `/proc`.
#[derive(Debug)]
pub(super) struct KernelFile {
    path: PathBuf,
    file: File,
}

/// What the kernel says is short. More than this is no file of this kind.
const MAX_BYTES: usize = 1 << 20;
/// How much is asked for at once.
const STEP: usize = 4096;

impl KernelFile {
    pub(super) fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = File::open(&path)?;
        Ok(Self { path, file })
    }

    /// Reads it from its beginning, in one or a few calls, without a further descriptor.
    pub(super) fn read<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a str, String> {
        self.read_bytes(buffer)
            .map_err(|error| self.problem(error))?;
        std::str::from_utf8(buffer).map_err(|error| self.problem(error))
    }

    /// Reads it and makes something of it; nothing that fits is a problem that names the file.
    pub(super) fn parse<T>(
        &self,
        buffer: &mut Vec<u8>,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, String> {
        let parsed = parse(self.read(buffer)?);
        parsed.ok_or_else(|| self.problem(format_args!("no {what} in it")))
    }

    fn problem(&self, problem: impl std::fmt::Display) -> String {
        format!("{}: {problem}", self.path.display())
    }

    fn read_bytes(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut filled = 0;
        while filled < MAX_BYTES {
            buffer.resize(filled + STEP, 0);
            match self.file.read_at(&mut buffer[filled..], filled as u64) {
                Ok(0) => {
                    buffer.truncate(filled);
                    return Ok(());
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("longer than a mebibyte"))
    }
}
