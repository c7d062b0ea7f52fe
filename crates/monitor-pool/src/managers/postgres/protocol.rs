//! What a session owes, by the messages that pass: frontend/backend protocol version 3.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", sections "Message Flow" and
//! "Message Formats". Of each message only the type, the length and the first nine bytes are looked
//! at: as many as `ROLLBACK` has.

use std::collections::VecDeque;

/// The code in place of a protocol version with which a client asks for TLS or for GSS encryption.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// What `tokio_postgres` sends when a `Transaction` is dropped.
const ROLLBACK: &[u8; BODY] = b"ROLLBACK\0";

/// How many bytes of a message's body are looked at, and of a message without a type.
const BODY: usize = 9;
const START: usize = 4;

/// Follows both directions of one session.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    started: bool,
    /// Bytes of the answer to an encryption request that are still to come; they have no type.
    bare_answers: usize,
    outgoing: Frames,
    incoming: Frames,
    /// What each `ReadyForQuery` to come will answer, oldest first.
    owed: VecDeque<Owed>,
    /// Messages have been sent that no `Sync` has followed yet.
    unsynced: Option<Owed>,
    /// The status of the last `ReadyForQuery`: `I` idle, `T` in a transaction, `E` in a failed one.
    status: u8,
}

/// What a `ReadyForQuery` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// The start of the session, or a simple query.
    Reply,
    /// Messages up to a `Sync`.
    Synced,
    /// The same, of which the server has told already that they have failed: the caller knows, and
    /// outside a transaction nothing is left of them.
    Failed,
    /// Only prepared statements or portals closed, as by dropping a `Statement`: no one waits for
    /// the answer, and it changes nothing for those who come after.
    Closed,
    /// A rollback that no one waits for either; it ends the transaction before anything that is
    /// sent after it.
    Rollback,
}

impl Tracker {
    /// Notes what the client sends.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.outgoing.next(&mut bytes, self.started) {
            match (self.started, frame.kind) {
                (false, _) if frame.asks_for_encryption() => self.bare_answers += 1,
                (false, _) => {
                    self.started = true;
                    self.owed.push_back(Owed::Reply);
                }
                (true, b'Q') if frame.is(ROLLBACK) => self.owed.push_back(Owed::Rollback),
                (true, b'Q' | b'F') => self.owed.push_back(Owed::Reply),
                (true, b'S') => {
                    let group = self.unsynced.take().unwrap_or(Owed::Closed);
                    self.owed.push_back(group);
                }
                (true, b'C') => {
                    self.unsynced.get_or_insert(Owed::Closed);
                }
                // Flush, terminate, and the password of the start.
                (true, b'H' | b'X' | b'p') => {}
                (true, _) => self.unsynced = Some(Owed::Synced),
            }
        }
    }

    /// Notes what the server sends.
    pub(super) fn received(&mut self, mut bytes: &[u8]) {
        let bare = self.bare_answers.min(bytes.len());
        self.bare_answers -= bare;
        bytes = &bytes[bare..];
        while let Some(frame) = self.incoming.next(&mut bytes, true) {
            match frame.kind {
                b'Z' => {
                    // One that nobody waits for, or of another length, is a sign that the two
                    // sides do not mean the same any more.
                    self.incoming.garbled |= self.owed.pop_front().is_none() || frame.length != 1;
                    self.status = frame.body[0];
                }
                b'E' => {
                    if let Some(owed @ Owed::Synced) = self.owed.front_mut() {
                        *owed = Owed::Failed;
                    }
                }
                // The server ignores a `Sync` that it meets while it takes copied data, and there
                // it is now. The client sends another one at the end.
                b'G' => {
                    self.owed.pop_front_if(|owed| *owed == Owed::Synced);
                    self.unsynced = Some(Owed::Synced);
                }
                _ => {}
            }
        }
    }

    /// Is the session idle, outside a transaction or about to leave it, with nothing under way
    /// that anyone could wait for or suffer from?
    pub(super) fn is_quiescent(&self) -> bool {
        let harmless = |owed: &Owed| matches!(owed, Owed::Failed | Owed::Closed | Owed::Rollback);
        (self.status == b'I' || self.owed.contains(&Owed::Rollback))
            && self.owed.iter().all(harmless)
            && self.unsynced.as_ref().is_none_or(harmless)
            && self.outgoing.is_between()
            && !self.incoming.garbled
    }
}

/// The start of a message.
#[derive(Debug)]
struct Frame {
    /// 0 for a message without a type.
    kind: u8,
    /// The first bytes after the length, followed by zeros.
    body: [u8; BODY],
    /// How long the body is in all.
    length: usize,
}

