//! From a chain of typed errors to one fault.

use std::error::Error;
use std::io;

use crate::{Fault, Layer, Reason};

#[cfg(feature = "hickory")]
mod hickory;
#[cfg(feature = "hyper")]
mod hyper;
mod io_error;
#[cfg(feature = "rustls")]
mod rustls;

/// A chain longer than this is cut: a source that returns itself must not hang the check.
const MAX_CHAIN: usize = 16;

pub(crate) fn classify(error: &(dyn Error + 'static), stage: Layer) -> Fault {
    let mut best: Option<Fault> = None;
    let mut detail = String::new();
    for link in Chain::new(error) {
        if let Some(fault) = link.downcast_ref::<Fault>() {
            return fault.clone();
        }
        append(&mut detail, &link.to_string());
        if let Some(fault) = recognise(link, stage) {
            // An inner finding beats an outer one, but "something else" beats nothing.
            if best.is_none() || fault.reason() != Reason::Other {
                best = Some(fault);
            }
        }
    }
    best.unwrap_or_else(|| Fault::new(stage, Reason::Other))
        .with_detail(detail)
}

fn recognise(error: &(dyn Error + 'static), stage: Layer) -> Option<Fault> {
    #[cfg(feature = "rustls")]
    if let Some(fault) = rustls::recognise(error) {
        return Some(fault);
    }
    #[cfg(feature = "hickory")]
    if let Some(fault) = hickory::recognise(error) {
        return Some(fault);
    }
    #[cfg(feature = "hyper")]
    if let Some(fault) = hyper::recognise(error, stage) {
        return Some(fault);
    }
    #[cfg(feature = "tokio")]
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(Fault::new(stage, Reason::Timeout));
    }
    error
        .downcast_ref::<io::Error>()
        .and_then(|error| io_error::recognise(error, stage))
}

/// Appends a link's text, unless an outer link has already quoted it.
fn append(detail: &mut String, text: &str) {
    if text.is_empty() || detail.ends_with(text) {
        return;
    }
    if !detail.is_empty() {
        detail.push_str(": ");
    }
    detail.push_str(text);
}

/// The links of an error chain, outermost first.
///
/// `io::Error::source` skips the very error that it wraps, so that one is visited on its own.
struct Chain<'a> {
    next: Option<&'a (dyn Error + 'static)>,
    left: usize,
}

impl<'a> Chain<'a> {
    fn new(error: &'a (dyn Error + 'static)) -> Self {
        Self {
            next: Some(error),
            left: MAX_CHAIN,
        }
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let error = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        self.next = inner(error);
        Some(error)
    }
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.get_ref() {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    #[cfg(feature = "hickory")]
    if let Some(inner) = hickory::inner(error) {
        return Some(inner);
    }
    error.source()
}
