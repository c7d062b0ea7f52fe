//! What the status page says, as plain values: no clock, no lock, no network.
//!
//! A [`Subject`] is all that is known about one monitor at one moment. From it come the page's
//! sentences ([`sentence`]), its bars ([`bars`]), its lines and areas ([`chart`]) and its figures
//! ([`figures`]); [`html`] puts them into the templates.

mod bars;
mod chart;
mod figures;
mod html;
mod sentence;
mod subject;
mod time;
pub(crate) mod words;

#[cfg(test)]
mod sample;

pub(crate) use html::{Frame, page, update};
pub(crate) use subject::{Breaker, Point, Subject};
pub(crate) use time::{Moment, brief};

/// How many due times a strip of bars shows, and how many the page remembers of each monitor.
pub(crate) const SLOTS: usize = 60;
