//! Which shutdown handlers there are, and what became of each.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{HandlerOutcome, HandlerReport, Phase, RegisterError};

/// One registered handler: its phase, then the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HandlerId {
    phase: Phase,
    number: u64,
}

/// The handlers of one shutdown. `H` is what runs.
#[derive(Debug)]
pub(crate) struct Registry<H> {
    has_begun: bool,
    registered: u64,
    /// INV-SUPERVISOR-3: a handler that was accepted is here until it is deregistered before
    /// shutdown, or reported: it is taken out to run once at most, and never after it was
    /// deregistered.
    handlers: BTreeMap<HandlerId, Entry<H>>,
}

#[derive(Debug)]
struct Entry<H> {
    name: Arc<str>,
    state: State<H>,
}

#[derive(Debug)]
enum State<H> {
    Registered(H),
    Running,
    Ended(HandlerOutcome, Duration),
}

impl<H> Registry<H> {
    pub(crate) fn new() -> Self {
        Self {
            has_begun: false,
            registered: 0,
            handlers: BTreeMap::new(),
        }
    }

    /// Accepts a handler, or gives it back, for the caller to drop where no lock is held.
    pub(crate) fn register(
        &mut self,
        name: &str,
        phase: Phase,
        handler: H,
    ) -> Result<HandlerId, (RegisterError, H)> {
        let name = || name.to_owned();
        if self.has_begun {
            return Err((RegisterError::ShuttingDown { name: name() }, handler));
        }
        if self.handlers.values().any(|entry| *entry.name == name()) {
            return Err((RegisterError::Duplicate { name: name() }, handler));
        }
        let id = HandlerId {
            phase,
            number: self.registered,
        };
        self.registered += 1;
        let entry = Entry {
            name: name().into(),
            state: State::Registered(handler),
        };
        self.handlers.insert(id, entry);
        Ok(id)
    }

    /// Gives a handler back that will not run; nothing when its shutdown has begun.
    pub(crate) fn deregister(&mut self, id: HandlerId) -> Option<H> {
        if self.has_begun {
            return None;
        }
        match self.handlers.remove(&id)?.state {
            State::Registered(handler) => Some(handler),
            State::Running | State::Ended(..) => None,
        }
    }

    /// Begins shutdown: from now on nothing is registered or deregistered. `false` when it had
    /// begun before: whoever gets `true` runs the phases.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun, true)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes out the handlers of the lowest phase that has any left; nothing when none has. Those
    /// of the phase before must have ended: INV-SUPERVISOR-4.
    pub(crate) fn next_phase(&mut self) -> Vec<(HandlerId, Arc<str>, H)> {
        debug_assert!(
            !self
                .handlers
                .values()
                .any(|entry| matches!(entry.state, State::Running)),
            "INV-SUPERVISOR-4: a phase begins while another runs"
        );
        let mut phase = None;
        let mut taken = Vec::new();
        for (id, entry) in &mut self.handlers {
            if !matches!(entry.state, State::Registered(_)) {
                continue;
            }
            if *phase.get_or_insert(id.phase) != id.phase {
                break;
            }
            if let State::Registered(handler) = std::mem::replace(&mut entry.state, State::Running)
            {
                taken.push((*id, Arc::clone(&entry.name), handler));
            }
        }
        taken
    }

    /// Notes what became of a handler that was taken out.
    pub(crate) fn ended(&mut self, id: HandlerId, outcome: HandlerOutcome, took: Duration) {
        if let Some(entry) = self.handlers.get_mut(&id) {
            entry.state = State::Ended(outcome, took);
        }
    }

    /// What became of each, in the order of their turns: those that had none were skipped.
    pub(crate) fn report(&self) -> Vec<HandlerReport> {
        let report = |(id, entry): (&HandlerId, &Entry<H>)| {
            let (outcome, took) = match &entry.state {
                State::Registered(_) => (HandlerOutcome::Skipped, Duration::ZERO),
                State::Running => (HandlerOutcome::TimedOut, Duration::ZERO),
                State::Ended(outcome, took) => (outcome.clone(), *took),
            };
            HandlerReport {
                name: Arc::clone(&entry.name),
                phase: id.phase,
                outcome,
                took,
                still_running: false,
            }
        };
        self.handlers.iter().map(report).collect()
    }

    /// Gives back the handlers that had no turn, to be dropped where no lock is held.
    pub(crate) fn skipped(&mut self) -> Vec<H> {
        let mut skipped = Vec::new();
        for entry in self.handlers.values_mut() {
            let ended = State::Ended(HandlerOutcome::Skipped, Duration::ZERO);
            if matches!(entry.state, State::Registered(_))
                && let State::Registered(handler) = std::mem::replace(&mut entry.state, ended)
            {
                skipped.push(handler);
            }
        }
        skipped
    }
}

#[cfg(all(test, not(monitor_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Register(u8, u16),
        Deregister(usize),
        Begin,
        Phase,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0u8..6, 0u16..4).prop_map(|(name, phase)| Step::Register(name, phase)),
            2 => (0usize..20).prop_map(Step::Deregister),
            1 => Just(Step::Begin),
            2 => Just(Step::Phase),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// STB-16, STB-17: in any history each accepted handler is deregistered, run once in the
        /// order of the phases, or reported as skipped; exactly one of them.
        #[test]
        fn inv_supervisor_3_inv_supervisor_4_every_handler_has_one_fate(steps in steps()) {
            let mut registry = Registry::new();
            let mut accepted = Vec::new();
            let (mut open, mut ran) = (Vec::<u64>::new(), Vec::new());
            let mut begun = false;
            for step in steps {
                match step {
                    Step::Register(name, phase) => {
                        let name = name.to_string();
                        let handler = accepted.len() as u64;
                        match registry.register(&name, Phase(phase), handler) {
                            Ok(id) => {
                                prop_assert!(!begun);
                                accepted.push((id, name));
                                open.push(handler);
                            }
                            Err((RegisterError::ShuttingDown { .. }, _)) => prop_assert!(begun),
                            Err((RegisterError::Duplicate { .. }, back)) => {
                                prop_assert_eq!(back, handler);
                                let taken = open.iter().any(|at| accepted[*at as usize].1 == name);
                                prop_assert!(taken && !begun);
                            }
                        }
                    }
                    Step::Deregister(at) => {
                        let Some((id, _)) = accepted.get(at) else { continue };
                        let is_open = open.contains(&(at as u64)) && !begun;
                        prop_assert_eq!(registry.deregister(*id), is_open.then_some(at as u64));
                        if is_open {
                            open.retain(|handler| *handler != at as u64);
                        }
                    }
                    Step::Begin => {
                        prop_assert_eq!(registry.begin(), !begun);
                        begun = true;
                    }
                    Step::Phase if begun => {
                        let taken = registry.next_phase();
                        let phases: Vec<_> = taken.iter().map(|(id, ..)| id.phase).collect();
                        prop_assert!(phases.windows(2).all(|pair| pair[0] == pair[1]));
                        for (id, _, handler) in taken {
                            registry.ended(id, HandlerOutcome::Finished, Duration::ZERO);
                            ran.push((id, handler));
                        }
                    }
                    Step::Phase => {}
                }
            }
            prop_assert!(ran.is_sorted_by_key(|(id, _)| *id), "lower phases first, then in order");
            let skipped = registry.skipped();
            let mut fates: Vec<u64> = ran.iter().map(|(_, handler)| *handler).collect();
            fates.extend(skipped);
            fates.sort_unstable();
            prop_assert_eq!(&fates, &open);
            prop_assert_eq!(registry.report().len(), fates.len());
        }
    }
}
