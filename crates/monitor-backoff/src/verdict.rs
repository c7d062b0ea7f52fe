//! What one run says about its target.

use core::fmt;

/// What one run says about its target, as far as backoff and breakers care.
///
/// The third verdict is what most breakers lack: a run that was cancelled, or that failed for a
/// reason that is the caller's own, says nothing about the target. It must neither lengthen a
/// failure streak nor end one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The target answered well: a failure streak ends here.
    Success,
    /// The target failed: the failure streak grows by one.
    Failure,
    /// The run says nothing about the target: no counter changes.
    Ignore,
}

impl Verdict {
    /// Returns the verdict's name: `success`, `failure` or `ignore`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Success => "success",
            Verdict::Failure => "failure",
            Verdict::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
