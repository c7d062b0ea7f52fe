//! `bench`: measurements against other crates.

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

pub(crate) fn run(_: &Workspace, _: Option<&str>, _: Option<&Path>) -> Result<bool> {
    bail!("not yet")
}
