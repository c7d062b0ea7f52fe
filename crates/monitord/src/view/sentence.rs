//! The state of the world in words.

use monitor_fault::Reason;
use monitor_model::Outcome;

use super::subject::Subject;
use super::time::Moment;
use super::words;

/// How many monitors in the same trouble are named before the rest is counted.
const NAMED: usize = 3;

/// The first two sentences of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    /// `4 of 5 are up`.
    pub(crate) title: String,
    /// `Legacy FTP has been down for 11 minutes · Checkout is slow · 1 paused`.
    pub(crate) line: String,
    /// The worst that holds, for the colour of the tab's icon and for styles.
    pub(crate) mood: Mood,
}

/// The worst verdict on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Degraded,
    Down,
    Unsure,
}

impl Mood {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unsure => "none",
        }
    }
}

/// What is wrong with one monitor, for a tired reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// `Legacy FTP is down`.
    pub(crate) what: String,
    /// When it began, in unix milliseconds and as the clock shows it.
    pub(crate) since: Option<(i64, String)>,
    /// `connection refused (connect · target)`.
    pub(crate) why: String,
    /// `3 checks agree.`
    pub(crate) sure: String,
    /// When it is looked at next, in unix milliseconds and in words.
    pub(crate) next: Option<(i64, String)>,
    /// Whether it is being looked at.
    pub(crate) is_running: bool,
}

/// The headline over all `subjects`.
pub(crate) fn headline(subjects: &[Subject], now: &Moment) -> Headline {
    let active: Vec<_> = subjects.iter().filter(|s| s.is_checked()).collect();
    let is = |outcome| active.iter().filter(move |s| s.verdict() == Some(outcome));
    let (up, degraded) = (is(Outcome::Up).count(), is(Outcome::Degraded).count());
    let down = is(Outcome::Down).count();
    let mood = match active.len() {
        _ if down > 0 => Mood::Down,
        _ if degraded > 0 => Mood::Degraded,
        all if all > 0 && up == all => Mood::Well,
        _ => Mood::Unsure,
    };
    Headline {
        title: title(subjects, &active, up, degraded),
        line: line(subjects, now),
        mood,
    }
}

fn title(subjects: &[Subject], active: &[&Subject], up: usize, degraded: usize) -> String {
    let judged = active.iter().filter(|s| s.verdict().is_some()).count();
    match (active, up + degraded) {
        ([], _) if subjects.is_empty() => "Nothing is watched yet".to_owned(),
        ([], _) => match subjects {
            [only] if only.is_active() => format!("{} is under maintenance", only.monitor.name),
            [only] => format!("{} is paused", only.monitor.name),
            all if all.iter().any(Subject::is_active) => "Nothing is checked now".to_owned(),
            all => format!("All {} are paused", all.len()),
        },
        _ if judged == 0 => "Looking for the first time".to_owned(),
        ([only], _) => match only.verdict() {
            Some(Outcome::Down) => format!("{} is down", only.monitor.name),
            Some(Outcome::Up) => format!("{} is up", only.monitor.name),
            Some(Outcome::Degraded) => format!("{} is not well", only.monitor.name),
            _ => format!("{} is unknown", only.monitor.name),
        },
        (all, 0) => format!("None of {} is up", all.len()),
        (all, 2) if all.len() == 2 && degraded == 0 => "Both are up".to_owned(),
        (all, well) if well == all.len() && degraded == 0 => format!("All {well} are up"),
        (all, well) if well == all.len() => format!("All {well} answer, not all well"),
        (all, 1) => format!("1 of {} is up", all.len()),
        (all, well) => format!("{well} of {} are up", all.len()),
    }
}

fn line(subjects: &[Subject], now: &Moment) -> String {
    if subjects.is_empty() {
        return "Add a monitor to the configuration file, or post one to /api/v1/monitors"
            .to_owned();
    }
    let active = || subjects.iter().filter(|s| s.is_checked());
    let of = |outcome| active().filter(move |s| s.verdict() == Some(outcome));
    let mut parts = Vec::new();
    let mut down: Vec<_> = of(Outcome::Down).collect();
    down.sort_by_key(|s| s.status.since_unix_ms);
    // Several share the line: each in fewer words.
    let verb = if down.len() == 1 {
        "has been down"
    } else {
        "down"
    };
    named(&mut parts, down.into_iter(), "are down", |s| {
        let name = &s.monitor.name;
        match s.status.since_unix_ms {
            Some(since) => format!("{name} {verb} for {}", now.since(since)),
            None => format!("{name} is down"),
        }
    });
    named(&mut parts, of(Outcome::Degraded), "are not well", |s| {
        let is_slow = s
            .status
            .fault
            .as_ref()
            .is_some_and(|f| f.reason() == Reason::Slow);
        format!(
            "{} is {}",
            s.monitor.name,
            if is_slow { "slow" } else { "not well" }
        )
    });
    named(
        &mut parts,
        of(Outcome::Unknown),
        "could not be checked",
        |s| match &s.status.fault {
            Some(fault) => {
                let why = words::reason(fault.layer(), fault.reason());
                format!("{} could not be checked: {why}", s.monitor.name)
            }
            None => format!("{} could not be checked", s.monitor.name),
        },
    );
    let fresh = active().filter(|s| s.verdict().is_none()).count();
    if fresh > 0 {
        parts.push(format!("{fresh} not checked yet"));
    }
    let flapping = active().filter(|s| s.is_flapping).count();
    if flapping > 0 {
        parts.push(format!("{flapping} flapping"));
    }
    let paused = subjects.iter().filter(|s| !s.is_active()).count();
    let maintained = subjects.len() - paused - active().count();
    let all_well = parts.is_empty() && paused + maintained < subjects.len();
    if maintained > 0 && maintained < subjects.len() {
        parts.push(format!("{maintained} under maintenance"));
    }
    if paused > 0 && paused < subjects.len() {
        parts.push(format!("{paused} paused"));
    }
    if all_well {
        let since = active().filter_map(|s| s.status.since_unix_ms).max();
        parts.insert(
            0,
            since.map_or_else(
                || "All is well".to_owned(),
                |since| format!("All is well since {}", now.clock(since)),
            ),
        );
    }
    parts.join(" · ")
}

