//! tokio: a deadline that passed, a task that did not end by itself.

use std::error::Error;

use ::tokio::task::JoinError;
use ::tokio::time::error::Elapsed;

use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &(dyn Error + 'static), stage: Layer) -> Option<Fault> {
    if error.is::<Elapsed>() {
        return Some(Fault::new(stage, Reason::Timeout));
    }
    let reason = match error.downcast_ref::<JoinError>()? {
        error if error.is_panic() => Reason::Panicked,
        _ => Reason::Cancelled,
    };
    Some(Fault::new(Layer::Process, reason))
}
