//! A transaction whose steps are sent to the writer one by one, as its owner comes to them.

use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::command::Command;
use super::failure::Failure;
use super::writer::{commit, step};

/// What the owner sends. When it is gone, all is rolled back.
pub(crate) enum Step {
    Run(Box<dyn Command>),
    Commit(oneshot::Sender<Result<(), Failure>>),
}

/// The writer's end of a session.
pub(crate) struct Session {
    began: oneshot::Sender<Result<(), Failure>>,
    steps: mpsc::Receiver<Step>,
}

/// A session, where its owner sends steps, and where it hears that the transaction has begun.
pub(crate) fn session() -> (
    Session,
    mpsc::Sender<Step>,
    oneshot::Receiver<Result<(), Failure>>,
) {
    let (sender, steps) = mpsc::channel();
    let (began, begun) = oneshot::channel();
    (Session { began, steps }, sender, begun)
}

impl Session {
    /// Makes the steps. `Ok`: it was committed.
    pub(crate) fn serve(
        self,
        mut transaction: Transaction<'_>,
        now: i64,
        patience: Duration,
    ) -> Result<(), Failure> {
        if self.began.send(Ok(())).is_err() {
            return Err(Failure::Abandoned);
        }
        loop {
            match self.steps.recv_timeout(patience) {
                Ok(Step::Run(mut command)) => {
                    let end = step(&mut transaction, command.as_mut(), now);
                    command.answer(end.clone());
                    end?;
                }
                Ok(Step::Commit(reply)) => {
                    let end = commit(transaction);
                    // Whoever asked may have gone.
                    let _ = reply.send(end.clone());
                    return end;
                }
                // Gone, or silent for too long: dropping the transaction rolls it back.
                Err(_) => return Err(Failure::Abandoned),
            }
        }
    }

    /// Tells its owner that there will be no transaction.
    pub(crate) fn refuse(self, failure: Failure) -> Result<(), Failure> {
        // Whoever asked may have gone.
        let _ = self.began.send(Err(failure.clone()));
        Err(failure)
    }
}
