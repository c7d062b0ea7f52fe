//! What callers put into the writer's queue.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;

/// What a change came to, and whether what it wrote so far shall stand.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// It was made.
    Keep(T),
    /// It was not entitled, or there was nothing to change: what it wrote, if anything, is taken
    /// back.
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

    /// Makes the change, and says whether it is to be kept. What an earlier run came to is
    /// forgotten: its transaction was rolled back.
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
    F: Fn(&Connection) -> Result<Change<T>, Failure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let done = Err(Failure::Closed);
    let pending = Pending {
        hint,
        change,
        done,
        reply,
    };
    (Box::new(pending), answer)
}

struct Pending<T, F> {
    hint: Hint,
    change: F,
    /// What the last run came to.
    done: Result<T, Failure>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<T, F> Command for Pending<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<Change<T>, Failure> + Send,
{
    fn hint(&self) -> Hint {
        self.hint
    }

    fn run(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let (done, keep) = match (self.change)(connection) {
            Ok(Change::Keep(value)) => (Ok(value), Ok(true)),
            Ok(Change::Undo(value)) => (Ok(value), Ok(false)),
            Err(failure) => (Err(failure.clone()), Err(failure)),
        };
        self.done = done;
        keep
    }

    fn answer(self: Box<Self>, end: Result<(), Failure>) {
        // Whoever asked may have gone: the change stands all the same.
        let _ = self.reply.send(end.and(self.done));
    }
}