impl Frame {
    fn is(&self, body: &[u8; BODY]) -> bool {
        self.length == BODY && &self.body == body
    }

    fn asks_for_encryption(&self) -> bool {
        let [a, b, c, d, ..] = self.body;
        ENCRYPTION_REQUESTS.contains(&u32::from_be_bytes([a, b, c, d]))
    }
}

/// Cuts a stream of bytes into messages, whatever pieces it comes in.
#[derive(Debug, Default)]
struct Frames {
    /// The message's first bytes, as far as they are looked at.
    head: Vec<u8>,
    /// Bytes of the message that are still to be skipped.
    rest: usize,
    /// The stream makes no sense any more.
    garbled: bool,
}

impl Frames {
    /// Takes bytes off the front of `bytes` until a message is known; `None` when they are used
    /// up. The first message of a client has no type.
    fn next(&mut self, bytes: &mut &[u8], typed: bool) -> Option<Frame> {
        let skipped = self.rest.min(bytes.len());
        self.rest -= skipped;
        *bytes = &bytes[skipped..];
        while !self.garbled {
            if let Some((body_at, length)) = self.header(typed) {
                let shown = length.min(if typed { BODY } else { START });
                if self.head.len() == body_at + shown {
                    let mut body = [0; BODY];
                    body[..shown].copy_from_slice(&self.head[body_at..]);
                    let kind = if typed { self.head[0] } else { 0 };
                    self.rest = length - shown;
                    self.head.clear();
                    return Some(Frame { kind, body, length });
                }
            }
            let (byte, others) = bytes.split_first()?;
            *bytes = others;
            self.head.push(*byte);
        }
        None
    }

    /// Where the body begins and how long it is, once that is known.
    fn header(&mut self, typed: bool) -> Option<(usize, usize)> {
        let length_at = usize::from(typed);
        let length = self.head.get(length_at..)?.first_chunk()?;
        // It counts its own four bytes.
        let body = u32::from_be_bytes(*length).checked_sub(4);
        self.garbled = body.is_none();
        Some((length_at + 4, usize::try_from(body?).ok()?))
    }

    /// Is no message half-way through?
    fn is_between(&self) -> bool {
        self.head.is_empty() && self.rest == 0 && !self.garbled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap() + 4;
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn start(code: u32) -> Vec<u8> {
        [8_u32.to_be_bytes(), code.to_be_bytes()].concat()
    }

    fn ready(status: u8) -> Vec<u8> {
        message(b'Z', &[status])
    }

    /// A session that has been started and is idle.
    fn session() -> Tracker {
        let mut tracker = Tracker::default();
        tracker.sent(&start(196_608));
        assert!(!tracker.is_quiescent());
        tracker.sent(&message(b'p', b"secret"));
        tracker.received(&[message(b'R', &[0; 4]), ready(b'I')].concat());
        assert!(tracker.is_quiescent());
        tracker
    }

    #[test]
    fn a_statement_is_under_way_until_the_server_is_ready() {
        let mut tracker = session();
        for sent in [
            message(b'Q', b"SELECT 1\0"),
            [
                message(b'B', b"..."),
                message(b'E', b"..."),
                message(b'S', b""),
            ]
            .concat(),
        ] {
            tracker.sent(&sent);
            assert!(!tracker.is_quiescent());
            tracker.received(&message(b'C', b"SELECT 1\0"));
            assert!(!tracker.is_quiescent());
            tracker.received(&ready(b'I'));
            assert!(tracker.is_quiescent());
        }
    }

    #[test]
    fn two_statements_one_after_the_other_owe_two_answers() {
        let mut tracker = session();
        tracker.sent(&[message(b'Q', b"a"), message(b'Q', b"b")].concat());
        tracker.received(&ready(b'I'));
        assert!(!tracker.is_quiescent());
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());
    }

    #[test]
    fn a_transaction_is_not_quiescent_failed_or_not() {
        let mut tracker = session();
        for (status, quiescent) in [(b'T', false), (b'E', false), (b'I', true)] {
            tracker.sent(&message(b'Q', b"..."));
            tracker.received(&ready(status));
            assert_eq!(tracker.is_quiescent(), quiescent);
        }
    }

    #[test]
    fn a_rollback_on_its_way_ends_the_transaction_but_not_the_statement_before_it() {
        let mut tracker = session();
        tracker.sent(&message(b'Q', b"BEGIN\0"));
        tracker.received(&ready(b'T'));
        tracker.sent(&message(b'Q', b"ROLLBACK\0"));
        assert!(tracker.is_quiescent());
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());

