//! `ci`: everything that a change must pass.

use anyhow::Result;

use crate::steps::Step;
use crate::workspace::Workspace;
use crate::{consume, disk, figures, lint, loom, simulate, test, tidy, tools};

/// The steps, those first that fail soonest. Missing programs are the very first: nobody should
/// wait ten minutes to learn that nginx is not installed or that the disk is full.
pub(crate) fn steps(workspace: &Workspace, install: bool) -> Result<Vec<Step<'_>>> {
    let mut steps = vec![
        Step::new("tools", move |progress| {
            progress.say("looking for the programs that the tests start");
            tools::ensure(install)
        }),
        Step::new("disk", move |_| disk::ensure(workspace)),
        Step::new("tidy", |_| tidy::check(workspace)),
    ];
    steps.extend(lint::steps(workspace, false));
    steps.extend(test::steps(workspace, None, None)?);
    steps.extend(loom::steps(workspace, None, None)?);
    steps.extend(figures::steps(workspace, true));
    steps.extend(simulate::steps(workspace, None));
    steps.extend(consume::steps(workspace, None)?);
    Ok(steps)
}
