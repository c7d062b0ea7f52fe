//! What callers put into the writer's queue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};
use tokio::sync::oneshot;

use super::failure::Failure;

/// What a command sees: the connection inside its transaction, and the time of the database.
#[derive(Clone, Copy)]
pub(crate) struct Tx<'a> {
    pub(crate) sql: &'a Connection,
    pub(crate) now: i64,
}

impl<'a> Tx<'a> {
    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn run(&self, statement: &str, params: impl Params) -> Result<usize, Failure> {
        let mut statement = self.prepare(statement)?;
        Ok(statement.execute(params)?)
    }

    /// The first row of a statement, if there is one.
    pub(crate) fn one<T>(
        &self,
        statement: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Failure> {
        let mut statement = self.prepare(statement)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    /// All rows of a statement.
    pub(crate) fn all<T>(
        &self,
        statement: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        let mut statement = self.prepare(statement)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn prepare(&self, statement: &str) -> Result<CachedStatement<'a>, Failure> {
        #[cfg(test)]
        STATEMENTS.set(STATEMENTS.get() + 1);
        Ok(self.sql.prepare_cached(statement)?)
    }
}

#[cfg(test)]
thread_local! {
    /// Statements that this thread has run.
    pub(crate) static STATEMENTS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// What a change came to, and whether what it wrote so far shall stand.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// It was made.
    Keep(T),
    /// It was refused: what it wrote is taken back.
    Undo(T),
}

/// What the writer should know about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes nothing that anybody waits for.
    Quiet,
    /// Something may be ready afterwards that was not.
    Wakes,
    /// It runs a caller's code, in a transaction of its own: what that does is not for others to
    /// pay for.
    Alone,
}

/// A change together with whoever waits for it.
pub(crate) trait Command: Send {
    fn kind(&self) -> Kind;

    /// Makes the change, inside a savepoint. Says whether the savepoint is to be kept.
    fn run(&mut self, tx: Tx<'_>) -> Result<bool, Failure>;

    /// Answers, with the result of `run` if the transaction ended well.
    fn answer(self: Box<Self>, end: Result<(), Failure>);
}

/// A command of `change`, and where its answer will arrive.
pub(crate) fn command<T, F>(
    kind: Kind,
    change: F,
) -> (Box<dyn Command>, oneshot::Receiver<Result<T, Failure>>)
where
    T: Send + 'static,
    F: FnOnce(Tx<'_>) -> Result<Change<T>, Failure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let state = State::Waiting(change);
    (Box::new(Pending { kind, state, reply }), answer)
}

struct Pending<T, F> {
    kind: Kind,
    state: State<T, F>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

enum State<T, F> {
    Waiting(F),
    Running,
    Done(Result<T, Failure>),
}

impl<T, F> Command for Pending<T, F>
where
    T: Send,
    F: FnOnce(Tx<'_>) -> Result<Change<T>, Failure> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&mut self, tx: Tx<'_>) -> Result<bool, Failure> {
        let State::Waiting(change) = std::mem::replace(&mut self.state, State::Running) else {
            return Ok(false);
        };
        // A caller's closure may panic. What it wrote is taken back, and the writer lives on.
        let change = catch_unwind(AssertUnwindSafe(|| change(tx)));
        let (done, keep) = match change.unwrap_or(Err(Failure::Panicked)) {
            Ok(Change::Keep(value)) => (Ok(value), Ok(true)),
            Ok(Change::Undo(value)) => (Ok(value), Ok(false)),
            Err(failure) => (Err(failure.clone()), Err(failure)),
        };
        self.state = State::Done(done);
        keep
    }

    fn answer(self: Box<Self>, end: Result<(), Failure>) {
        let result = match (end, self.state) {
            (Err(failure), _) => Err(failure),
            (Ok(()), State::Done(result)) => result,
            (Ok(()), State::Waiting(_) | State::Running) => Err(Failure::Closed),
        };
        // Whoever asked may have gone: the change stands all the same.
        let _ = self.reply.send(result);
    }
}
