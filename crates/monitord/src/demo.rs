//! The demonstration: targets of its own on loopback, and a live table of what is seen of them.

mod book;
mod monitors;
mod table;
mod targets;

pub(crate) use book::Book;
pub(crate) use monitors::{defaults, definitions};
pub(crate) use table::{Frame, LEAST_WIDTH, Row, colour, lines};
pub(crate) use targets::Targets;
