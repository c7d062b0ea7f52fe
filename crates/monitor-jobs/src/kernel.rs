//! Rules that every backend applies and none may interpret: pure functions, without clock or I/O.
//!
//! What they leave open is settled here, and by the model in `memory.rs`:
//!
//! - **Time.** A scheduled job whose time has come *is* ready: views, filters and counts show it so
//!   (`state::JobState::as_of`), whenever a backend gets to rewriting its row. `run_at` is when the
//!   job was put in, or later if [`When`](crate::When) says so: [`ordering::run_at_ms`].
//! - **Claim.** Refusals in this order: unknown, not claiming, at capacity (a limit of 0 is no
//!   error). Rows in the order of (sort key, id) over all queues of the worker that are not
//!   paused. One epoch for all jobs of a claim.
//! - **Settle.** Guarded by job, epoch, holder and running. `Already`: not running, the job's epoch
//!   is still that one, and its last [`End`](attempts::End) is of the same kind; texts are not
//!   compared. Within a call first every job changes in the order given; then the edges of all that
//!   ended are resolved together, [`edges::Resolution`] by child. A key stays through every retry.
//! - **Cascade.** A child that ends by an edge ends with [`edges::UNMET_ERROR`] (if dead) and its
//!   own edges are resolved in turn: in the transaction up to [`limits::INLINE_EDGES`] edges, the
//!   rest by `release`. An edge to a child that has ended is resolved too, and changes only its
//!   `pending` and `holds`.
//! - **Put in** after a parent that has ended: its edge is judged at once, [`edges::Arrival`].
//! - **Urgency** runs in two passes, so that none leaks from child to parent to sibling.
//!   [`ordering::base`]: from all parents, ended or not, if the job inherits; a new priority is
//!   followed down through jobs that have not ended. [`ordering::effective`]: from unended inheriting
//!   children over open edges, transitively; raised and lowered whenever an edge opens or is
//!   resolved, or a child ends or changes. A job that has ended keeps the figures of its end.
//! - **Cancel** of a running job only sets the request; see [`attempts::Attempt::settle`]. Nothing
//!   but a running job shows it.
//! - **Errors.** `last_error` is set by a failure, by [`attempts::LOST_ERROR`] when a lost worker
//!   buries the job, and by [`edges::UNMET_ERROR`]. An execution has the error of its failure only.
//! - **Unique.** An entry that turns out to exist is not looked at further: its parents may not.
//! - **Tick**: accepted when it is later than the schedule's last one.
//! - **Retry** of a dead or cancelled job: [`attempts::revive`]; `run_at` is now, the request to
//!   cancel and the end are gone; edges to parents that have ended are met (people decided), all
//!   others are open, even those that an earlier end had resolved: blocked or ready. False, and nothing changed, when its unique key is taken
//!   by another job by now. Of each job that is *held* by an edge to it, that edge opens again.
//!   Retry of a held job: its holding edges are met.
//! - **Workers.** One that was deregistered is not listed any more; one that a rescue retired is, as
//!   failed, until it is pruned. Rescue of an unknown or retired one: `retired`. A rescue that
//!   leaves jobs for later leaves the worker as it is; if it beats, the next rescue finds it alive.
//! - **Prune**: jobs that ended that long ago in the order of their ids, but none that a job which
//!   has not ended names as a parent, and none with an open edge to a child; then retired workers.
//!   Counted are jobs and workers.

pub(crate) mod attempts;
pub(crate) mod edges;
pub(crate) mod health;
pub(crate) mod lease;
pub(crate) mod limits;
pub(crate) mod observer;
pub(crate) mod ordering;
pub(crate) mod pace;
pub(crate) mod predict;
pub(crate) mod regression;
pub(crate) mod retrying;
pub(crate) mod roster;
pub(crate) mod standing;
