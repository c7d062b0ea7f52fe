//! The configuration: one TOML file, an overlay from the environment, and flags on top.
//!
//! Everything that is wrong is found in one go and told with its place, and nothing starts until
//! nothing is wrong. The same reader serves the file and the JSON of the HTTP API, so that a
//! monitor means the same wherever it comes from.
//!
//! Precedence: flag, then environment, then file, then preset. A key of a monitor itself is more
//! particular than any default and wins for that monitor.

mod database;
mod defaults;
mod definition;
mod duration;
mod environment;
mod file;
mod layers;
mod monitor;
mod node;
mod permits;
mod policy;
mod problem;
mod reader;
mod schedules;
mod suggest;
mod target;

pub use database::{Database, PostgresUrl};
pub use defaults::Defaults;
pub use duration::{format_duration, parse_duration};
pub use environment::VARIABLES;
pub(crate) use file::read_listen;
pub use file::{Config, Overrides, StoreConfig};
pub use layers::{Layer, Setting};
pub use monitor::MonitorSpec;
pub use policy::{BreakerMode, PolicyKeys, Window};
pub use problem::{Place, Position, Problem, Report};
pub use schedules::{BackupConfig, Timetable};
pub(crate) use suggest::closest;
pub use target::{HttpSpec, Reuse, TargetSpec};
