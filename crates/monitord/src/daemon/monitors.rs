//! What is to be watched: the file's monitors, and those that came through the API before.

use std::collections::HashSet;

use futures_util::{TryStreamExt, stream};
use monitor_core::{Core, CoreError, Definition};
use monitor_model::{MonitorId, Source, Stored};

use crate::commands::Failure;
use crate::config::{Defaults, MonitorSpec, Problem};

/// How many definitions are on their way to the store at once: they share its transactions.
const AT_ONCE: usize = 64;

/// Brings what is stored in line with the file, and schedules it all.
///
/// A monitor of the file that is no longer in it is deleted. One of the API comes back as it was
/// defined; should it no longer be valid, it is kept as it is and not checked.
pub(super) async fn define(
    core: &Core,
    definitions: Vec<Definition>,
    defaults: &Defaults,
) -> Result<(), Failure> {
    let of_file: HashSet<MonitorId> = definitions
        .iter()
        .map(|definition| definition.monitor.id.clone())
        .collect();
    let mut all = definitions;
    for stored in core.stored() {
        let id = stored.monitor.id.clone();
        match (stored.monitor.source, of_file.contains(&id)) {
            (Source::File, true) => {}
            (Source::File, false) => {
                core.delete(&id).await.map_err(Failure::new)?;
                tracing::info!(monitor = id.as_str(), "deleted: no longer in the file");
            }
            (Source::Api, true) => {
                tracing::warn!(monitor = id.as_str(), "the file takes it over from the API");
            }
            (Source::Api, false) => match revive(&stored, defaults) {
                Ok(definition) => all.push(definition),
                Err(problems) => {
                    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                    let problems = problems.join("; ");
                    tracing::error!(monitor = id.as_str(), problems, "kept, but not checked");
                }
            },
        }
    }
    let count = all.len();
    stream::iter(all.into_iter().map(Ok::<_, CoreError>))
        .try_for_each_concurrent(AT_ONCE, |definition| async move {
            core.define(definition).await.map(|_| ())
        })
        .await
        .map_err(Failure::new)?;
    tracing::info!(monitors = count, "watching");
    Ok(())
}

/// The definition of a monitor that came through the API in a former life of the process.
fn revive(stored: &Stored, defaults: &Defaults) -> Result<Definition, Vec<Problem>> {
    let json = serde_json::from_str(&stored.monitor.spec).unwrap_or_default();
    let spec = MonitorSpec::from_json(&json)?;
    spec.definition(defaults, Source::Api)
        .map_err(|problem| vec![problem])
}
