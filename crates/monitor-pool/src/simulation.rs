//! The kernel itself, for programs that bring a clock and a network of their own: simulators.
//!
//! A [`Kernel`] decides as a [`Pool`](crate::Pool) does, for it is the same code, with the defaults
//! of a [`Builder`](crate::Builder); but it has neither clock nor tasks, and connects nothing.
//! Whoever has one is its driver: tells it the time with each call, never an earlier one than
//! before, carries out its [`Effect`]s, and says what came of them. That an attempt to connect may
//! hang, or somebody who is served not come, is what there is to be simulated.
//!
//! # Examples
//!
//! ```
//! use std::{num::NonZeroUsize, time::Duration};
//! use monitor_pool::simulation::{Answer, Effect, Kernel};
//!
//! let mut pool: Kernel<&str, String> = Kernel::new(NonZeroUsize::MIN, 42);
//! let (now, deadline) = (Duration::ZERO, Duration::from_secs(30));
//!
//! // Nothing is idle, so the first caller, whom we call 7, waits for a connection to be made.
//! let Answer::Waits(waiter) = pool.acquire(7, now, deadline) else { panic!("served") };
//! let Some(Effect::Connect(ticket)) = pool.take_effects().pop() else { panic!("no order") };
//! pool.connected(ticket, "a connection", now);
//! assert!(matches!(pool.take_effects()[..], [Effect::Wake(7)]));
//! let Answer::Ready(connection) = pool.poll(waiter, 7, now) else { panic!("not served") };
//! assert_eq!(*connection.value(), "a connection");
//!
//! // There is one connection, so the second caller waits until the first gives it back.
//! let Answer::Waits(waiter) = pool.acquire(8, now, deadline) else { panic!("two holders") };
//! pool.release(connection, true, now).map_err(|_| "it was out")?;
//! assert!(matches!(pool.take_effects()[..], [Effect::Wake(8)]));
//! assert!(matches!(pool.poll(waiter, 8, now), Answer::Ready(_)));
//! # Ok::<(), &str>(())
//! ```

use std::{
    fmt,
    num::NonZeroUsize,
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};

use crate::{
    CloseReason, Stage, Status,
    caller::Caller,
    config::Settings,
    kernel::{self, Actions, ConnectTicket, Rules, SlotId, Span, Tick, WaiterId},
};

/// The kernel of a pool of connections `C` to which connecting fails with an `E`. All times are
/// since an origin of the caller's, and never run back.
pub struct Kernel<C, E> {
    core: kernel::Kernel<Connection<C>, E>,
    rng: SmallRng,
    effects: Vec<Effect<C>>,
    /// Whose wakers were woken.
    woken: Arc<Mutex<Vec<u64>>>,
}

/// A connection. Whoever has it is its holder, or does with it what an [`Effect`] asks for.
#[derive(Debug)]
#[must_use = "it counts until it is given back"]
pub struct Connection<C> {
    slot: SlotId,
    number: u64,
    value: C,
}

/// What the driver has to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect<C> {
    /// Let somebody who waits [`poll`](Kernel::poll), by the name he gave.
    Wake(u64),
    /// Connect, and say how it went: [`connected`](Kernel::connected) or
    /// [`connect_failed`](Kernel::connect_failed).
    Connect(Ticket),
    /// Check a connection, and say how it went: [`checked`](Kernel::checked).
    Check(Connection<C>),
    /// Close a connection, and say when that is done: [`closed`](Kernel::closed).
    Close(Connection<C>, CloseReason),
}

/// The right, and the duty, to connect once.
#[derive(Debug)]
#[must_use = "its place would be taken for ever"]
pub struct Ticket(ConnectTicket);

/// A place in the queue.
#[derive(Debug)]
#[must_use = "it stays until it is polled to its end or given up"]
pub struct Waiter(WaiterId);

/// The answer to somebody who asks for a connection.
#[derive(Debug)]
#[must_use]
pub enum Answer<C, E> {
    /// Here it is.
    Ready(Connection<C>),
    /// Not yet: to be polled once he is woken.
    Waits(Waiter),
    /// Never.
    Failed(Failure<E>),
}

