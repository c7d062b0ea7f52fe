//! What callers put into the writer's queue.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;

/// What a change came to, and whether what it wrote so far shall stand.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// It was made.
    Keep(T),
    /// It was not entitled, or there was nothing to change: what it wrote is taken back.
    Undo(T),
}

/// What the retention should know about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// It carries a record with this due time, in unix milliseconds.
    Record(i64),
    /// It deletes a monitor, so there will be something to remove.
    Deletes,
    /// Nothing.
    None,
}

/// A change together with whoever waits for it.
pub(crate) trait Command: Send {
    fn hint(&self) -> Hint;

    /// Makes the change, inside a savepoint. Says whether the savepoint is to be kept.
    fn run(&mut self, connection: &Connection) -> Result<bool, Failure>;

    /// Answers, with the result of `run` if the transaction ended well.
    fn answer(self: Box<Self>, end: Result<(), Failure>);
}

/// A command of `change`, and where its answer will arrive.
pub(crate) fn command<T, F>(
    hint: Hint,
    change: F,
) -> (Box<dyn Command>, oneshot::Receiver<Result<T, Failure>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<Change<T>, Failure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let state = State::Waiting(change);
    (Box::new(Pending { hint, state, reply }), answer)
}

struct Pending<T, F> {
    hint: Hint,
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
    F: FnOnce(&Connection) -> Result<Change<T>, Failure> + Send,
{
    fn hint(&self) -> Hint {
        self.hint
    }

    fn run(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let State::Waiting(change) = std::mem::replace(&mut self.state, State::Running) else {
            return Ok(false);
        };
        let (done, keep) = match change(connection) {
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
