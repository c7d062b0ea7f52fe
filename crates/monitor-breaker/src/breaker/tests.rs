//! What needs to see inside; everything else is tested through the public interface.

#[cfg(monitor_loom)]
mod loom;

#[cfg(not(monitor_loom))]
mod word {
    use std::time::Duration;

    use crate::{Breaker, Config, Mode};

    /// ROB-13: INV-BREAKER-5: the word is what the machine says, after every kind of change.
    #[test]
    fn inv_breaker_5_the_word_follows_the_machine() {
        let breaker = Breaker::new(Config::hardened());
        let follows = |what: &str| {
            let machine = breaker
                .machine
                .lock()
                .expect("no test panics under the lock");
            assert_eq!(breaker.word(), machine.word(), "INV-BREAKER-5 after {what}");
        };
        let fail = |now| breaker.try_acquire(now).expect("admitted").failure(now);
        let [now, later] = [1, 1000].map(Duration::from_secs);
        follows("the start");
        fail(now);
        follows("a failure");
        breaker.try_acquire(now).expect("closed").success(now);
        follows("a success");
        (0..5).for_each(|_| fail(now));
        follows("opening");
        let trial = breaker.try_acquire(later).expect("a trial");
        follows("a trial");
        trial.failure(later);
        follows("a failed trial");
        breaker.reset(later);
        follows("a reset");
        for mode in [Mode::Shadow, Mode::ForcedOpen, Mode::Disabled, Mode::Normal] {
            breaker.set_mode(mode, later);
            follows("a change of mode");
        }
    }
}
