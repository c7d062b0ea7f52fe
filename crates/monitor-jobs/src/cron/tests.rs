//! Ordinary days, days on which clocks change, and years without any node.

use super::*;

fn ticks(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let cron: Cron = cron.parse().unwrap();
    let cron = cron.in_zone(zone).unwrap();
    let from: Timestamp = from.parse().unwrap();
    let next = |at: &i64| cron.next_after(*at);
    let ticks = std::iter::successors(next(&from.as_millisecond()), next);
    let shown = |at| Timestamp::from_millisecond(at).unwrap().to_string();
    ticks.take(count).map(shown).collect()
}

/// JOB-37, R5: ordinary days.
#[test]
fn fields_lists_ranges_steps_names() {
    let from = "2024-02-27T23:59:59Z";
    assert_eq!(
        ticks("0 12 29 feb *", "UTC", from, 2),
        ["2024-02-29T12:00:00Z", "2028-02-29T12:00:00Z"]
    );
    assert_eq!(
        ticks("*/25 1,3 * * *", "UTC", from, 4)[1..],
        [
            "2024-02-28T01:25:00Z",
            "2024-02-28T01:50:00Z",
            "2024-02-28T03:00:00Z"
        ]
    );
    assert_eq!(
        ticks("0 0 1 * mon", "UTC", from, 2)[0],
        "2024-03-01T00:00:00Z"
    );
    assert_eq!(
        ticks("0 0 1 * mon", "UTC", from, 2)[1],
        "2024-03-04T00:00:00Z"
    );
    assert_eq!(
        ticks("@weekly", "UTC", from, 1),
        ticks("0 0 * * 7", "UTC", from, 1)
    );
    assert_eq!(
        ticks("0 0 31 * *", "UTC", from, 2)[1],
        "2024-05-31T00:00:00Z"
    );
}

/// R5: at the end of March an hour is skipped: its ticks come once, not never and not twice.
#[test]
fn a_skipped_hour_runs_once() {
    let from = "2025-03-30T00:00:00Z"; // 01:00 in Berlin; at 02:00 it becomes 03:00.
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", from, 2),
        ["2025-03-30T01:30:00Z", "2025-03-31T00:30:00Z"]
    );
    assert_eq!(
        ticks("30 * * * *", "Europe/Berlin", from, 3),
        [
            "2025-03-30T00:30:00Z",
            "2025-03-30T01:30:00Z",
            "2025-03-30T02:30:00Z"
        ]
    );
}

/// R5: at the end of October an hour comes twice: its ticks come once.
#[test]
fn a_doubled_hour_runs_once() {
    let from = "2025-10-25T23:00:00Z"; // 01:00 in Berlin; at 03:00 it becomes 02:00.
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", from, 2),
        ["2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z"]
    );
    assert_eq!(
        ticks("30 * * * *", "Europe/Berlin", from, 3),
        [
            "2025-10-25T23:30:00Z",
            "2025-10-26T00:30:00Z",
            "2025-10-26T02:30:00Z"
        ]
    );
}

/// R5: after a time without nodes the latest missed ticks are made up for, in their order.
#[test]
fn missed_ticks() {
    let cron: Cron = "@hourly".parse().unwrap();
    let hour = 3_600_000;
    assert_eq!(cron.missed(0, 10 * hour, 2), [9 * hour, 10 * hour]);
    assert_eq!(cron.missed(10 * hour, 11 * hour - 1, 2), [0_i64; 0]);
}

/// R5: after years without nodes the ticks that are made up for are the latest ones all the same,
/// and looking for them does not go through all that were missed.
#[test]
fn a_long_outage_yields_the_latest_ticks_and_few_searches() {
    let (minute, year) = (60_000, 365 * 86_400_000);
    let minutely: Cron = "* * * * *".parse().unwrap();
    let now = 30 * year;
    assert_eq!(
        minutely.missed(0, now + 1, 3),
        [now - 2 * minute, now - minute, now]
    );
    // A month of minutes in each year.
    for (text, latest) in [
        ("* * * * *", "2024-06-30T12:00:00Z"),
        ("* * * jan *", "2024-01-31T23:59:00Z"),
        ("0 0 29 feb *", "2024-02-29T00:00:00Z"),
        ("0 0 * * mon", "2024-06-24T00:00:00Z"),
    ] {
        let cron: Cron = text.parse().unwrap();
        let now: Timestamp = "2024-06-30T12:00:30Z".parse().unwrap();
        let searches = std::cell::Cell::new(0);
        let next = |at| {
            searches.set(searches.get() + 1);
            cron.next_after(at)
        };
        for last in [0, i64::MIN] {
            let found = super::latest(next, last, now.as_millisecond()).unwrap();
            let found = Timestamp::from_millisecond(found).unwrap().to_string();
            assert_eq!(found, latest, "{text}");
        }
        assert!(searches.get() < 200, "{text}: {} searches", searches.get());
    }
    assert_eq!(minutely.missed(0, i64::MAX, 1).len(), 1);
    assert_eq!(minutely.missed(now, now - 1, 1), [0_i64; 0]);
}

/// R5: the ticks that are made up for are those that would have come, also where clocks change.
#[test]
fn missed_ticks_are_those_that_would_have_come() {
    let hour = 3_600_000;
    for zone in ["UTC", "Europe/Berlin", "Australia/Lord_Howe"] {
        for text in [
            "*/20 * * * *",
            "30 2 * * *",
            "0 3 * 3,10 sun",
            "59 1-3 26-31 * *",
        ] {
            let cron: Cron = text.parse().unwrap();
            let cron = cron.in_zone(zone).unwrap();
            let begin: Timestamp = "2025-03-29T00:00:00Z".parse().unwrap();
            let begin = begin.as_millisecond();
            let ticks = std::iter::successors(cron.next_after(begin), |at| cron.next_after(*at));
            let ticks: Vec<i64> = ticks
                .take_while(|tick| *tick <= begin + 240 * hour)
                .collect();
            for (last, now) in [(0, 240), (7, 49), (20, 31), (100, 239)] {
                let (last, now) = (begin + last * hour, begin + now * hour);
                let within = ticks.iter().filter(|tick| (last + 1..=now).contains(*tick));
                let within: Vec<i64> = within.copied().collect();
                for most in [1, 5, 1000] {
                    let latest = &within[within.len().saturating_sub(most)..];
                    assert_eq!(cron.missed(last, now, most), latest, "{text} in {zone}");
                }
            }
        }
    }
}

/// What is no schedule is refused, with what would be right.
#[test]
fn what_is_no_schedule() {
    for bad in [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1,,2 * * * *",
        "0 0 30 2 *",
        "+1 * * * *",
    ] {
        assert!(bad.parse::<Cron>().is_err(), "{bad:?}");
    }
    let refusal = "61 * * * *".parse::<Cron>().unwrap_err().to_string();
    assert!(
        refusal.contains("minute \"61\"") && refusal.contains("0 to 59"),
        "{refusal}"
    );
    let cron: Cron = "@daily".parse().unwrap();
    assert!(cron.clone().in_zone("Mars/Olympus").is_err());
    assert_eq!(cron.next_after(i64::MAX), None);
}
