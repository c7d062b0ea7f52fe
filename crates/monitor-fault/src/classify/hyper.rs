//! hyper: what became of an HTTP message.

use std::error::Error;

use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &(dyn Error + 'static), stage: Layer) -> Option<Fault> {
    let error = error.downcast_ref::<::hyper::Error>()?;
    let fault = if error.is_timeout() {
        Fault::new(stage, Reason::Timeout)
    } else if error.is_parse_too_large() {
        Fault::new(Layer::Protocol, Reason::TooLarge)
    } else if error.is_parse() {
        Fault::new(Layer::Protocol, Reason::Malformed)
    } else if error.is_incomplete_message() {
        Fault::new(stage, Reason::Incomplete)
    } else if error.is_closed() || error.is_canceled() {
        Fault::new(stage, Reason::Closed)
    } else {
        // An I/O or body error: the reason is its source. Not even "user" errors are the prober's
        // fault for certain: a request whose connection ends early can be one.
        Fault::new(stage, Reason::Other)
    };
    Some(fault)
}
