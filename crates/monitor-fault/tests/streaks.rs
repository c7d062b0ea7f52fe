//! Failures in a row per category, and what a switch of category does to them.

use std::time::Duration;

use monitor_backoff::Verdict;
use monitor_fault::{Category, CategoryStreaks, Fault, Layer, OnSwitch, Policies, Reason};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn count(policies: &Policies, failures: &[Category]) -> Vec<u32> {
    let mut streaks = CategoryStreaks::new();
    let count = |category: &Category| streaks.failure(*category, policies);
    failures.iter().map(count).collect()
}

/// ROB-97: a switch of category keeps the count or starts it anew, as its policy says.
#[test]
fn a_switch_keeps_or_resets() {
    use Category::{Dns, Network, Timeout};
    let failures = [Network, Network, Dns, Network, Timeout, Dns];
    let mut policies = Policies::default();
    assert_eq!(count(&policies, &failures), [1, 2, 1, 3, 1, 2]);

    let mut network = policies.get(Network).clone();
    network.on_switch = OnSwitch::Reset;
    policies.set(network).expect("a sound policy");
    assert_eq!(count(&policies, &failures), [1, 2, 1, 1, 1, 2]);
}

/// ROB-97, C9: a success ends all counts; a check that was called off is neither success nor
/// failure.
#[test]
fn what_ends_a_count() {
    let policies = Policies::default();
    let mut streaks = CategoryStreaks::new();
    streaks.failure(Category::Network, &policies);
    streaks.failure(Category::Dns, &policies);
    let before = streaks;
    assert_eq!(streaks.failure(Category::Cancelled, &policies), 0);
    assert_eq!(streaks, before);
    assert_eq!(streaks.last(), Some(Category::Dns));
    assert_eq!(streaks.of(Category::Network), 1);
    streaks.success();
    assert_eq!(streaks, CategoryStreaks::new());
}

/// ROB-56, ROB-59, ROB-60: what a check came to says how long to wait: a failure as its category
/// says, a success and a check that was called off nothing; and a success begins anew.
#[test]
fn what_a_check_came_to_says_how_long_to_wait() {
    let (policies, minute) = (Policies::default(), Duration::from_secs(60));
    let refused = Fault::new(Layer::Response, Reason::Unauthorized);
    let invalid = Fault::new(Layer::Config, Reason::Invalid);
    let slow = Fault::new(Layer::Assertion, Reason::Slow);
    let mut streaks = CategoryStreaks::new();
    let mut wait = |verdict, fault| streaks.wait_after(verdict, fault, &policies, minute);
    assert_eq!(wait(Verdict::Failure, Some(&refused)), Some(minute));
    assert_eq!(wait(Verdict::Ignore, None), None, "called off");
    let hourly = Some(Duration::from_secs(3600));
    assert_eq!(wait(Verdict::Failure, Some(&refused)), hourly);
    assert_eq!(
        wait(Verdict::Success, Some(&slow)),
        None,
        "degraded is well"
    );
    assert_eq!(wait(Verdict::Failure, Some(&refused)), Some(minute));
    let suspended = Some(CategoryStreaks::SUSPENDED);
    assert_eq!(wait(Verdict::Ignore, Some(&invalid)), suspended);
}

fn category() -> impl Strategy<Value = Category> {
    (0..Category::ALL.len()).prop_map(|index| Category::ALL[index])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// ROB-51, ROB-58: however the categories alternate, an outage has no more looks before their
    /// time than retries are listed.
    #[test]
    fn alternating_categories_do_not_restart_the_retries(
        failures in proptest::collection::vec(category(), 0..200),
    ) {
        let policies = Policies::default();
        let mut streaks = CategoryStreaks::new();
        let mut early = 0;
        for category in failures {
            let count = streaks.failure(category, &policies);
            let delay = policies.get(category).delay(count, MINUTE);
            early += usize::from(delay.is_some_and(|delay| delay < MINUTE));
        }
        let listed: usize = policies.iter().map(|policy| policy.retries.len()).sum();
        prop_assert!(early <= listed, "{early} of {listed}");
    }

    /// ROB-59: however other failures come in between, credentials are refused twice in any hour
    /// at most: a prober must not lock an account.
    #[test]
    fn an_account_is_not_locked_by_failures_in_between(
        failures in proptest::collection::vec(category(), 0..200),
    ) {
        let policies = Policies::default();
        let mut streaks = CategoryStreaks::new();
        let mut now = Duration::ZERO;
        let mut refused = Vec::new();
        // A suspended check comes back when somebody acts, which may be at once.
        for category in failures.into_iter().filter(|c| *c != Category::Configuration) {
            if category == Category::Authentication {
                refused.push(now);
            }
            let count = streaks.failure(category, &policies);
            now += policies.get(category).delay(count, Duration::from_secs(1)).unwrap_or_default();
        }
        for hour in refused.windows(3) {
            prop_assert!(hour[2] - hour[0] >= Duration::from_secs(3600), "{refused:?}");
        }
    }
}
