//! Who is dead: beats that stand still, by the observer's own monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{WorkerId, WorkerPulse};

/// Watches pulses. No clock of any other machine counts, nor the database's.
///
/// W5: a worker is given up only after its beats were *seen* to stand still for its lease, in two
/// looks at least. W7: time in which nobody looked does not count, since whoever kept the observer
/// from looking (the database was away, this process was suspended) may have kept the worker from
/// beating.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: BTreeMap<WorkerId, Seen>,
    looked: Option<Duration>,
    /// The shortest lease of all who were seen last.
    shortest: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    beats: u64,
    /// For how long it was watched standing still.
    still: Duration,
}

impl Observer {
    /// How long to wait for the next look: a quarter of the shortest lease under watch, so that
    /// three looks fit into it with room to spare. W6: whoever looked by its own lease alone would
    /// never judge those with a much shorter one. `own` is the most, for whoever registers meanwhile.
    pub(crate) fn next_look(&self, own: Duration) -> Duration {
        self.shortest.map_or(own, |shortest| shortest.min(own)) / 4
    }

    /// One look at all live workers at `now`: those to be given up.
    pub(crate) fn look(&mut self, now: Duration, pulses: &[WorkerPulse]) -> Vec<WorkerPulse> {
        let gap = self
            .looked
            .map_or(Duration::MAX, |looked| now.saturating_sub(looked));
        self.looked = Some(now);
        self.shortest = pulses.iter().map(|pulse| pulse.lease).min();
        let mut dead = Vec::new();
        let mut seen = BTreeMap::new();
        for pulse in pulses {
            // A gap of half a lease is no watching any more: it begins anew.
            let watched = gap <= pulse.lease / 2;
            let before = self.seen.get(&pulse.worker);
            let still = match before {
                Some(before) if before.beats == pulse.beats && watched => before.still + gap,
                _ => Duration::ZERO,
            };
            if still >= pulse.lease {
                dead.push(*pulse);
            }
            let beats = pulse.beats;
            seen.insert(pulse.worker, Seen { beats, still });
        }
        self.seen = seen;
        dead
    }

    /// The database failed while looking or rescuing: nobody could beat then, either. Who lives, and
    /// so how often to look, is as it was.
    pub(crate) fn blinded(&mut self) {
        self.seen.clear();
        self.looked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(20);
    const LOOK: u64 = 5;

    fn pulse(worker: i64, beats: u64) -> WorkerPulse {
        WorkerPulse {
            worker: WorkerId(worker),
            beats,
            lease: LEASE,
        }
    }

    fn look(observer: &mut Observer, second: u64, pulses: &[WorkerPulse]) -> Vec<i64> {
        let dead = observer.look(Duration::from_secs(second), pulses);
        dead.into_iter().map(|pulse| pulse.worker.0).collect()
    }

    /// JOB-35, L5, W5, W6: who stands still is given up within a lease and two looks; who beats,
    /// however seldom within the lease, never is.
    #[test]
    fn only_who_stands_still_is_given_up() {
        let mut observer = Observer::default();
        let mut given_up = None;
        for round in 0..20 {
            let beats = round / 3;
            let dead = look(&mut observer, round * LOOK, &[pulse(1, 7), pulse(2, beats)]);
            assert!(!dead.contains(&2), "W5");
            given_up = given_up.or(dead.contains(&1).then_some(round * LOOK));
        }
        assert_eq!(given_up, Some(20), "W6");
    }

    /// W7: after an outage of the database, or of this process, everybody has a whole lease again.
    #[test]
    fn an_outage_is_nobodys_death() {
        let mut observer = Observer::default();
        for second in [0, 5, 10, 15] {
            assert!(look(&mut observer, second, &[pulse(1, 7)]).is_empty());
        }
        assert!(
            look(&mut observer, 1_000, &[pulse(1, 7)]).is_empty(),
            "W7: suspended"
        );
        observer.blinded();
        for second in [1_005, 1_010, 1_015, 1_020] {
            assert!(look(&mut observer, second, &[pulse(1, 7)]).is_empty(), "W7");
        }
        assert_eq!(look(&mut observer, 1_025, &[pulse(1, 7)]), [1]);
    }

    /// W6: whoever has a lease of its own, however long, gives those with a shorter one up in the
    /// time that theirs says, and looks no more often than that needs.
    #[test]
    fn short_leases_are_judged_by_who_has_a_long_one() {
        let own = Duration::from_secs(600);
        let short = pulse(1, 7);
        let long = WorkerPulse {
            lease: own,
            ..pulse(2, 7)
        };
        let mut observer = Observer::default();
        let (mut now, mut looks) = (Duration::ZERO, 0);
        while !observer.look(now, &[short, long]).contains(&short) {
            now += observer.next_look(own);
            looks += 1;
            assert!(looks < 100, "W6: {now:?}");
        }
        assert_eq!((now, looks), (LEASE, 4));
        observer.blinded();
        assert_eq!(observer.next_look(own), LEASE / 4, "blind, not careless");
        observer.look(now, &[long]);
        assert_eq!(observer.next_look(own), own / 4);
        assert_eq!(observer.next_look(LEASE), LEASE / 4, "who comes is seen");
    }

    /// W3: a worker that comes back is another one, and one that left is forgotten.
    #[test]
    fn who_left_is_forgotten() {
        let mut observer = Observer::default();
        look(&mut observer, 0, &[pulse(1, 7)]);
        look(&mut observer, 5, &[pulse(2, 7)]);
        assert_eq!(observer.seen.len(), 1);
    }
}
