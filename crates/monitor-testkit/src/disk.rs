//! A disk that refuses writes for a while, for real: the kernel's limit on the size of a file.
//!
//! The limit is one of a process, so a test starts itself as a child that may lower and raise it.
//! The signal that comes with it is ignored there, so that a write fails instead.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CHILD: &str = "MONITOR_TESTKIT_DISK_CHILD";

/// In the child of [`run_child`], the path that it was given.
#[must_use]
pub fn child_path() -> Option<PathBuf> {
    env::var_os(CHILD).map(PathBuf::from)
}

/// Runs the test of this name of this program again, alone, as a child with that path.
///
/// # Errors
/// When the child fails: what it said.
pub fn run_child(test: &str, path: &Path) -> anyhow::Result<()> {
    let child = Command::new("/bin/sh")
        .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
        .arg(env::current_exe()?)
        .args(["--exact", "--nocapture", test])
        .env(CHILD, path)
        .output()?;
    let said = String::from_utf8_lossy(&child.stderr);
    ensure!(child.status.success(), "{said}");
    Ok(())
}

/// Sets how large a file of this process may be, in bytes. `None`: as before.
///
/// # Errors
/// When the kernel refuses it.
pub fn limit_file_size(bytes: Option<u64>) -> anyhow::Result<()> {
    let hard = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes.or(hard),
        maximum: hard,
    };
    Ok(setrlimit(Resource::Fsize, limit)?)
}
