//! What all tests of the kernel need: a kernel with a made-up connection, and who asks.

use std::{panic::Location, time::Duration};

use super::super::{Kernel, Rules, Span, Tick};
use crate::{caller::Caller, config::Settings};

/// Milliseconds since the start.
pub(super) fn at(millis: u64) -> Tick {
    Tick(0).after(Span::from(Duration::from_millis(millis)))
}

/// Settings under which nothing happens by itself.
pub(super) fn still(max_size: usize) -> Settings {
    Settings {
        max_size,
        check_if_idle_for: None,
        idle_timeout: None,
        max_lifetime: None,
        leak_after: None,
        ..Settings::default()
    }
}

pub(super) fn kernel<C, E: Clone>(settings: &Settings) -> Kernel<C, E> {
    Kernel::new(
        Rules::new(settings),
        settings.max_size,
        settings.connect_limit(),
        settings.connect_backoff,
    )
}

/// Somebody outside of any task.
#[track_caller]
pub(super) fn somebody() -> Caller {
    Caller {
        site: Location::caller(),
        task: None,
    }
}
