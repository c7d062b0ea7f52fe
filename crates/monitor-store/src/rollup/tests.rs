//! Horizons, marks and answers.

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Finding, Observation, Phases, Record, Unobserved};
use monitor_operation::Epoch;
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2023-11-14 22:13:20 UTC.
const NEWEST: i64 = 1_700_000_000_000;

fn keep() -> Keep {
    Keep::new([6, 48, 90 * 24, 730 * 24].map(|hours| Duration::from_secs(hours * 3600)))
}

fn known() -> Newest {
    let mut newest = Newest::new();
    assert_eq!(newest.follow(NEWEST, NEWEST), NEWEST);
    newest
}

fn standing() -> Horizons {
    Horizons::NONE.rise(NEWEST, NEWEST, &keep())
}

#[test]
fn what_is_younger_than_its_age_is_kept() {
    let horizons = standing();
    for (horizon, age, unit) in [
        (horizons.history, 6 * HOUR, 60_000),
        (horizons.minutes, 48 * HOUR, HOUR),
        (horizons.hours, 90 * DAY, DAY),
        (horizons.days, 730 * DAY, DAY),
    ] {
        assert!(
            (NEWEST - age - unit..=NEWEST - age).contains(&horizon),
            "{horizon}"
        );
        assert_eq!(horizon % unit, 0);
    }
    let for_ever = Keep::new([Duration::MAX; 4]);
    assert_eq!(
        Horizons::NONE.rise(i64::MAX, i64::MAX, &for_ever),
        Horizons::NONE
    );
    let first = Horizons::NONE.rise(i64::MIN, NEWEST, &keep());
    assert_eq!(first.days, i64::MIN);
    let last = Horizons::NONE.rise(i64::MAX, i64::MAX, &keep());
    assert_eq!(last.rise(i64::MIN, i64::MIN, &keep()).history, i64::MIN);
}

/// A record from the future ages nothing, nor does a late one make anything younger.
#[test]
fn a_due_time_in_the_future_is_not_the_newest() {
    let mut newest = Newest::new();
    assert_eq!(newest.follow(NEWEST + 365 * DAY, NEWEST), NEWEST);
    assert_eq!(newest.follow(NEWEST - DAY, NEWEST), NEWEST - DAY);
    assert_eq!(
        standing().rise(NEWEST - DAY, NEWEST, &keep()),
        standing(),
        "horizons do not fall"
    );
}

/// OPS-29: a clock that is years ahead for a moment removes some days, and not everything; when it is back, so is the age of things. One that is years behind for a while
/// holds nothing up.
#[test]
fn a_clock_that_leaps_costs_some_days() {
    for leap in [2 * DAY, 24 * 365 * DAY] {
        let mut newest = known();
        let mut horizons = standing();
        for days in [1, 3, 7] {
            let wrong = NEWEST + leap;
            let followed = newest.follow(wrong, wrong);
            assert_eq!(followed, (NEWEST + days * DAY).min(wrong));
            horizons = horizons.rise(followed, wrong, &keep());
        }
        assert!(horizons.days <= NEWEST - 723 * DAY && horizons.hours <= NEWEST - 83 * DAY);
        let back = NEWEST + HOUR;
        let followed = newest.follow(back, back);
        assert_eq!(followed, back);
        horizons = horizons.rise(followed, back, &keep());
        assert!(horizons.history < back, "lines are kept again");
        let behind = newest.follow(0, 0);
        assert_eq!(behind, 0);
        assert_eq!(newest.follow(back, back), back, "at once");
    }
    // After a year without records it takes some rounds, then every day is as ever.
    let mut newest = known();
    let later = NEWEST + 365 * DAY;
    let rounds = (1..).find(|_| newest.follow(later, later) == later);
    assert_eq!(rounds, Some(9));
    assert_eq!(newest.follow(later + 2 * DAY, later + 2 * DAY), later + DAY);
    // So it does when the first clock of all was that of 1970.
    let mut newest = Newest::new();
    assert_eq!(newest.follow(0, 0), 0);
    let rounds = (1..).find(|_| newest.follow(NEWEST, NEWEST) == NEWEST);
    assert_eq!(rounds, Some(15));
    let mut newest = Newest::new();
    newest.follow(i64::MIN, NEWEST);
    assert!((0..64).any(|_| newest.follow(i64::MAX, i64::MAX) == i64::MAX));
}

