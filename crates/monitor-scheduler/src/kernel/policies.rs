//! One policy for all keys that wait alike.

use std::sync::Arc;

use monitor_backoff::Policy;

/// The policies seen last. Who has none of them has one of his own.
#[derive(Default)]
pub(super) struct Policies {
    recent: Vec<Arc<Policy>>,
}

impl Policies {
    const KEPT: usize = 8;

    pub(super) fn share(&mut self, policy: &Policy) -> Arc<Policy> {
        if let Some(same) = self.recent.iter().find(|known| known.as_ref() == policy) {
            return Arc::clone(same);
        }
        if self.recent.len() == Self::KEPT {
            self.recent.remove(0);
        }
        let policy = Arc::new(*policy);
        self.recent.push(Arc::clone(&policy));
        policy
    }
}
