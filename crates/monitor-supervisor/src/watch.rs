//! A thread of its own, for when there is no thread left: a tick that blocks every worker of the
//! runtime also holds up the loop that would time it out.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use crate::{
    runner::STUCK_AFTER,
    supervisor::{Shared, Supervised},
    sync::lock,
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The tick that runs in each task, by the task's name, and how many looks have seen it.
type Seen = HashMap<Arc<str>, (u64, u32)>;

/// Ends the thread when it is dropped.
pub(crate) struct Watch(#[expect(dead_code, reason = "held until it is dropped")] mpsc::Sender<()>);

impl Watch {
    pub(crate) fn start(shared: Weak<Shared>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("supervisor-watch".to_owned());
        thread.spawn(move || {
            let mut seen = Seen::new();
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                seen = look(&shared, &seen);
            }
        })?;
        Ok(Self(end))
    }
}

/// Tells of each tick that goes on although the loop should have given it up: the loop is held up.
fn look(shared: &Shared, before: &Seen) -> Seen {
    let mut seen = Seen::new();
    for (name, task) in shared.tasks() {
        if let Some((tick, looks)) = look_at(shared, &task, before.get(&name).copied()) {
            seen.insert(name, (tick, looks));
        }
    }
    seen
}

fn look_at(shared: &Shared, task: &Supervised, before: Option<(u64, u32)>) -> Option<(u64, u32)> {
    let mut kernel = lock(&task.kernel);
    let tick = kernel.running()?;
    let before = before.filter(|(seen, _)| *seen == tick);
    // Looks are no closer than that, so it has been running for at least so long.
    let looks = before.map_or(0, |(_, looks)| looks);
    let at_least = EVERY.saturating_mul(looks);
    if at_least > kernel.timeout.saturating_add(STUCK_AFTER) {
        let event = kernel.stuck();
        drop(kernel);
        shared.tell(event);
        return None;
    }
    Some((tick, looks.saturating_add(1)))
}