        for sent in ["SELECT 1\0", "ROLLBACK TO SAVEPOINT s\0"] {
            let mut tracker = session();
            tracker.sent(&message(b'Q', sent.as_bytes()));
            tracker.sent(&message(b'Q', b"ROLLBACK\0"));
            assert!(!tracker.is_quiescent());
        }
        let mut tracker = session();
        tracker.sent(&message(b'Q', b"ROLLBACK\0"));
        tracker.sent(&message(b'Q', b"BEGIN\0"));
        assert!(!tracker.is_quiescent());
    }

    #[test]
    fn after_an_error_only_a_transaction_is_left_to_end() {
        let statement = [message(b'B', b""), message(b'E', b""), message(b'S', b"")].concat();
        let mut tracker = session();
        tracker.sent(&statement);
        tracker.received(&message(b'E', b"SERROR\0\0"));
        assert!(tracker.is_quiescent());
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());
        // Several statements in one query may have begun a transaction before one failed.
        tracker.sent(&message(b'Q', b"BEGIN; SELECT 1/0\0"));
        tracker.received(&message(b'E', b"SERROR\0\0"));
        assert!(!tracker.is_quiescent());
        tracker.received(&ready(b'E'));
        // In a transaction, its rollback is needed too.
        tracker.sent(&statement);
        tracker.received(&message(b'E', b"SERROR\0\0"));
        assert!(!tracker.is_quiescent());
        tracker.sent(&message(b'Q', b"ROLLBACK\0"));
        assert!(tracker.is_quiescent());
    }

    #[test]
    fn closing_a_statement_holds_nobody_up_but_work_without_a_sync_does() {
        let mut tracker = session();
        tracker.sent(&[message(b'C', b"Ss1\0"), message(b'S', b"")].concat());
        assert!(tracker.is_quiescent());
        // Its answer is not taken for that of the statement behind it.
        tracker.sent(&message(b'Q', b"..."));
        tracker.received(&ready(b'I'));
        assert!(!tracker.is_quiescent());
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());
        tracker.sent(&message(b'P', b"..."));
        assert!(!tracker.is_quiescent());
    }

    #[test]
    fn the_sync_before_copied_data_gets_no_answer() {
        let mut tracker = session();
        tracker.sent(&[message(b'B', b""), message(b'E', b""), message(b'S', b"")].concat());
        tracker.received(&message(b'G', b"..."));
        assert!(!tracker.is_quiescent());
        tracker.sent(
            &[
                message(b'd', b"1\n"),
                message(b'c', b""),
                message(b'S', b""),
            ]
            .concat(),
        );
        assert!(!tracker.is_quiescent());
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());
    }

    #[test]
    fn a_refused_encryption_is_answered_by_a_bare_byte() {
        let mut tracker = Tracker::default();
        tracker.sent(&start(80_877_103));
        tracker.received(b"N");
        tracker.sent(&start(196_608));
        tracker.received(&ready(b'I'));
        assert!(tracker.is_quiescent());
    }

    #[test]
    fn the_pieces_in_which_bytes_come_do_not_matter() {
        let sent = [start(196_608), message(b'Q', b"SELECT 1\0")].concat();
        let received = [ready(b'I'), message(b'D', &[7; 30]), message(b'I', b"")].concat();
        let mut tracker = Tracker::default();
        for byte in &sent {
            assert!(!tracker.is_quiescent());
            tracker.sent(&[*byte]);
        }
        for byte in &received {
            tracker.received(&[*byte]);
            assert!(!tracker.is_quiescent());
        }
        for byte in ready(b'I') {
            assert!(!tracker.is_quiescent());
            tracker.received(&[byte]);
        }
        assert!(tracker.is_quiescent());
    }

    #[test]
    fn an_impossible_length_is_never_quiescent_again() {
        let mut tracker = session();
        tracker.received(&[b'Z', 0, 0, 0, 3, b'I']);
        tracker.received(&ready(b'I'));
        assert!(!tracker.is_quiescent());
        // Nor after an answer that nobody has asked for, or one of the wrong length.
        let mut tracker = session();
        tracker.received(&ready(b'I'));
        assert!(!tracker.is_quiescent());
        let mut tracker = session();
        tracker.sent(&message(b'Q', b"..."));
        tracker.received(&message(b'Z', b"I..."));
        assert!(!tracker.is_quiescent());
        // Nor does any other nonsense upset it.
        let mut tracker = Tracker::default();
        tracker.sent(&[0xff; 100]);
        tracker.received(&[0xff; 100]);
        assert!(!tracker.is_quiescent());
    }
}
