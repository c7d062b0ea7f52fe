//! The check itself: what a probe is given, and what it says.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use monitor_fault::{Blame, Fault, Layer};
use monitor_operation::Cancellation;

use crate::{Footprint, Outcome, Resources};

/// Something that can be checked. One implementation per protocol, one value per target.
///
/// A probe decides nothing about schedules, retries, breakers or storage, and never sees the
/// operation that its result will be committed under: it looks once and says what it saw.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// The protocol in one lower-case word, such as `http`: a metric label.
    fn kind(&self) -> &'static str;

    /// The target as shown to people. No secrets.
    fn target(&self) -> String;

    /// Looks once.
    ///
    /// It reports each finished phase to [`ProbeContext::progress`], so that a check that is cut
    /// off at its deadline still says how far it came. It need not watch the deadline: the caller
    /// drops the future there.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when its operation is called off or its time is up. An implementation
    /// leaves no task and no connection behind when that happens.
    async fn check(&self, context: &ProbeContext) -> Observation;
}

/// What a probe is given for one check.
#[derive(Debug, Clone)]
pub struct ProbeContext {
    /// How long the check may take in all.
    pub timeout: Duration,
    /// Resolves when the check is called off. Only for work that dropping cannot stop.
    pub cancellation: Cancellation,
    /// Where the probe reports how far it is.
    pub progress: Progress,
    /// What probes share: pools of connections, say.
    pub resources: Resources,
    /// Where the probe accounts for what it keeps in memory, such as a body.
    pub footprint: Footprint,
}

/// What a probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The verdict.
    pub finding: Finding,
    /// A short line for people, such as `200 OK, 1.2 kB`.
    pub note: Option<String>,
}

/// The verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Up,
    /// It answers, but not as well as it should.
    Degraded(Fault),
    /// It fails.
    Down(Fault),
    /// The prober failed.
    Unknown(Fault),
}

impl Finding {
    /// The finding that a fault amounts to: unknown when the prober is to blame, else down.
    #[must_use]
    pub fn from_fault(fault: Fault) -> Self {
        if fault.blame() == Blame::Prober {
            Self::Unknown(fault)
        } else {
            Self::Down(fault)
        }
    }

    /// The outcome it is recorded as.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Up => Outcome::Up,
            Self::Degraded(_) => Outcome::Degraded,
            Self::Down(_) => Outcome::Down,
            Self::Unknown(_) => Outcome::Unknown,
        }
    }

    /// The fault behind it, if it has one.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Up => None,
            Self::Degraded(fault) | Self::Down(fault) | Self::Unknown(fault) => Some(fault),
        }
    }
}

impl Observation {
    /// All is well.
    #[must_use]
    pub const fn up() -> Self {
        Self {
            finding: Finding::Up,
            note: None,
        }
    }

    /// A fault: unknown when the prober is to blame, else down.
    #[must_use]
    pub fn fault(fault: Fault) -> Self {
        Self {
            finding: Finding::from_fault(fault),
            note: None,
        }
    }

    /// It answers, but not as well as it should.
    #[must_use]
    pub const fn degraded(fault: Fault) -> Self {
        Self {
            finding: Finding::Degraded(fault),
            note: None,
        }
    }

    /// The same with a line for people.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// A timed part of a check, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Name to address.
    Resolve,
    /// Transport handshake.
    Connect,
    /// TLS handshake.
    Tls,
    /// Request sent until the first byte of the answer.
    FirstByte,
    /// First byte until the end of the answer.
    Transfer,
}

impl Phase {
    /// All phases in their order.
    pub const ALL: [Self; 5] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::FirstByte,
        Self::Transfer,
    ];

    /// The name in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::FirstByte => "first_byte",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long each phase took. A phase that did not happen, or did not end, is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases(pub(crate) [Option<Duration>; Phase::ALL.len()]);

impl Phases {
    /// How long `phase` took.
    #[must_use]
    pub const fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Sets how long `phase` took.
    pub const fn set(&mut self, phase: Phase, took: Duration) {
        self.0[phase as usize] = Some(took);
    }

    /// The phases that ended, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL
            .into_iter()
            .filter_map(|phase| Some((phase, self.get(phase)?)))
    }

    /// The sum of all phases that ended.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.iter()
            .map(|(_, took)| took)
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// How far a check is, shared by the probe that does it and the caller that may cut it off.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<(Option<Layer>, Phases)>>);

impl Progress {
    /// The probe now works at `layer`: named in the fault if the check is cut off here.
    pub fn enter(&self, layer: Layer) {
        self.lock().0 = Some(layer);
    }

    /// `phase` ended and took this long.
    pub fn record(&self, phase: Phase, took: Duration) {
        self.lock().1.set(phase, took);
    }

    /// The layer that was last entered.
    #[must_use]
    pub fn layer(&self) -> Option<Layer> {
        self.lock().0
    }

    /// The phases that ended so far.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.lock().1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Layer>, Phases)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
