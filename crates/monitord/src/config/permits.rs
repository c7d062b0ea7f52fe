//! What becomes of a check that is due while as many run as may.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use monitor_scheduler::Saturation;

use super::file::PROBES;
use super::policy::PolicyKeys;
use super::problem::Problem;
use super::reader::Reader;

/// How many checks may wait.
const WAITING: RangeInclusive<u64> = 1..=1_000_000;
/// As many as the presets have that let checks wait.
const WAITING_DEFAULT: usize = 1024;
/// How long one may wait.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The keys in `[limits]`. Each absent one is as the preset of `[defaults]` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PermitKeys {
    without_permit: Option<WithoutPermit>,
    max_waiting: Option<usize>,
    max_wait: Option<Duration>,
}

/// `without_permit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithoutPermit {
    Skip,
    Queue,
    Shed,
}

impl WithoutPermit {
    const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::Shed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Shed => "shed",
        }
    }
}

impl PermitKeys {
    pub(super) const NAMES: [&str; 3] = ["without_permit", "max_waiting", "max_wait"];

    /// Reads the keys; those that `policy` leaves without a meaning are problems.
    pub(super) fn read(reader: &mut Reader<'_, '_>, policy: &PolicyKeys) -> Self {
        let [without_permit, max_waiting, max_wait] = Self::NAMES;
        let keys = Self {
            without_permit: reader.text(without_permit, "queue, skip, shed", |text| {
                let known = WithoutPermit::ALL.into_iter();
                let found = known.into_iter().find(|one| one.as_str() == text);
                found.ok_or_else(|| "is none of them".to_owned())
            }),
            max_waiting: reader
                .integer(max_waiting, WAITING)
                .and_then(|count| usize::try_from(count).ok()),
            max_wait: reader.duration(max_wait, WAIT),
        };
        if keys.saturation(policy) == Saturation::Skip {
            let by = match keys.without_permit {
                Some(_) => "`without_permit` is \"skip\"".to_owned(),
                None => format!("preset `{}` skips it", policy.preset_name()),
            };
            for key in [max_waiting, max_wait] {
                if reader.has(key) {
                    let what = format!("has no meaning where no check waits, and {by}");
                    let problem = Problem::new(reader.place_of(key), reader.key(key), what);
                    let problem = problem.allowed("with without_permit = \"queue\" or \"shed\"");
                    reader.problems().push(problem);
                }
            }
        }
        keys
    }

    /// What becomes of a check that is due while all permits are taken.
    pub(super) fn saturation(&self, policy: &PolicyKeys) -> Saturation {
        let of_preset = policy.scheduler().saturation;
        let (kind, bound) = match of_preset {
            Saturation::Queue { bound } => (WithoutPermit::Queue, bound),
            Saturation::Shed { bound } => (WithoutPermit::Shed, bound),
            _ => (WithoutPermit::Skip, WAITING_DEFAULT),
        };
        let bound = self.max_waiting.unwrap_or(bound);
        match self.without_permit.unwrap_or(kind) {
            WithoutPermit::Skip => Saturation::Skip,
            WithoutPermit::Queue => Saturation::Queue { bound },
            WithoutPermit::Shed => Saturation::Shed { bound },
        }
    }

    /// How long it may wait. `None`: for as long as it takes.
    pub(super) fn max_wait(&self, policy: &PolicyKeys) -> Option<Duration> {
        match self.saturation(policy) {
            Saturation::Skip => None,
            _ => self.max_wait.or(policy.scheduler().max_wait),
        }
    }

    /// What the file says, in the order of the names.
    pub(super) fn given(&self) -> [Option<String>; 3] {
        [
            self.without_permit.map(|it| it.as_str().to_owned()),
            self.max_waiting.map(|it| it.to_string()),
            self.max_wait.map(super::format_duration),
        ]
    }

    /// What holds where nothing is said, in the order of the names.
    pub(super) fn of_preset(&self, policy: &PolicyKeys) -> [String; 3] {
        let none = || "none".to_owned();
        let (kind, bound) = match self.saturation(policy) {
            Saturation::Queue { bound } => (WithoutPermit::Queue, Some(bound)),
            Saturation::Shed { bound } => (WithoutPermit::Shed, Some(bound)),
            _ => (WithoutPermit::Skip, None),
        };
        let wait = self.max_wait(policy);
        [
            kind.as_str().to_owned(),
            bound.map_or_else(none, |bound| bound.to_string()),
            wait.map_or_else(none, super::format_duration),
        ]
    }
}

/// How many checks may run at once by a preset. One without a limit gets the highest that there is
/// here.
pub(super) fn max_concurrent(policy: &PolicyKeys) -> NonZeroUsize {
    let most = usize::try_from(*PROBES.end()).unwrap_or(usize::MAX);
    let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
    policy.scheduler().max_concurrent.min(most)
}
