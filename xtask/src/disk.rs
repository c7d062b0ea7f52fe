//! Room on the disk: a build that runs out of it fails late, and with other words.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const GIB: u64 = 1 << 30;

/// What everything that `ci` builds takes when the target folder is empty, and some more.
const NEEDED: u64 = 9 * GIB;

/// What it takes besides when everything was built once.
const NEEDED_AGAIN: u64 = 3 * GIB;

/// Makes sure that the disk will not be full half-way, and says how much is free.
///
/// # Errors
///
/// When too little is free, with how much there is and what to do.
pub(crate) fn ensure(workspace: &Workspace) -> Result<String> {
    let target = workspace.target();
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let needed = if target.join("debug").join("deps").exists() {
        NEEDED_AGAIN
    } else {
        NEEDED
    };
    let system = rustix::fs::statvfs(&target)
        .with_context(|| format!("cannot tell how full the disk of {} is", target.display()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let [free_gib, needed_gib] = [free, needed].map(|bytes| bytes as f64 / GIB as f64);
    if free < needed {
        bail!(
            "{free_gib:.1} GiB are free where {} is, and {needed_gib:.0} GiB are needed: make room, \
             or set CARGO_TARGET_DIR to a folder on another disk",
            target.display()
        );
    }
    Ok(format!("{free_gib:.0} GiB free"))
}