/// A new process knows from the horizons how far the last one was, to a minute by default, and to
/// where nothing is known it believes the first record.
#[test]
fn how_far_the_last_process_was_is_seen_by_the_horizons() {
    let known = |standing: &Horizons, keep: &Keep| Newest::new().known(standing, keep);
    let newest = known(&standing(), &keep()).unwrap();
    assert!((NEWEST - 60_000..=NEWEST).contains(&newest), "{newest}");
    assert_eq!(known(&Horizons::NONE, &keep()), None);
    let for_ever = Keep::new([Duration::MAX; 4]);
    assert_eq!(known(&standing(), &for_ever), None);
    // Lines that are to be kept for less from now on are told apart from a leap.
    let less = Keep {
        history: 0,
        ..keep()
    };
    let newest = known(&standing(), &less).unwrap();
    assert!((NEWEST - HOUR..=NEWEST).contains(&newest), "{newest}");
    let mut newest = Newest::new();
    assert_eq!(newest.follow(NEWEST, NEWEST), NEWEST);
    assert_eq!(newest.known(&Horizons::NONE, &keep()), Some(NEWEST));
}

/// A clock that was wrong, and believed, stops nothing when it is right again: lines are kept as
/// long as ever, minutes are counted from the next hour on, hours from the next day on, and days
/// always, so that each due time is answered for by one of them.
#[test]
fn horizons_ahead_of_every_clock_come_back_each_by_itself() {
    let year = 365 * DAY;
    for years in [1, 3, 24] {
        let wrong = NEWEST + years * year;
        let ahead = standing().rise(wrong, wrong, &keep());
        assert!(ahead.history > NEWEST && ahead.minutes > NEWEST && ahead.hours > NEWEST);
        let back = ahead.rise(NEWEST, NEWEST, &keep());
        assert_eq!(back.history, standing().history);
        assert_eq!(back.minutes, Resolution::Hour.start_of(NEWEST) + HOUR);
        assert_eq!(back.hours, Resolution::Day.start_of(NEWEST) + DAY);
        let today = Resolution::Day.start_of(NEWEST);
        assert_eq!(back.days, ahead.days.min(today));
        // Today is answered for by its day, the rest of what was not removed by theirs.
        let answer = back.answer(NEWEST - year);
        assert!(answer.days <= today && answer.hours == back.hours);
        // It stays so until time has come to where they are, and goes on as ever.
        let later = NEWEST + HOUR;
        assert_eq!(back.rise(later, later, &keep()).minutes, back.minutes);
        assert_eq!(back.rise(later, later, &keep()).hours, back.hours);
        let much_later = NEWEST + years * year;
        assert_eq!(
            back.rise(much_later, much_later, &keep()),
            Horizons::NONE.rise(much_later, much_later, &keep())
        );
    }
    // Minutes alone, which a migration or longer times for lines may leave behind.
    let minutes = Horizons {
        minutes: NEWEST + 24 * year,
        ..standing()
    };
    let back = minutes.rise(NEWEST, NEWEST, &keep());
    assert_eq!(back.minutes, Resolution::Hour.start_of(NEWEST) + HOUR);
    assert_eq!(
        Horizons { minutes: 0, ..back },
        Horizons {
            minutes: 0,
            ..standing()
        }
    );
}

#[test]
fn without_room_lines_go_first_then_minutes_then_hours_and_never_all() {
    let mut horizons = standing();
    let mut given = Vec::new();
    while let Some(next) = horizons.squeeze(NEWEST, &Horizons::NONE) {
        let raised = [
            next.history > horizons.history,
            next.minutes > horizons.minutes,
            next.hours > horizons.hours,
            next.days > horizons.days,
        ];
        assert_eq!(
            raised.iter().filter(|raised| **raised).count(),
            1,
            "one at a time"
        );
        given.push(raised.iter().position(|raised| *raised).unwrap());
        horizons = next;
    }
    assert!(given.is_sorted(), "{given:?}");
    assert!(given.len() < 60, "{}", given.len());
    assert_eq!(horizons.days, standing().days);
    let left =
        |horizon: i64, least: i64, unit: i64| (least..least + unit).contains(&(NEWEST - horizon));
    assert!(left(horizons.history, HOUR, 60_000));
    assert!(left(horizons.minutes, 6 * HOUR, HOUR));
    assert!(left(horizons.hours, 7 * DAY, DAY));
    assert_eq!(
        horizons.rise(NEWEST, NEWEST, &keep()),
        horizons,
        "age takes nothing back"
    );
}

