//! When a shutdown handler's turn is.

/// A step of shutdown: a number, lower first. Handlers of one phase run at the same time; the next
/// phase begins when all of them have ended or have been given up.
///
/// # Default
/// [`Phase::DRAIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase(pub u16);

impl Phase {
    /// Take in nothing new.
    pub const INTAKE: Self = Self(100);
    /// Let what is under way come to its end.
    pub const DRAIN: Self = Self(200);
    /// Call off what has not.
    pub const CANCEL: Self = Self(300);
    /// Close what the others needed.
    pub const CLOSE: Self = Self(400);
}

impl Default for Phase {
    fn default() -> Self {
        Self::DRAIN
    }
}
