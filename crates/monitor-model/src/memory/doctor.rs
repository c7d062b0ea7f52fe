//! What can be wrong with a store in memory.

use super::State;
use crate::Defect;

pub(super) fn examine(state: &State) -> Vec<Defect> {
    let mut defects = Vec::new();
    for (id, entry) in &state.monitors {
        let is_recorded = !entry.history.is_empty();
        defects.extend(Defect::of_status(&entry.status, is_recorded));
        defects.extend(Defect::of_incident(&entry.status, entry.open_incident()));
        if let Some(grave) = state.graves.get(id) {
            defects.extend(Defect::of_epoch(&entry.status, *grave));
        }
    }
    for (notice, attempt, given_up) in state.notices.attempts() {
        defects.extend(Defect::of_notice(&notice.dedup_key(), attempt, given_up));
    }
    defects
}