/// Why somebody gets no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure<E> {
    /// His deadline came, while he waited for this.
    Timeout(Stage),
    /// Connecting fails for good.
    Connect(E),
    /// Too many wait already.
    Overloaded,
    /// The pool is closed.
    Closed,
}

impl<C> Connection<C> {
    /// Returns what was connected.
    #[must_use]
    pub const fn value(&self) -> &C {
        &self.value
    }
}

impl<C, E: Clone> Kernel<C, E> {
    /// Makes a pool of `max_size` connections at most, without any yet; `seed` sets its chance.
    #[must_use]
    pub fn new(max_size: NonZeroUsize, seed: u64) -> Self {
        let settings = Settings {
            max_size: max_size.get(),
            ..Settings::default()
        };
        let limit = settings.connect_limit();
        Self {
            core: kernel::Kernel::new(
                Rules::new(&settings),
                settings.max_size,
                limit,
                settings.connect_backoff,
            ),
            rng: SmallRng::seed_from_u64(seed),
            effects: Vec::new(),
            woken: Arc::default(),
        }
    }

    /// Somebody asks for a connection, and is called `name` in [`Effect::Wake`].
    #[track_caller]
    pub fn acquire(&mut self, name: u64, now: Duration, deadline: Duration) -> Answer<C, E> {
        let caller = Caller {
            site: Location::caller(),
            task: None,
        };
        // In this order the pool's own handle asks, too.
        if let Some(connection) = self.core.try_hit(tick(now), caller) {
            return Answer::Ready(connection);
        }
        let waker = self.waker(name);
        let (at, deadline) = (tick(now), tick(deadline));
        let waker = match self.core.try_wait(at, deadline, caller, waker) {
            Ok(waiter) => return Answer::Waits(Waiter(waiter)),
            Err(waker) => waker,
        };
        let asked = self.step(now, |core, _, actions| {
            core.acquire(at, deadline, caller, waker, actions)
        });
        match asked {
            kernel::Acquired::Hit(connection) => Answer::Ready(connection),
            kernel::Acquired::Waits(waiter) => Answer::Waits(Waiter(waiter)),
            kernel::Acquired::Failed(failure) => Answer::Failed(failure.into()),
        }
    }

    /// Somebody who waits looks whether it is his turn.
    pub fn poll(&mut self, Waiter(waiter): Waiter, name: u64, now: Duration) -> Answer<C, E> {
        if let Some((connection, _)) = self.core.try_accept(waiter, tick(now)) {
            return Answer::Ready(connection);
        }
        let waker = self.waker(name);
        let polled = self.step(now, |core, _, actions| {
            core.poll(waiter, tick(now), waker, actions)
        });
        match polled {
            kernel::Poll::Ready(connection) => Answer::Ready(connection),
            kernel::Poll::Pending => Answer::Waits(Waiter(waiter)),
            kernel::Poll::Failed(failure) => Answer::Failed(failure.into()),
        }
    }

    /// Somebody waits no longer.
    pub fn give_up(&mut self, Waiter(waiter): Waiter, now: Duration) {
        self.step(now, |core, _, actions| {
            core.cancel(waiter, tick(now), actions);
        });
    }

    /// A holder gives a connection back, `fit` or broken.
    ///
    /// # Errors
    /// Gives it back if it was not out.
    pub fn release(
        &mut self,
        connection: Connection<C>,
        fit: bool,
        now: Duration,
    ) -> Result<(), Connection<C>> {
        let (slot, number) = (connection.slot, connection.number);
        let mut connection = connection;
        if fit {
            connection = match self.core.try_park(slot, number, connection) {
                Ok(()) => return Ok(()),
                Err(back) => back,
            };
            let passed = self.core.try_pass(slot, number, connection, tick(now));
            connection = match passed {
                Ok(waker) => {
                    waker.into_iter().for_each(Waker::wake);
                    return Ok(());
                }
                Err(back) => back,
            };
        }
        let fitness = if fit {
            Ok(())
        } else {
            Err(CloseReason::Tainted)
        };
        self.step(now, |core, _, actions| {
            core.release(slot, number, connection, fitness, tick(now), actions)
        })
    }

