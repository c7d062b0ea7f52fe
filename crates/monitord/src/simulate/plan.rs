//! What is to be simulated.

use std::num::NonZeroUsize;
use std::time::Duration;

use monitor_backoff::Policy;
use monitor_core::Settings;
use monitor_scheduler::Saturation;

/// What is to be simulated. Two runs of one plan are the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// How many targets there are.
    pub targets: u32,
    /// For how long.
    pub duration: Duration,
    /// What all chance follows from.
    pub seed: u64,
    /// How many checks may run at once.
    pub max_concurrent: NonZeroUsize,
    /// What happens to a check that is due while that many run.
    pub saturation: Saturation,
    /// How long a check may wait for one of them to end.
    pub max_wait: Option<Duration>,
    /// How the targets are checked, in turns: never none.
    pub templates: Vec<Template>,
    /// Which of what may go wrong does.
    pub trouble: Trouble,
    /// A fault of the prober itself, for the audit to find.
    pub plant: Option<Plant>,
}

/// Which of what may go wrong does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// None but what befalls the targets.
    pub targets_only: bool,
    /// Processes are killed, or ended in order, and started again.
    pub restarts: bool,
    /// The wall clock is set by hours.
    pub clock_steps: bool,
}

impl Trouble {
    /// All of it.
    pub const ALL: Self = Self {
        targets_only: false,
        restarts: true,
        clock_steps: true,
    };

    /// Targets are slow and fail; the machine and the people do nothing.
    pub const CALM: Self = Self {
        targets_only: true,
        restarts: false,
        clock_steps: false,
    };
}

/// How some of the targets are checked.
#[derive(Debug, Clone)]
pub struct Template {
    /// As the core is told.
    pub settings: Settings,
    /// How long the breaker stays open the first time.
    pub recovery: Duration,
    /// Whether these targets matter as much as each other, as the settings say: otherwise three in
    /// twenty matter more than the rest, and three less.
    pub is_one_class: bool,
}

/// A fault of the prober that its kernels exclude: what the audit is there to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Plant {
    /// A key is not armed again.
    LoseTimer,
    /// A missed due time is told to nobody.
    LoseRecord,
    /// A missed due time is told twice.
    TellTwice,
    /// A key is free while its check goes on.
    FreeEarly,
    /// A pause does not fence what is in flight.
    SkipFence,
    /// A breaker admits more trials than its settings say.
    ExtraTrial,
    /// A breaker stays open.
    StayOpen,
    /// The backoff waits less than it should.
    HurryBackoff,
    /// A check that was given up keeps its operation.
    KeepOperation,
    /// At the end of a shutdown nothing is called off.
    NeverEnd,
    /// More checks hold a permit than may.
    ExtraPermits,
    /// Checks wait though a permit is free.
    FewerPermits,
    /// Who matters least goes after all others, however long it has waited.
    PassOver,
    /// A connection is given back by somebody who goes on to use it.
    TwoHolders,
    /// A pool opens more connections than it may.
    ExtraConnections,
    /// A check that has ended keeps its connection.
    KeepConnection,
    /// A restart does not bring a monitor back.
    ForgetMonitor,
    /// After a restart nobody is told of the due times before it.
    LoseAbsence,
    /// After a restart a due time comes again that has its record.
    RepeatDue,
    /// After a restart all that there is starts in the same slot.
    StartAtOnce,
    /// After a restart epochs begin anew.
    ForgetEpochs,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::LoseTimer,
        Self::LoseRecord,
        Self::TellTwice,
        Self::FreeEarly,
        Self::SkipFence,
        Self::ExtraTrial,
        Self::StayOpen,
        Self::HurryBackoff,
        Self::KeepOperation,
        Self::NeverEnd,
        Self::ExtraPermits,
        Self::FewerPermits,
        Self::PassOver,
        Self::TwoHolders,
        Self::ExtraConnections,
        Self::KeepConnection,
        Self::ForgetMonitor,
        Self::LoseAbsence,
        Self::RepeatDue,
        Self::StartAtOnce,
        Self::ForgetEpochs,
    ];

    /// Whether it shows in a restart.
    pub(super) const fn needs_restart(self) -> bool {
        matches!(
            self,
            Self::ForgetMonitor
                | Self::LoseAbsence
                | Self::RepeatDue
                | Self::StartAtOnce
                | Self::ForgetEpochs
        )
    }
}

impl Plan {
    /// Targets that are checked every 60 s by the preset `hardened`, with as many checks at once as
    /// they need while they are well and twice as many again.
    #[must_use]
    pub fn new(targets: u32, duration: Duration, seed: u64) -> Self {
        Self {
            targets,
            duration,
            seed,
            max_concurrent: Self::permits_for(targets),
            saturation: Saturation::Shed { bound: 1024 },
            max_wait: None,
            templates: vec![Template::default()],
            trouble: Trouble::ALL,
            plant: None,
        }
    }

    /// How many checks at once so many targets need at 60 s, with room to spare.
    #[must_use]
    pub fn permits_for(targets: u32) -> NonZeroUsize {
        let permits = usize::try_from(targets / 40).unwrap_or(usize::MAX);
        NonZeroUsize::new(permits.max(20)).unwrap_or(NonZeroUsize::MIN)
    }
}

impl Template {
    /// The longest wait after failures, jitter included.
    pub(super) fn longest_wait(&self) -> Duration {
        *self.backoff().range(u32::MAX, self.settings.interval).end()
    }

    pub(super) fn backoff(&self) -> &Policy {
        &self.settings.backoff
    }
}

impl Default for Template {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            recovery: Duration::from_secs(60),
            is_one_class: false,
        }
    }
}
