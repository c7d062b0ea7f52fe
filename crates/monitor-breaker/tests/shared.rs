//! What instances tell each other: hints, and never more.

use std::{
    fmt,
    num::NonZeroU32,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use monitor_breaker::{
    Breaker, Cause, Clock, Config, Hint, InProcess, PeerHint, SharedState, Sharing, State,
    TickClock, Transition,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing waits"),
    }
}

type InProcessState = Arc<InProcess<TickClock>>;

struct Instance {
    breaker: Breaker,
    sharing: Sharing<InProcessState>,
    clock: TickClock,
}

impl Instance {
    fn exchange(&mut self) -> bool {
        now(self.sharing.exchange(&self.breaker, &self.clock)).expect("in process")
    }

    fn state(&self) -> State {
        self.breaker.state(self.clock.now())
    }

    fn calls(&self, ok: bool, times: u32) {
        let at = self.clock.now();
        for _ in 0..times {
            let permit = self.breaker.try_acquire(at).expect("admitted");
            if ok {
                permit.success(at);
            } else {
                permit.failure(at);
            }
        }
    }
}

/// Returns as many instances as told, and their clock.
fn instances<const N: usize>(quorum: u32) -> ([Instance; N], TickClock) {
    let clock = TickClock::new();
    let state = Arc::new(InProcess::new(clock.clone()));
    let instance = |index| Instance {
        breaker: Breaker::new(Config::mail()),
        sharing: Sharing::new(
            Arc::clone(&state),
            "smtp",
            index as u64,
            NonZeroU32::new(quorum).expect("not 0"),
        ),
        clock: clock.clone(),
    };
    (std::array::from_fn(instance), clock)
}

/// ROB-24: one opens, the other hears of it at its next exchange and opens for what is left; each
/// then tries the target itself, and old news do not open it again.
#[test]
fn an_opening_is_heard_once() {
    let ([mut one, mut two], clock) = instances(1);
    one.calls(false, 5);
    assert!(!one.exchange(), "its own news");
    clock.advance(seconds(20));
    assert!(two.exchange());
    assert_eq!(two.breaker.retry_after(clock.now()), Some(seconds(40)));
    clock.advance(seconds(39));
    assert!(!two.exchange());
    one.breaker.push_back(seconds(600), clock.now());
    assert!(!one.exchange());
    clock.advance(seconds(1));
    two.calls(true, 1);
    assert_eq!(two.state(), State::Closed);
    assert_eq!(one.state(), State::Open, "pushed back, on its own account");
    assert!(!two.exchange(), "the same opening, heard before");
    assert_eq!(two.state(), State::Closed);
}

/// ROB-24: hearsay is not passed on: two instances do not keep each other open for ever.
#[test]
fn hearsay_is_not_passed_on() {
    let ([mut one, mut two, mut three], clock) = instances(1);
    one.calls(false, 5);
    one.exchange();
    two.exchange();
    one.breaker.reset(clock.now());
    one.exchange();
    assert_eq!(two.state(), State::Open);
    assert_eq!(two.breaker.hint(clock.now()).open_for, None);
    two.exchange();
    assert!(!three.exchange(), "nobody who found out himself says so");
    // A trial of its own that fails is no hearsay.
    clock.advance(seconds(60));
    two.calls(false, 1);
    two.exchange();
    assert!(three.exchange());
}

/// ROB-24: one bad node does not open all the others, where a quorum is asked for.
#[test]
fn a_quorum_is_asked_for() {
    let ([mut one, mut two, mut three], clock) = instances(2);
    one.calls(false, 5);
    one.exchange();
    assert!(!three.exchange());
    assert_eq!(three.state(), State::Closed);
    clock.advance(seconds(30));
    two.calls(false, 5);
    two.exchange();
    assert!(three.exchange());
    let left = three.breaker.retry_after(clock.now());
    assert_eq!(
        left,
        Some(seconds(30)),
        "the first to try again is early enough"
    );
}

