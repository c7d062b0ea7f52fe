//! The HTTP side: the status page, its live stream, health, metrics and the API.
//!
//! ```text
//! core events ──▶ Parts::sink ──▶ recent history, metrics, frames of the stream
//! requests ─────▶ Bound::serve ─▶ guard ─▶ page | events | health | metrics | api ─▶ Core
//! ```
//!
//! Everything that many readers see is made once and shared: a page for all who ask at the same
//! moment, a frame of the stream for all who listen. Nothing here decides anything about checks.

mod api;
mod app;
mod assets;
mod bind;
mod connections;
mod events;
mod gather;
mod guard;
mod health;
mod live;
mod metrics;
mod page;
mod problem;
mod recent;
mod resources;
mod stall;
mod updates;

pub use app::{App, AppOptions, Parts};
pub use bind::{BindError, Bound, bind};
pub(crate) use updates::publish;
