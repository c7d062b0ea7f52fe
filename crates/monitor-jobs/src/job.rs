//! What is put in: a job, its dependencies, its place in the order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{JobId, Payload, Priority};

/// A job to be put in.
///
/// Defaults: queue `default`, priority 3, at once, three attempts, three crashes, no timeout, ordered by
/// [`Ordering::Aged`], inheriting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewJob {
    /// What kind of work it is: the name of its handler, 1 to 64 of `a-z 0-9 . _ -`.
    pub kind: String,
    /// The queue, named by the same rule.
    pub queue: String,
    /// What the handler gets.
    pub payload: Payload,
    /// How urgent it is by itself.
    pub priority: Priority,
    /// How its place among the ready jobs of its queue comes about.
    pub ordering: Ordering,
    /// When it may run.
    pub when: When,
    /// How many attempts it has in all, 1 to 1000.
    pub max_attempts: u16,
    /// How many workers it may take down before it is buried, 1 to 1000. Counted apart from the
    /// attempts.
    pub max_crashes: u16,
    /// How long an attempt may take; its handler is cancelled then and the attempt has failed.
    pub timeout: Option<Duration>,
    /// What it waits for.
    pub parents: Vec<Edge<Parent>>,
    /// Whether urgency runs along its edges: it is at least as urgent as its parents, and whatever
    /// it waits for is at least as urgent as it is.
    pub inherit_priority: bool,
    /// At most one job that has not ended bears this key; a second is not put in.
    pub unique_key: Option<String>,
    /// Whose job it is, for [`Ordering::Fair`] and for whoever lists jobs.
    pub tenant: Option<String>,
}

impl NewJob {
    /// A job of that kind.
    #[must_use]
    pub fn new(kind: impl Into<String>, payload: Payload) -> Self {
        Self {
            kind: kind.into(),
            queue: "default".to_owned(),
            payload,
            priority: Priority::default(),
            ordering: Ordering::default(),
            when: When::Now,
            max_attempts: 3,
            max_crashes: 3,
            timeout: None,
            parents: Vec::new(),
            inherit_priority: true,
            unique_key: None,
            tenant: None,
        }
    }

    /// In that queue.
    #[must_use]
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            ..self
        }
    }

    /// That urgent.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Ordered in that way.
    #[must_use]
    pub fn ordering(self, ordering: Ordering) -> Self {
        Self { ordering, ..self }
    }

    /// Not before then.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// That many attempts in all.
    #[must_use]
    pub fn max_attempts(self, max_attempts: u16) -> Self {
        Self {
            max_attempts,
            ..self
        }
    }

    /// At most that long for an attempt.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// After that job has completed.
    #[must_use]
    pub fn after(self, parent: impl Into<Parent>) -> Self {
        self.edge(Edge::success(parent.into()))
    }

    /// After what that edge says.
    #[must_use]
    pub fn edge<P: Into<Parent>>(mut self, edge: Edge<P>) -> Self {
        let Edge { parent, on, unmet } = edge;
        let parent = parent.into();
        self.parents.push(Edge { parent, on, unmet });
        self
    }

    /// Whether urgency runs along its edges.
    #[must_use]
    pub fn inherit_priority(self, inherit_priority: bool) -> Self {
        Self {
            inherit_priority,
            ..self
        }
    }

    /// Once until it has ended.
    #[must_use]
    pub fn unique_key(self, key: impl Into<String>) -> Self {
        Self {
            unique_key: Some(key.into()),
            ..self
        }
    }

    /// That tenant's.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        Self {
            tenant: Some(tenant.into()),
            ..self
        }
    }
}

/// When a job may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// At once.
    Now,
    /// After that long, by the clock of the database.
    In(Duration),
    /// At that unix time in milliseconds, by the clock of the database.
    At(i64),
}

/// How the place of a job among the ready ones of its queue comes about.
///
/// All of them come to one number, the *sort key*, which is settled when the job is put in and
/// which only inheritance changes: the least is claimed first, then the least id. Nothing is ever
/// rewritten while a job waits, and yet it ages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// First in, first out; the priority does not count.
    Fifo,
    /// The higher priority first, always; within one, first in, first out. A low one can starve.
    Strict,
    /// As if a job had been put in earlier by `step` for each point of priority: a job is overtaken
    /// only by more urgent ones of the following `5 x step`, so none starves.
    Aged {
        /// What one point of priority is worth.
        step: Duration,
    },
    /// The earliest deadline first: unix time in milliseconds.
    Deadline {
        /// When it should have ended.
        unix_ms: i64,
    },
    /// Start-time fair queueing among the tenants of the queue: each gets a share by its weight.
    Fair {
        /// The weight of the tenant, 1 to 1000.
        weight: u16,
    },
}

impl Default for Ordering {
    /// A low job is as urgent as a medium one after a minute: the steps of seed and origin, where
    /// two points make a band.
    fn default() -> Self {
        Self::Aged {
            step: Duration::from_secs(30),
        }
    }
}

/// Whom a new job waits for: INV-JOBS-7, what is in or what stands before it in the same call, so a
/// parent is less than its child and nothing waits in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Parent {
    /// A job that is in.
    Job(JobId),
    /// The job at that place of the same call, from 0. It must stand before the one that waits, so
    /// no call can describe a cycle.
    Earlier(usize),
}

impl From<JobId> for Parent {
    fn from(job: JobId) -> Self {
        Self::Job(job)
    }
}

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge<P = JobId> {
    /// The job that must end first.
    pub parent: P,
    /// How it must end.
    pub on: On,
    /// What becomes of this job when it ends otherwise.
    pub unmet: Unmet,
}

impl<P> Edge<P> {
    /// After it has completed; held when it ends otherwise, until people decide.
    #[must_use]
    pub const fn success(parent: P) -> Self {
        Self {
            parent,
            on: On::Success,
            unmet: Unmet::Hold,
        }
    }

    /// After it has ended, however.
    #[must_use]
    pub const fn finished(parent: P) -> Self {
        Self {
            parent,
            on: On::Finished,
            unmet: Unmet::Run,
        }
    }

    /// After it has died; cancelled when it ends otherwise.
    #[must_use]
    pub const fn failure(parent: P) -> Self {
        Self {
            parent,
            on: On::Failure,
            unmet: Unmet::Cancel,
        }
    }

    /// With that rule for a parent that ends otherwise.
    #[must_use]
    pub fn unmet(self, unmet: Unmet) -> Self {
        Self { unmet, ..self }
    }
}

/// How a parent must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Completed.
    Success,
    /// Completed, dead or cancelled.
    Finished,
    /// Dead.
    Failure,
}

/// What becomes of a job whose parent ended otherwise than its edge asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmet {
    /// It is [held](crate::JobState::Held), shown and counted, until its parent is retried or
    /// people release or cancel it.
    Hold,
    /// It is cancelled, and so on along its own edges.
    Cancel,
    /// It is dead, and so on along its own edges.
    Fail,
    /// It runs anyway.
    Run,
}