/// ROB-24, ROB-26: what is set by hand is nobody else's finding: forced open and shadows say
/// nothing, and a breaker that is forced open, half-open or open does not listen.
#[test]
fn hands_and_shadows_are_not_heard() {
    use monitor_breaker::Mode;
    let ([mut one, mut two], clock) = instances(1);
    one.breaker.set_mode(Mode::ForcedOpen, clock.now());
    one.exchange();
    assert!(!two.exchange());
    one.breaker.set_mode(Mode::Shadow, clock.now());
    one.calls(false, 5);
    assert_eq!(one.state(), State::Open);
    one.exchange();
    assert!(!two.exchange());
    two.breaker.trip(clock.now());
    assert!(!two.breaker.heed(seconds(1000), clock.now()));
    assert_eq!(two.breaker.retry_after(clock.now()), Some(seconds(60)));
}

/// ROB-14, ROB-24: what the target itself asked for holds for an opening by hearsay as well.
#[test]
fn a_push_back_outlasts_what_others_say() {
    let ([mut one, mut two], clock) = instances(1);
    two.breaker.push_back(seconds(100), clock.now());
    one.calls(false, 5);
    one.exchange();
    assert!(two.exchange());
    assert_eq!(two.breaker.retry_after(clock.now()), Some(seconds(100)));
}

/// A shared state that is down, or says what it is told to.
struct Scripted(Result<Vec<PeerHint>, Down>);

#[derive(Clone, Debug)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shared state is down")
    }
}

impl std::error::Error for Down {}

impl SharedState for Scripted {
    type Error = Down;

    async fn exchange(&self, _: &str, _: u64, _: Hint) -> Result<Vec<PeerHint>, Down> {
        self.0.clone()
    }
}

/// ROB-24: the shared side fails: the error is the caller's to log, the local decision stands.
#[test]
fn a_shared_state_that_is_down_changes_nothing() {
    let clock = TickClock::new();
    let mut sharing = Sharing::new(Scripted(Err(Down)), "smtp", 1, NonZeroU32::MIN);
    for tripped in [false, true] {
        let breaker = Breaker::new(Config::mail());
        if tripped {
            breaker.trip(clock.now());
        }
        let before = breaker.snapshot(clock.now());
        assert!(now(sharing.exchange(&breaker, &clock)).is_err());
        assert_eq!(breaker.snapshot(clock.now()), before);
    }
}

/// ROB-24: nonsense from the shared side: endless or empty intervals, and an echo of oneself.
#[test]
fn nonsense_from_the_shared_side_is_bounded() {
    let hint = |instance, open_for| PeerHint {
        instance,
        hint: Hint {
            epoch: 1,
            open_for: Some(open_for),
        },
    };
    let told = |hints| {
        let transitions: Arc<std::sync::Mutex<Vec<Transition>>> = Arc::default();
        let listener = {
            let transitions = Arc::clone(&transitions);
            move |transition| transitions.lock().expect("listener").push(transition)
        };
        let breaker = Breaker::with_listener(Config::mail(), listener);
        let clock = TickClock::new();
        let mut sharing = Sharing::new(Scripted(Ok(hints)), "smtp", 1, NonZeroU32::MIN);
        let opened = now(sharing.exchange(&breaker, &clock)).expect("scripted");
        let causes: Vec<_> = transitions
            .lock()
            .expect("listener")
            .iter()
            .map(|t| t.cause)
            .collect();
        assert_eq!(causes, if opened { vec![Cause::Peers] } else { vec![] });
        (opened, breaker.retry_after(clock.now()))
    };
    assert_eq!(
        told(vec![hint(2, Duration::MAX)]),
        (true, Some(seconds(60)))
    );
    assert_eq!(told(vec![hint(2, Duration::ZERO)]), (false, None));
    assert_eq!(told(vec![hint(1, seconds(60))]), (false, None));
}
