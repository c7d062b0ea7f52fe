//! The live stream: frames are made once and shared by all who listen.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use monitor_model::{Event, EventKind, MonitorId};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::app::unix_ms_now;

/// How many frames a reader may lie behind before it is told to read the page anew.
const BACKLOG: usize = 1024;

/// Sent to a reader who missed something: what it shows is to be read anew.
pub(super) const RESYNC: Bytes = Bytes::from_static(b"event: resync\ndata: {}\n\n");
/// Sent now and then, so that a broken connection is noticed on both sides.
pub(super) const BEAT: Bytes = Bytes::from_static(b": beat\n\n");

/// One message of the stream, ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The event it tells of. Nothing for frames that belong to no single one.
    pub(super) sequence: Option<u64>,
    pub(super) bytes: Bytes,
}

/// A place in the stream: the process and the event in it. Sequences begin anew with every process,
/// so the process is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    process: i64,
    pub(super) sequence: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.process, self.sequence)
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (process, sequence) = text.split_once('-').ok_or(())?;
        let process = process.parse().map_err(drop)?;
        Ok(Self {
            process,
            sequence: sequence.parse().map_err(drop)?,
        })
    }
}

impl Place {
    /// A place of which nothing is left.
    pub(super) const GONE: Self = Self {
        process: 0,
        sequence: 0,
    };
}

/// A reader's view of the stream.
#[derive(Debug)]
pub(super) struct Reader {
    /// What is to be sent first.
    pub(super) replay: VecDeque<Frame>,
    /// Events up to this one are in `replay` or known to the reader.
    pub(super) from: u64,
    pub(super) frames: broadcast::Receiver<Frame>,
}

/// What happened since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Monitors whose rows are to be made anew.
    pub(super) rows: HashSet<MonitorId>,
    /// Whether rows came or went.
    pub(super) is_other_list: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.is_other_list
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Live {
    process: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last event.
    sequence: u64,
    /// The last frames of events, for readers that come back.
    replay: VecDeque<Frame>,
    changes: Changes,
    known: HashSet<MonitorId>,
    /// `None` when the stream has ended.
    frames: Option<broadcast::Sender<Frame>>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            process: unix_ms_now(),
            state: Mutex::new(State {
                sequence: 0,
                replay: VecDeque::new(),
                changes: Changes::default(),
                known: HashSet::new(),
                frames: Some(broadcast::Sender::new(BACKLOG)),
            }),
        }
    }
}

impl Live {
    /// Takes an event in. Never waits.
    pub(super) fn event(&self, event: &Event) {
        let frame = self.frame(event);
        let mut state = self.lock();
        state.sequence = event.sequence;
        state.note(&event.kind);
        state.replay.push_back(frame.clone());
        if state.replay.len() > BACKLOG {
            state.replay.pop_front();
        }
        let frames = state.frames.clone();
        drop(state);
        if let Some(frames) = frames {
            // Fails only when nobody listens.
            let _ = frames.send(frame);
        }
    }

    fn frame(&self, event: &Event) -> Frame {
        let (name, data) = told(event);
        let place = self.place(event.sequence);
        let bytes = Bytes::from(format!("id: {place}\nevent: {name}\ndata: {data}\n\n"));
        Frame {
            sequence: Some(event.sequence),
            bytes,
        }
    }

    /// What happened since the last call.
    pub(super) fn take_changes(&self) -> Changes {
        mem::take(&mut self.lock().changes)
    }

    /// Sends a frame that belongs to no single event.
    pub(super) fn send(&self, bytes: Bytes) {
        let frames = self.lock().frames.clone();
        if let Some(frames) = frames {
            let _ = frames.send(Frame {
                sequence: None,
                bytes,
            });
        }
    }

    /// How many listen.
    pub(super) fn readers(&self) -> usize {
        self.lock()
            .frames
            .as_ref()
            .map_or(0, broadcast::Sender::receiver_count)
    }

    /// The place after the last event.
    pub(super) fn now(&self) -> Place {
        self.place(self.lock().sequence)
    }