    /// An attempt to connect succeeded.
    pub fn connected(&mut self, Ticket(ticket): Ticket, value: C, now: Duration) {
        let connection = Connection {
            slot: ticket.slot,
            number: ticket.number,
            value,
        };
        self.step(now, |core, rng, actions| {
            core.connected(&ticket, connection, tick(now), rng, actions);
        });
    }

    /// An attempt to connect failed, for good or for now.
    pub fn connect_failed(
        &mut self,
        Ticket(ticket): Ticket,
        error: E,
        permanent: bool,
        now: Duration,
    ) {
        self.step(now, |core, rng, actions| {
            core.connect_failed(&ticket, error, permanent, tick(now), rng, actions);
        });
    }

    /// A connection was checked, and is `fit` or gone.
    pub fn checked(&mut self, connection: Connection<C>, fit: bool, now: Duration) {
        let slot = connection.slot;
        self.step(now, |core, _, actions| {
            if fit {
                core.checked(slot, connection, tick(now), actions);
            } else {
                core.check_failed(slot, tick(now), actions);
            }
        });
    }

    /// A connection that was to be closed is.
    pub fn closed(&mut self, connection: Connection<C>, now: Duration) {
        self.step(now, |core, _, actions| {
            core.closed(connection.slot, tick(now), actions);
        });
    }

    /// Serves nobody any more: see [`Pool::close`](crate::Pool::close).
    pub fn close(&mut self, now: Duration) {
        self.step(now, |core, _, actions| core.close(tick(now), actions));
    }

    /// Lets happen what is due by `now`.
    pub fn advance(&mut self, now: Duration) {
        self.step(now, |core, _, actions| core.tick(tick(now), actions));
    }

    /// Returns when to call [`advance`](Kernel::advance) next, if nothing else happens.
    #[must_use]
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        let due = self.core.arm(tick(now));
        (due != Tick::NEVER).then(|| Span(due.0).duration())
    }

    /// Takes what the driver has to do, in order.
    #[must_use = "what is not done is waited for"]
    pub fn take_effects(&mut self) -> Vec<Effect<C>> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effects: Vec<_> = woken.drain(..).map(Effect::Wake).collect();
        effects.append(&mut self.effects);
        effects
    }

    /// Returns the numbers of the whole.
    #[must_use]
    pub fn status(&self, now: Duration) -> Status {
        self.core.status(tick(now))
    }

    fn waker(&self, name: u64) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::from(Arc::new(Bell { name, woken }))
    }

    /// Decides, and collects what follows.
    fn step<R>(
        &mut self,
        now: Duration,
        decide: impl FnOnce(&mut kernel::Kernel<Connection<C>, E>, &mut SmallRng, &mut Actions<E>) -> R,
    ) -> R {
        let mut actions = Actions::default();
        let result = decide(&mut self.core, &mut self.rng, &mut actions);
        actions.wakes.into_iter().for_each(Waker::wake);
        let orders = self.core.take_orders(tick(now));
        let connects = orders.connects.into_iter();
        let connects = connects.map(|ticket| Effect::Connect(Ticket(ticket)));
        self.effects.extend(connects);
        let checks = orders.checks.into_iter();
        let checks = checks.map(|(_, connection)| Effect::Check(connection));
        self.effects.extend(checks);
        let closes = orders.closes.into_iter();
        let closes = closes.map(|(_, connection, reason)| Effect::Close(connection, reason));
        self.effects.extend(closes);
        result
    }
}

/// Who is to be woken, by name.
struct Bell {
    name: u64,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.push(self.name);
    }
}

impl<E> From<kernel::Failure<E>> for Failure<E> {
    fn from(failure: kernel::Failure<E>) -> Self {
        match failure {
            kernel::Failure::Timeout(stage) => Self::Timeout(stage),
            // Only tasks can be known to wait for each other, and there are none.
            kernel::Failure::Deadlock => Self::Timeout(Stage::Queue),
            kernel::Failure::Connect(error) => Self::Connect(error),
            kernel::Failure::Overloaded => Self::Overloaded,
            kernel::Failure::Closed => Self::Closed,
        }
    }
}

fn tick(at: Duration) -> Tick {
    Tick(0).after(Span::from(at))
}

impl<C, E> fmt::Debug for Kernel<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}
