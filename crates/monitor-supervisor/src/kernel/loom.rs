//! Models of the real registry behind its real lock: registration, deregistration and two
//! shutdowns at once. Waiting is tokio's and left out.

use std::time::Duration;

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use super::registry::{HandlerId, Registry};
use crate::{
    HandlerOutcome, Phase, RegisterError,
    sync::{Mutex, lock},
};

/// A registry whose handlers are numbers; counts how often each ran.
struct Model {
    registry: Mutex<Registry<usize>>,
    runs: [AtomicUsize; 2],
    drivers: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Mutex::new(Registry::new()),
            runs: [AtomicUsize::new(0), AtomicUsize::new(0)],
            drivers: AtomicUsize::new(0),
        })
    }

    fn register(&self, handler: usize, phase: Phase) -> Option<HandlerId> {
        let name = handler.to_string();
        match lock(&self.registry).register(&name, phase, handler) {
            Ok(id) => Some(id),
            Err((RegisterError::ShuttingDown { .. }, _)) => None,
            Err((error, _)) => panic!("{error}"),
        }
    }

    /// What the shell does, with handlers that end at once.
    fn shut_down(&self) {
        if !lock(&self.registry).begin() {
            return;
        }
        self.drivers.fetch_add(1, Relaxed);
        loop {
            let handlers = lock(&self.registry).next_phase();
            if handlers.is_empty() {
                return;
            }
            for (id, _, handler) in handlers {
                self.runs[handler].fetch_add(1, Relaxed);
                lock(&self.registry).ended(id, HandlerOutcome::Finished, Duration::ZERO);
            }
        }
    }

    fn runs(&self, handler: usize) -> usize {
        self.runs[handler].load(Relaxed)
    }
}

/// A registration against a shutdown: accepted is run once, refused is not run.
///
/// Breaks when an accepted handler can come too late: in `Registry::register`, replace
/// `if self.has_begun` by `if false`.
#[test]
fn loom_inv_supervisor_3_register_against_shutdown() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.register(0, Phase::CLOSE).is_some());
        let registers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.register(1, Phase::INTAKE).is_some())
        };
        model.shut_down();
        let accepted = registers.join().unwrap();
        assert_eq!(model.runs(0), 1, "INV-SUPERVISOR-3: lost");
        assert_eq!(
            model.runs(1),
            usize::from(accepted),
            "INV-SUPERVISOR-3: lost or unasked"
        );
        let reported = lock(&model.registry).report().len();
        assert_eq!(reported, 1 + usize::from(accepted));
    });
}

/// A deregistration against a shutdown: the handler is given back or has run, one of the two.
///
/// Breaks when a handler that is being run is forgotten: in `Registry::deregister`, replace
/// `if self.has_begun` by `if false`. It is not reported then.
#[test]
fn loom_inv_supervisor_3_deregister_against_shutdown() {
    loom::model(|| {
        let model = Model::new();
        let id = model.register(0, Phase::DRAIN).unwrap();
        let deregisters = {
            let model = Arc::clone(&model);
            thread::spawn(move || lock(&model.registry).deregister(id).is_some())
        };
        model.shut_down();
        let given_back = deregisters.join().unwrap();
        assert_eq!(model.runs(0), usize::from(!given_back));
        let reported = lock(&model.registry).report().len();
        assert_eq!(
            reported,
            usize::from(!given_back),
            "INV-SUPERVISOR-3: run and not reported"
        );
    });
}

/// Two shutdowns and a registration: one of them runs the phases, and each handler runs once.
///
/// Breaks when both believe to be the first: make `Registry::begin` return `true`.
#[test]
fn loom_inv_supervisor_3_4_two_shutdowns() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.register(0, Phase::INTAKE).is_some());
        let second = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.shut_down())
        };
        let registers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.register(1, Phase::CLOSE).is_some())
        };
        model.shut_down();
        second.join().unwrap();
        let accepted = registers.join().unwrap();
        assert_eq!(
            model.drivers.load(Relaxed),
            1,
            "INV-SUPERVISOR-4: two run the phases"
        );
        assert_eq!((model.runs(0), model.runs(1)), (1, usize::from(accepted)));
    });
}