    /// Joins the stream after `known`, or at its end. A reader that has missed anything gets the
    /// events that are still at hand and is told to read the page anew. `None` when the stream has
    /// ended.
    pub(super) fn join(&self, known: Option<Place>) -> Option<Reader> {
        let state = self.lock();
        let frames = state.frames.as_ref()?.subscribe();
        let mut replay = VecDeque::new();
        if let Some(known) = known.filter(|known| *known != self.place(state.sequence)) {
            if known.process == self.process {
                let is_new = |frame: &&Frame| frame.sequence > Some(known.sequence);
                replay.extend(state.replay.iter().filter(is_new).cloned());
            }
            replay.push_back(Frame {
                sequence: None,
                bytes: RESYNC,
            });
        }
        Some(Reader {
            replay,
            from: state.sequence,
            frames,
        })
    }

    /// Ends the stream for everybody.
    pub(super) fn close(&self) {
        let frames = self.lock().frames.take();
        drop(frames);
    }

    const fn place(&self, sequence: u64) -> Place {
        Place {
            process: self.process,
            sequence,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes what is to be shown anew.
    fn note(&mut self, kind: &EventKind) {
        let Some(monitor) = kind.monitor() else {
            return;
        };
        match kind {
            EventKind::Deleted { .. } => {
                self.known.remove(monitor);
                self.changes.rows.remove(monitor);
                self.changes.is_other_list = true;
                return;
            }
            EventKind::Defined { .. } => {
                self.changes.is_other_list |= self.known.insert(monitor.clone());
            }
            _ => {}
        }
        self.changes.rows.insert(monitor.clone());
    }
}

/// An event as programs read it: its name and its data.
fn told(event: &Event) -> (&'static str, Value) {
    let mut data = Map::new();
    let name = match &event.kind {
        EventKind::Committed {
            record,
            changed_from,
            ..
        } => {
            data = super::api::record_json(record);
            data.insert("changed".to_owned(), json!(changed_from.is_some()));
            if let Some(from) = changed_from {
                data.insert("changed_from".to_owned(), json!(from));
            }
            "result"
        }
        EventKind::Fenced { cause, .. } => {
            data.insert("cause".to_owned(), json!(cause.as_str()));
            "fenced"
        }
        EventKind::Defined { epoch, .. } => {
            data.insert("epoch".to_owned(), json!(epoch.get()));
            "defined"
        }
        EventKind::Lifecycle {
            lifecycle, epoch, ..
        } => {
            data.insert("lifecycle".to_owned(), json!(lifecycle));
            data.insert("epoch".to_owned(), json!(epoch.get()));
            "lifecycle"
        }
        EventKind::Flapping {
            is_flapping,
            percent,
            ..
        } => {
            data.insert("flapping".to_owned(), json!(is_flapping));
            data.insert("changes_percent".to_owned(), json!(percent));
            "flapping"
        }
        EventKind::Deleted { .. } => "deleted",
        EventKind::Pool { pool, change } => {
            data.insert("pool".to_owned(), json!(pool));
            data.insert("change".to_owned(), json!(change.as_str()));
            if let Some(detail) = change.detail() {
                data.insert("detail".to_owned(), json!(detail));
            }
            "pool"
        }
        EventKind::Pressure {
            source,
            from,
            to,
            detail,
        } => {
            data.insert("source".to_owned(), json!(source));
            data.insert("from".to_owned(), json!(from));
            data.insert("to".to_owned(), json!(to));
            data.insert("detail".to_owned(), json!(detail));
            "pressure"
        }
        _ => "other",
    };
    data.insert("sequence".to_owned(), json!(event.sequence));
    if let Some(monitor) = event.kind.monitor() {
        data.insert("monitor".to_owned(), json!(monitor));
    }
    (name, Value::Object(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_core::operation::Epoch;
    use monitor_model::{Lifecycle, Observation, Outcome, Phases, Record, Status};

    fn id() -> MonitorId {
        "a".parse().unwrap()
    }

    fn committed(sequence: u64) -> Event {
        let epoch = Epoch::new(1);
        let due = i64::try_from(sequence).unwrap() * 1000;
        let record = Record::observed(id(), epoch, due, Observation::up(), Phases::default());
        let status = Box::new(Status::new(id(), Lifecycle::Active, epoch));
        let changed_from = (sequence == 1).then_some(Some(Outcome::Down));
        let record = Box::new(record);
        Event {
            sequence,
            kind: EventKind::Committed {
                record,
                status,
                changed_from,
            },
        }
    }

    fn text(frame: &Frame) -> &str {
        std::str::from_utf8(&frame.bytes).unwrap()
    }

    /// OPS-33, OPS-35: a result is told with its sequence, and a change says what it was before.
    #[test]
    fn a_result_is_one_frame_for_all_readers() {
        let live = Live::default();
        let mut readers = [live.join(None).unwrap(), live.join(None).unwrap()];
        live.event(&committed(1));
        let frames = readers
            .each_mut()
            .map(|reader| reader.frames.try_recv().unwrap());
        assert_eq!(
            frames[0].bytes.as_ptr(),
            frames[1].bytes.as_ptr(),
            "made once"
        );
        let text = text(&frames[0]);
        assert!(text.starts_with(&format!("id: {}-1\nevent: result\ndata: {{", live.process)));
        assert!(text.ends_with("}\n\n"));
        let (_, data) = text.trim_end().split_once("data: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["monitor"], "a");
        assert_eq!(data["due_unix_ms"], 1000);
        assert_eq!(data["outcome"], "up");
        assert_eq!(
            (&data["changed"], &data["changed_from"]),
            (&json!(true), &json!("down"))
        );
    }

    /// OPS-34: who comes back gets what it missed, or is told that it missed something.
    #[test]
    fn a_reader_that_comes_back_gets_what_it_missed() {
        let live = Live::default();
        for sequence in 1..=5 {
            live.event(&committed(sequence));
        }
        let reader = live.join(Some(live.place(3))).unwrap();
        let sequences: Vec<_> = reader.replay.iter().map(|frame| frame.sequence).collect();
        assert_eq!(sequences, [Some(4), Some(5), None]);
        assert_eq!(reader.replay.back().unwrap().bytes, RESYNC);
        assert!(
            live.join(Some(live.now())).unwrap().replay.is_empty(),
            "nothing missed"
        );
        let other = Place {
            process: live.process - 1,
            sequence: 5,
        };
        let reader = live.join(Some(other)).unwrap();
        assert_eq!(
            reader.replay.len(),
            1,
            "of another process: only the page helps"
        );
        assert_eq!(live.now().to_string().parse(), Ok(live.now()));
        assert_eq!("7".parse::<Place>(), Err(()));
    }

    #[test]
    fn changes_are_collected_until_they_are_taken() {
        let live = Live::default();
        let defined = EventKind::Defined {
            monitor: id(),
            epoch: Epoch::new(1),
        };
        live.event(&Event {
            sequence: 1,
            kind: defined.clone(),
        });
        assert!(live.take_changes().is_other_list);
        live.event(&committed(2));
        live.event(&committed(3));
        live.event(&Event {
            sequence: 4,
            kind: defined,
        });
        let changes = live.take_changes();
        assert_eq!(
            (changes.rows.len(), changes.is_other_list),
            (1, false),
            "an edit keeps the list"
        );
        live.event(&Event {
            sequence: 5,
            kind: EventKind::Deleted { monitor: id() },
        });
        let changes = live.take_changes();
        assert_eq!((changes.rows.len(), changes.is_other_list), (0, true));
        assert_eq!(live.take_changes().rows.len(), 0);
    }

    #[test]
    fn the_stream_ends_for_everybody() {
        let live = Live::default();
        let mut reader = live.join(None).unwrap();
        live.close();
        live.event(&committed(1));
        assert_eq!(
            reader.frames.try_recv().unwrap_err(),
            broadcast::error::TryRecvError::Closed
        );
        assert!(live.join(None).is_none());
    }
}
