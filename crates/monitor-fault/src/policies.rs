//! The policies of all categories together, checked.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::{Category, CategoryPolicy, Then, policy_for};

/// The shortest delay that a policy may name: nothing is tried in a hot loop.
const MIN_DELAY: Duration = Duration::from_millis(100);

/// The longest delay that a policy may name.
const MAX_DELAY: Duration = Duration::from_secs(30 * 86_400);

const MAX_RETRIES: usize = 32;

const MAX_LEVELS: usize = 16;

/// One [`CategoryPolicy`] per category, each with sound numbers.
///
/// Default: [`policy_for`] each.
///
/// ```
/// use std::time::Duration;
/// use monitor_fault::{Category, Policies, Then};
///
/// let mut policies = Policies::default();
/// let mut dns = policies.get(Category::Dns).clone();
/// dns.retries = vec![Duration::from_secs(10)].into();
/// policies.set(dns)?;
///
/// let mut hot = policies.get(Category::Network).clone();
/// hot.then = Then::Every(Duration::ZERO);
/// let error = policies.set(hot).unwrap_err();
/// assert_eq!(error.to_string(), "network: then.every is 0ns, must be from 100ms to 30 days");
/// # Ok::<(), monitor_fault::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// In the order of `Category::ALL`.
    rows: [CategoryPolicy; Category::COUNT],
}

impl Policies {
    /// Returns the policy of `category`.
    #[must_use]
    pub const fn get(&self, category: Category) -> &CategoryPolicy {
        &self.rows[category.index()]
    }

    /// Puts `policy` in the place of its category's. The verdict stays what it is by default: who
    /// is to blame is no matter of taste.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] names the field, its value and the range. The policies are unchanged then.
    pub fn set(&mut self, policy: CategoryPolicy) -> Result<(), PolicyError> {
        check(&policy).map_err(|problem| PolicyError {
            category: policy.category,
            problem,
        })?;
        let place = &mut self.rows[policy.category.index()];
        let verdict = place.verdict;
        *place = CategoryPolicy { verdict, ..policy };
        Ok(())
    }

    /// Returns the policies in the order of [`Category::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &CategoryPolicy> {
        self.rows.iter()
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            rows: std::array::from_fn(|index| policy_for(Category::ALL[index])),
        }
    }
}

/// A policy with a number that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{category}: {problem}")]
pub struct PolicyError {
    category: Category,
    problem: Problem,
}

impl PolicyError {
    /// Returns the category whose policy it is.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Delay {
        field: String,
        given: Duration,
    },
    TooMany {
        field: &'static str,
        given: usize,
        max: usize,
    },
    TooLate {
        field: String,
        given: Duration,
    },
    NoFailure {
        field: String,
    },
    Falls {
        field: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay { field, given } => {
                write!(f, "{field} is {given:?}, must be from 100ms to 30 days")
            }
            Self::TooMany { field, given, max } => {
                write!(f, "{field} has {given} entries, may have {max} at most")
            }
            Self::TooLate { field, given } => {
                write!(f, "{field} is {given:?}, must be 30 days at most")
            }
            Self::NoFailure { field } => write!(f, "{field} is 0, must be 1 at least"),
            Self::Falls { field } => {
                write!(f, "{field} is less than the one before, must never fall")
            }
        }
    }
}

fn check(policy: &CategoryPolicy) -> Result<(), Problem> {
    let delay = |field: &dyn Fn() -> String, given: Duration| {
        let sound = (MIN_DELAY..=MAX_DELAY).contains(&given);
        sound.then_some(()).ok_or_else(|| Problem::Delay {
            field: field(),
            given,
        })
    };
    at_most("retries", policy.retries.len(), MAX_RETRIES)?;
    for (index, retry) in policy.retries.iter().enumerate() {
        delay(&|| format!("retries[{index}]"), *retry)?;
    }
    if let Then::Every(every) = policy.then {
        delay(&|| "then.every".into(), every)?;
    }
    if policy.asked_at_most > MAX_DELAY {
        return Err(Problem::TooLate {
            field: "asked_at_most".into(),
            given: policy.asked_at_most,
        });
    }
    at_most("alerts", policy.alerts.len(), MAX_LEVELS)?;
    let mut before = (1, Duration::ZERO);
    for (index, step) in policy.alerts.iter().enumerate() {
        let field = |name: &str| format!("alerts[{index}].{name}");
        if step.failures == 0 {
            return Err(Problem::NoFailure {
                field: field("failures"),
            });
        }
        if step.after > MAX_DELAY {
            return Err(Problem::TooLate {
                field: field("after"),
                given: step.after,
            });
        }
        if step.failures < before.0 {
            return Err(Problem::Falls {
                field: field("failures"),
            });
        }
        if step.after < before.1 {
            return Err(Problem::Falls {
                field: field("after"),
            });
        }
        before = (step.failures, step.after);
    }
    Ok(())
}

fn at_most(field: &'static str, given: usize, max: usize) -> Result<(), Problem> {
    if given > max {
        return Err(Problem::TooMany { field, given, max });
    }
    Ok(())
}