/// Names the first few and counts the rest.
fn named<'a>(
    parts: &mut Vec<String>,
    subjects: impl Iterator<Item = &'a Subject>,
    rest: &str,
    say: impl Fn(&Subject) -> String,
) {
    let subjects: Vec<_> = subjects.collect();
    // One more is named rather than counted: "1 more" says no less than its name.
    let named = if subjects.len() == NAMED + 1 {
        NAMED + 1
    } else {
        NAMED
    };
    parts.extend(subjects.iter().take(named).map(|s| say(s)));
    if let Some(more) = subjects.len().checked_sub(named).filter(|more| *more > 0) {
        parts.push(format!("{more} more {rest}"));
    }
}

/// An incident for every monitor that is down, the longest standing first.
pub(crate) fn incidents(subjects: &[Subject], now: &Moment) -> Vec<Incident> {
    let mut down: Vec<_> = subjects
        .iter()
        .filter(|s| s.verdict() == Some(Outcome::Down))
        .collect();
    down.sort_by_key(|s| s.status.since_unix_ms);
    down.into_iter()
        .map(|subject| incident(subject, now))
        .collect()
}

fn incident(subject: &Subject, now: &Moment) -> Incident {
    let status = &subject.status;
    Incident {
        what: format!("{} is down", subject.monitor.name),
        since: status.since_unix_ms.map(|since| (since, now.clock(since))),
        why: status
            .fault
            .as_ref()
            .map_or_else(|| "for no known reason".to_owned(), words::fault),
        sure: match status.streak {
            _ if subject.is_flapping => "It comes and goes: it is flapping.".to_owned(),
            0 | 1 => "One check says so.".to_owned(),
            checks => format!("{checks} checks agree."),
        },
        next: subject.next_unix_ms.map(|next| (next, now.until(next))),
        is_running: subject.running_since_unix_ms.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::{NOW, faulty, moment, subject};
    use Outcome::{Degraded, Down, Unknown, Up};
    use monitor_fault::{Fault, Layer};
    use monitor_model::Lifecycle;

    fn maintained(id: &str) -> Subject {
        let mut maintained = subject(id, Some(Down));
        maintained.maintenance_until_unix_ms = Some(NOW + 60_000);
        maintained
    }

    fn flapping(id: &str) -> Subject {
        let mut flapping = subject(id, Some(Up));
        flapping.is_flapping = true;
        flapping
    }

    /// ROB-33: what somebody works on is not down, and what comes and goes is said to.
    #[test]
    fn maintenance_and_flapping_are_told_apart() {
        let said = |subjects: &[Subject]| {
            let headline = headline(subjects, &moment());
            (headline.title, headline.line, headline.mood)
        };
        let (title, line, mood) = said(&[maintained("a"), subject("b", Some(Up))]);
        assert_eq!((title.as_str(), mood), ("b is up", Mood::Well));
        assert_eq!(line, "All is well since 13:51 · 1 under maintenance");
        assert_eq!(said(&[maintained("a")]).0, "a is under maintenance");
        assert_eq!(
            said(&[maintained("a"), paused("b")]).0,
            "Nothing is checked now"
        );
        let (_, line, _) = said(&[flapping("a"), subject("b", Some(Up))]);
        assert_eq!(line, "1 flapping");
        assert!(incidents(&[maintained("a")], &moment()).is_empty());
        let mut comes_and_goes = flapping("a");
        comes_and_goes.status.outcome = Some(Down);
        let incidents = incidents(&[comes_and_goes], &moment());
        assert_eq!(incidents[0].sure, "It comes and goes: it is flapping.");
    }

    fn paused(id: &str) -> Subject {
        let mut paused = subject(id, Some(Down));
        paused.status.lifecycle = Lifecycle::Paused;
        paused
    }

    fn many(outcomes: &[Option<Outcome>]) -> Vec<Subject> {
        (0..)
            .zip(outcomes)
            .map(|(n, outcome)| subject(&format!("m{n}"), *outcome))
            .collect()
    }

    #[test]
    fn titles_in_a_table() {
        let slow = || subject("shop", Some(Degraded));
        let cases: Vec<(Vec<Subject>, &str, Mood)> = vec![
            (vec![], "Nothing is watched yet", Mood::Unsure),
            (many(&[None]), "Looking for the first time", Mood::Unsure),
            (
                many(&[None, None]),
                "Looking for the first time",
                Mood::Unsure,
            ),
            (many(&[Some(Up)]), "m0 is up", Mood::Well),
            (many(&[Some(Down)]), "m0 is down", Mood::Down),
            (many(&[Some(Unknown)]), "m0 is unknown", Mood::Unsure),
            (vec![slow()], "shop is not well", Mood::Degraded),
            (vec![paused("a")], "a is paused", Mood::Unsure),
            (
                vec![paused("a"), paused("b")],
                "All 2 are paused",
                Mood::Unsure,
            ),
            (many(&[Some(Up), Some(Up)]), "Both are up", Mood::Well),
            (many(&[Some(Up); 5]), "All 5 are up", Mood::Well),
            (
                many(&[Some(Up), Some(Degraded)]),
                "All 2 answer, not all well",
                Mood::Degraded,
            ),
            (
                many(&[Some(Down), Some(Down)]),
                "None of 2 is up",
                Mood::Down,
            ),
            (
                many(&[Some(Down), Some(Up), None]),
                "1 of 3 is up",
                Mood::Down,
            ),
            (
                many(&[Some(Up), Some(Up), None]),
                "2 of 3 are up",
                Mood::Unsure,
            ),
            (
                many(&[Some(Up), Some(Up), Some(Degraded), Some(Down)]),
                "3 of 4 are up",
                Mood::Down,
            ),
        ];
        for (subjects, title, mood) in cases {
            let headline = headline(&subjects, &moment());
            assert_eq!((headline.title.as_str(), headline.mood), (title, mood));
        }
    }

    #[test]
    fn lines_in_a_table() {
        let refused = || Fault::new(Layer::Connect, Reason::Refused);
        let slow = || faulty("shop", Degraded, Fault::new(Layer::Assertion, Reason::Slow));
        let descriptors = Fault::new(Layer::Local, Reason::DescriptorLimit);
        let cases: Vec<(Vec<Subject>, &str)> = vec![
            (
                vec![
                    faulty("ftp", Down, refused()),
                    slow(),
                    paused("dns"),
                    subject("a", Some(Up)),
                ],
                "ftp has been down for 11 minutes · shop is slow · 1 paused",
            ),
            (
                vec![faulty("db", Unknown, descriptors)],
                "db could not be checked: the prober is out of file descriptors",
            ),
            (many(&[Some(Degraded)]), "m0 is not well"),
            (many(&[Some(Up), None, None]), "2 not checked yet"),
            (many(&[Some(Up)]), "All is well since 13:51"),
            (
                vec![subject("a", Some(Up)), paused("b")],
                "All is well since 13:51 · 1 paused",
            ),
            (vec![paused("b")], ""),
        ];
        for (subjects, line) in cases {
            assert_eq!(headline(&subjects, &moment()).line, line);
        }
    }

    #[test]
    fn of_many_in_trouble_a_few_are_named() {
        let line = |count: usize| headline(&many(&vec![Some(Down); count]), &moment()).line;
        assert_eq!(line(2), "m0 down for 11 minutes · m1 down for 11 minutes");
        let named = |count| line(count).matches("down for").count();
        assert_eq!(named(4), 4, "none is the one more");
        assert_eq!(named(5), 3);
        assert!(line(5).ends_with(" · 2 more are down"), "{}", line(5));
    }

    #[test]
    fn an_incident_says_what_since_when_why_how_sure_and_what_next() {
        let refused = Fault::new(Layer::Connect, Reason::Refused);
        let mut once = faulty("b", Down, refused.clone());
        once.status.streak = 1;
        once.status.since_unix_ms = Some(NOW - 1000);
        once.next_unix_ms = None;
        let found = incidents(
            &[
                once,
                subject("ok", Some(Up)),
                faulty("a", Down, refused),
                paused("p"),
            ],
            &moment(),
        );
        assert_eq!(
            found.len(),
            2,
            "neither one that is up nor one that is paused"
        );
        assert_eq!(
            found[0],
            Incident {
                what: "a is down".into(),
                since: Some((NOW - 660_000, "13:51".into())),
                why: "connection refused (connect · target)".into(),
                sure: "3 checks agree.".into(),
                next: Some((NOW + 4000, "in 4 s".into())),
                is_running: false,
            }
        );
        assert_eq!(found[1].sure, "One check says so.");
        assert_eq!(found[1].next, None);
    }
}
