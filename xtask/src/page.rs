//! `page`: the pictures of the status page.

use anyhow::{Result, bail};

use crate::workspace::Workspace;

pub(crate) fn run(_workspace: &Workspace) -> Result<bool> {
    bail!("not yet")
}