/// Of what there is, that is: nothing is given up in vain.
#[test]
fn without_room_something_that_is_there_goes_each_time() {
    let oldest = Horizons {
        history: NEWEST - 2 * HOUR,
        minutes: NEWEST - 24 * HOUR,
        hours: NEWEST - 10 * DAY,
        days: i64::MIN,
    };
    let first = Horizons::NONE.squeeze(NEWEST, &oldest).unwrap();
    assert!(first.history > oldest.history);
    let mut horizons = Horizons::NONE;
    let mut steps = 0;
    while let Some(next) = horizons.squeeze(NEWEST, &oldest) {
        assert!(next.history >= oldest.history);
        assert!(next.minutes == i64::MIN || next.minutes > oldest.minutes);
        horizons = next;
        steps += 1;
    }
    assert!((10..40).contains(&steps), "{steps}");
    let nothing = Horizons {
        history: i64::MAX,
        minutes: i64::MAX,
        hours: i64::MAX,
        days: i64::MAX,
    };
    assert_eq!(standing().squeeze(NEWEST, &nothing), None);
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => NEWEST - 100 * DAY..NEWEST + HOUR,
        1 => NEWEST - 1000 * DAY..NEWEST,
        1 => any::<i64>(),
    ]
}

fn horizons() -> impl Strategy<Value = Horizons> {
    prop_oneof![Just(Horizons::NONE), Just(standing())]
}

proptest! {
    /// No line is removed before the mark is past it, and none is rolled up while more may come.
    #[test]
    fn inv_store_11_the_mark_is_past_all_that_is_removed(
        horizons in horizons(), mark in time(), latest in time(),
    ) {
        let to = horizons.roll_to(mark, latest).unwrap_or(mark);
        prop_assert!(to >= mark && to >= horizons.history);
        prop_assert!(to <= mark.max(horizons.history).max(latest));
        prop_assert_eq!(horizons.roll_to(to, latest), None, "once is enough");
    }

    /// Days and hours answer for everything since, each due time once: what a record is counted in
    /// is read exactly once if it is due at or after where the answer begins, else not at all.
    #[test]
    fn hours_and_days_answer_for_each_due_time_once(
        horizons in horizons(), since in time(), due in time(),
    ) {
        let from = horizons.answer(since);
        let read = horizons
            .feeds(due)
            .filter(|&(resolution, start)| match resolution {
                Resolution::Minute => false,
                Resolution::Hour => start >= from.hours,
                Resolution::Day => (from.days..from.hours).contains(&start),
            })
            .count();
        prop_assert_eq!(read, usize::from(due >= from.days));
        if due >= since && due >= horizons.days {
            prop_assert_eq!(read, 1, "asked for");
        }
        let is_cut = from.days > since;
        prop_assert!(!is_cut || from.days == horizons.days || from.days - since < DAY);
    }

    #[test]
    fn a_share_is_the_bucket_of_its_record(kind in 0u8..5, slots in 1u32..9, took in proptest::option::of(0u64..9_000_000)) {
        let (id, epoch) = ("a".parse().unwrap(), Epoch::new(1));
        let fault = Fault::new(Layer::Connect, Reason::Refused);
        let finding = match kind {
            0 => Some(Finding::Up),
            1 => Some(Finding::Degraded(fault)),
            2 => Some(Finding::Down(fault)),
            3 => Some(Finding::Unknown(fault)),
            _ => None,
        };
        let mut record = match finding {
            Some(finding) => {
                let observation = Observation { finding, note: None };
                Record::observed(id, epoch, NEWEST, observation, Phases::default())
            }
            None => Record::unobserved(id, epoch, NEWEST, slots, Unobserved::Overload),
        };
        record.slots = slots;
        record.took = took.map(Duration::from_micros);
        for resolution in Resolution::ALL {
            let start = resolution.start_of(NEWEST);
            let share = share(start, record.outcome(), slots, took);
            prop_assert_eq!(share, Bucket::of(&record, resolution));
        }
    }
}
