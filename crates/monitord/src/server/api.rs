//! The API for operators and programs: monitors, their history, and what may be done to them.

mod actions;
mod body;
mod explain;
mod json;
mod monitors;

pub(super) use actions::{act, probes};
pub(super) use explain::explain;
pub(super) use json::record_json;
pub(super) use monitors::{create, delete, edit, history, list, show};
