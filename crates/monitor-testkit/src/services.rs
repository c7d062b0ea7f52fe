//! Throw-away servers for tests: the real programs, on loopback, in a temporary folder.
//!
//! Each server is a value. Starting it picks a free port without a race; dropping it ends the
//! program, every process it started, and removes its folder. The same happens when the owner is
//! killed: a server never outlives the test that started it.
//!
//! ```no_run
//! use monitor_testkit::services::Nginx;
//!
//! let nginx = Nginx::start()?;
//! println!("{}", nginx.url("/status/503"));
//! # anyhow::Ok(())
//! ```
//!
//! The programs come from the distribution. [`Tool`] names them, finds them and says which Debian
//! package has them; `cargo xtask services --check` reports what is missing.

mod browser;
mod mail;
mod nginx;
mod postgres;
mod process;
mod promtool;
mod tool;

pub use browser::Browser;
pub use mail::Mail;
pub use nginx::Nginx;
pub use postgres::{Postgres, Shutdown};
pub use promtool::check_metrics;
pub use tool::{Missing, Tool};
