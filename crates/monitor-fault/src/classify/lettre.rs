//! lettre: SMTP replies by their code, and little of all else.
//!
//! lettre keeps the kind of its errors to itself. What it lets through: the reply's code, four
//! predicates, and as the source either the typed error below (I/O, TLS) or a mere text, which
//! is not looked at.

use std::error::Error;

use ::lettre::transport::smtp::Error as SmtpError;

use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &(dyn Error + 'static), stage: Layer) -> Option<Fault> {
    let error = error.downcast_ref::<SmtpError>()?;
    if let Some(code) = error.status() {
        return Some(reply(error, code.into()));
    }
    let fault = if error.is_response() {
        // Also a connection that ended in the middle of a reply: the difference is only text.
        Fault::new(Layer::Protocol, Reason::Malformed)
    } else if error.is_client() {
        // Server and client have no way in common: no STARTTLS, no known AUTH mechanism.
        Fault::new(Layer::Protocol, Reason::Other)
    } else if error.is_transport_shutdown() {
        Fault::new(Layer::Local, Reason::Cancelled)
    } else {
        // The reason is the source.
        Fault::new(stage, Reason::Other)
    };
    Some(fault)
}

fn reply(error: &SmtpError, code: u16) -> Fault {
    let fault = Fault::from_smtp_reply(code);
    match error.source() {
        Some(text) => fault.with_detail(format!("SMTP reply {code}: {text}")),
        None => fault,
    }
}
