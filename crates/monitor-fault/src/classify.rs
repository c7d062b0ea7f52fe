//! From a chain of typed errors to one fault.

use std::error::Error;
use std::io;

use crate::{Fault, Layer, Reason};

#[cfg(feature = "hickory")]
mod hickory;
#[cfg(feature = "hyper")]
mod hyper;
mod io_error;
#[cfg(feature = "lettre")]
mod lettre;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "rustls")]
mod rustls;
#[cfg(feature = "tokio")]
mod tokio;

/// A chain longer than this is cut: a source that returns itself must not hang the check.
const MAX_CHAIN: usize = 16;

/// What a caller knows about an error type that this crate does not.
pub(crate) type Rule<'r> = &'r dyn Fn(&(dyn Error + 'static)) -> Option<Fault>;

pub(crate) fn classify(error: &(dyn Error + 'static), stage: Layer, rule: Rule<'_>) -> Fault {
    let mut best: Option<Fault> = None;
    let mut detail = String::new();
    let mut speaker = Speaker::System;
    for link in Chain::new(error) {
        if let Some(fault) = link.downcast_ref::<Fault>() {
            return fault.clone();
        }
        let found = rule(link).or_else(|| recognise(link, stage, speaker));
        let words = found.as_ref().and_then(Fault::detail);
        append(&mut detail, &link.to_string(), words);
        if let Some(fault) = found {
            // An inner finding beats an outer one, but "something else" beats nothing.
            if best.is_none() || fault.reason() != Reason::Other {
                best = Some(fault);
            }
        }
        if speaks_for_the_target(link) {
            speaker = Speaker::Target;
        }
    }
    best.unwrap_or_else(|| Fault::new(stage, Reason::Other))
        .with_detail(detail)
}

/// Who may be behind what an I/O error says without a code of the operating system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// The standard library or the runtime, as far as the stage allows.
    System,
    /// A library further out reads what the target sends, and may have made this error of it.
    Target,
}

fn recognise(error: &(dyn Error + 'static), stage: Layer, speaker: Speaker) -> Option<Fault> {
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
    #[cfg(feature = "lettre")]
    if let Some(fault) = lettre::recognise(error, stage) {
        return Some(fault);
    }
    #[cfg(feature = "postgres")]
    if let Some(fault) = postgres::recognise(error, stage) {
        return Some(fault);
    }
    #[cfg(feature = "tokio")]
    if let Some(fault) = tokio::recognise(error, stage) {
        return Some(fault);
    }
    error
        .downcast_ref::<io::Error>()
        .and_then(|error| io_error::recognise(error, stage, speaker))
}

/// Whether the error is of a library that reads what the target sends.
fn speaks_for_the_target(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "hyper")]
    if error.is::<::hyper::Error>() {
        return true;
    }
    #[cfg(feature = "lettre")]
    if error.is::<::lettre::transport::smtp::Error>() {
        return true;
    }
    #[cfg(feature = "postgres")]
    if error.is::<tokio_postgres::Error>() {
        return true;
    }
    // Without any of those features.
    let _ = error;
    false
}

/// Appends what a link says, or the plain `words` for it. An outer link that ends by quoting it
/// gets the quotation replaced, so that nothing is said twice.
fn append(detail: &mut String, text: &str, words: Option<&str>) {
    let words = words.unwrap_or(text);
    if words.is_empty() {
        return;
    }
    match detail.strip_suffix(text) {
        Some(kept) if !text.is_empty() => detail.truncate(kept.len()),
        _ if detail.is_empty() || detail.ends_with(words) => {}
        _ => detail.push_str(": "),
    }
    if !detail.ends_with(words) {
        detail.push_str(words);
    }
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
