//! One thing that always one thread has, and that another one takes over when that thread does not
//! come back: how the driver may call handlers that could block.
//!
//! # Source
//!
//! D. C. Schmidt and others, "Leader/Followers", Pattern Languages of Program Design 4 (2000). There
//! the leader gives the lead away before it works on an event. Here that work mostly takes a
//! microsecond, so it only leaves the lead where the follower finds it, and takes it back.

use std::time::Duration;

use crate::sync::{Condvar, Mutex, lock, wait, wait_for};

/// How often the follower looks: a thread that is away for longer than this is not waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Where the leader leaves the lead while it is away.
pub(crate) struct Handover<T> {
    state: Mutex<State<T>>,
    /// Calls the follower.
    called: Condvar,
}

/// The kernel of it.
struct State<T> {
    /// INV-SCHEDULER-9: the lead is here or with one thread, and one of the two is at work: it is
    /// here only while its thread is away, and then not for longer than two looks.
    lead: Option<T>,
    /// How often it was left.
    turn: u64,
    /// The follower waits to be called, for nobody has been away lately.
    is_idle: bool,
    /// Threads that are away and will find the lead gone.
    lost: usize,
    is_over: bool,
}

/// What a follower finds.
pub(crate) enum Found<T> {
    /// Nothing to do, or not yet.
    Nothing,
    /// Nothing at all since the last time: it need not look until it is called.
    Quiet,
    /// Somebody is away for too long: the follower is the leader.
    Lead(T),
    /// There is nothing to lead any more.
    Over,
}

impl<T> Handover<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                lead: None,
                turn: 0,
                is_idle: false,
                lost: 0,
                is_over: false,
            }),
            called: Condvar::new(),
        }
    }

    /// Leaves the lead, to be away for a moment.
    pub(crate) fn leave(&self, lead: T) {
        let calls = lock(&self.state).leave(lead);
        if calls {
            self.called.notify_one();
        }
    }

    /// Takes the lead back. None: somebody else has it.
    pub(crate) fn take_back(&self) -> Option<T> {
        let mut state = lock(&self.state);
        let lead = state.lead.take();
        if lead.is_none() {
            state.lost -= 1;
        }
        lead
    }

    /// How many threads lost the lead while they were away, and are still away.
    pub(crate) fn lost(&self) -> usize {
        lock(&self.state).lost
    }

    /// Sends the follower away, for good.
    pub(crate) fn end(&self) {
        lock(&self.state).is_over = true;
        self.called.notify_all();
    }

    /// What the follower does: waits until the lead is left for too long, and takes it. None when
    /// it is over.
    pub(crate) fn follow(&self) -> Option<T> {
        let mut seen = 0;
        loop {
            let mut state = lock(&self.state);
            match state.look(&mut seen) {
                Found::Nothing => drop(wait_for(&self.called, state, LOOK)),
                Found::Quiet => drop(wait(&self.called, state)),
                Found::Lead(lead) => return Some(lead),
                Found::Over => return None,
            }
        }
    }
}

impl<T> State<T> {
    /// True if the follower has to be called.
    fn leave(&mut self, lead: T) -> bool {
        self.lead = Some(lead);
        self.turn += 1;
        std::mem::take(&mut self.is_idle)
    }

    /// One look. `seen` is the turn of the look before.
    fn look(&mut self, seen: &mut u64) -> Found<T> {
        if self.is_over {
            return Found::Over;
        }
        if std::mem::replace(seen, self.turn) != self.turn {
            return Found::Nothing;
        }
        match self.lead.take() {
            Some(lead) => {
                self.lost += 1;
                Found::Lead(lead)
            }
            None => {
                self.is_idle = true;
                Found::Quiet
            }
        }
    }
}

#[cfg(all(test, monitor_loom))]
mod tests {
    use loom::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    /// A leader that is away twice, and a follower that looks: at any time one of them has the
    /// lead, a leader that finds it gone is counted until then, and a follower that found nothing
    /// is called when the lead is left after that.
    ///
    /// Breaks when a lost leader is not counted: in `look`, leave out the `+= 1`. When it is counted
    /// for ever: in `take_back`, leave out the `-= 1`. And when an idle follower is not called: in
    /// `State::leave`, return `false`. That two have the lead the compiler rules out.
    #[test]
    fn loom_inv_scheduler_9_one_leads_and_one_is_at_work() {
        loom::model(|| {
            let handover = Arc::new(Handover::new());
            let (leading, calls) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
            let leads = |leading: &AtomicUsize| {
                let before = leading.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before, 0, "INV-SCHEDULER-9: two have the lead");
            };
            let leader = {
                let (handover, leading) = (Arc::clone(&handover), Arc::clone(&leading));
                let calls = Arc::clone(&calls);
                thread::spawn(move || {
                    for turn in [1, 2] {
                        leading.fetch_sub(1, Ordering::SeqCst);
                        let called = lock(&handover.state).leave(turn);
                        calls.fetch_add(usize::from(called), Ordering::SeqCst);
                        if handover.take_back().is_none() {
                            return false;
                        }
                        leads(&leading);
                    }
                    true
                })
            };
            let mut seen = 0;
            let mut found = Vec::new();
            for _ in 0..3 {
                found.push(lock(&handover.state).look(&mut seen));
                if matches!(found.last(), Some(Found::Lead(_))) {
                    leads(&leading);
                    break;
                }
            }
            let is_still = leader.join().unwrap();
            let took = matches!(found.last(), Some(Found::Lead(_)));
            assert_eq!(is_still, !took, "INV-SCHEDULER-9: one of them has it");
            assert_eq!(handover.lost(), 0, "INV-SCHEDULER-9: nobody is away");
            let state = lock(&handover.state);
            let was_idle = found.iter().any(|found| matches!(found, Found::Quiet));
            let called = calls.load(Ordering::SeqCst) > 0;
            assert!(
                !was_idle || called || state.turn == seen,
                "INV-SCHEDULER-9: an idle follower is called"
            );
        });
    }
}
