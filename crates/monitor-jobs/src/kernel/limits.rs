//! Names, ranges and sizes: what is refused before any database is asked.

use std::time::Duration;

use crate::{EnqueueError, NewJob, Ordering, Parent, Register, RegisterError, When};

/// The longest error, progress text and so on, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;
/// Edges that the end of a job resolves in its own transaction; what is beyond is left to
/// `release`, in slices.
pub(crate) const INLINE_EDGES: u32 = 1000;
/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;
/// A hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
const MAX_NAME: usize = 64;
const MAX_KEY: usize = 256;
const MAX_JOBS: usize = 100_000;

/// Checks one call of `enqueue`, as far as that needs no database: parents of the same call stand
/// before their children, none is named twice, and all is within its range.
pub(crate) fn jobs(jobs: &[NewJob]) -> Result<(), EnqueueError> {
    if jobs.len() > MAX_JOBS {
        return Err(range("jobs of a call", jobs.len(), "at most 100000"));
    }
    jobs.iter()
        .enumerate()
        .try_for_each(|(place, new)| job(place, new))
}

fn job(place: usize, job: &NewJob) -> Result<(), EnqueueError> {
    name("kind", &job.kind)?;
    name("queue", &job.queue)?;
    key("unique_key", job.unique_key.as_deref())?;
    key("tenant", job.tenant.as_deref())?;
    counted("max_attempts", job.max_attempts)?;
    counted("max_crashes", job.max_crashes)?;
    if let Some(timeout) = job.timeout {
        let fits = (Duration::from_millis(1)..=LONGEST).contains(&timeout);
        checked(
            fits,
            "timeout",
            || format!("{timeout:?}"),
            "1 ms to 100 years",
        )?;
    }
    match job.when {
        When::Now => {}
        When::In(wait) => checked(
            wait <= LONGEST,
            "when",
            || format!("in {wait:?}"),
            "within 100 years",
        )?,
        When::At(at) => unix_ms("when", at)?,
    }
    match job.ordering {
        Ordering::Fifo | Ordering::Strict => {}
        Ordering::Aged { step } => checked(
            step <= LONGEST,
            "ordering step",
            || format!("{step:?}"),
            "at most 100 years",
        )?,
        Ordering::Deadline { unix_ms: at } => unix_ms("ordering deadline", at)?,
        Ordering::Fair { weight } => counted("ordering weight", weight)?,
    }
    parents(place, job)
}

fn parents(place: usize, job: &NewJob) -> Result<(), EnqueueError> {
    for edge in &job.parents {
        if let Parent::Earlier(parent) = edge.parent
            && parent >= place
        {
            return Err(EnqueueError::ParentOrder { job: place, parent });
        }
    }
    Ok(())
}

/// Checks a registration.
pub(crate) fn register(register: &Register) -> Result<(), RegisterError> {
    if register.name.is_empty() || register.name.len() > MAX_KEY {
        return Err(RegisterError::Range {
            what: "name",
            value: format!("{} bytes", register.name.len()),
            allowed: "1 to 256 bytes",
        });
    }
    if register.queues.is_empty() {
        return Err(RegisterError::Range {
            what: "queues",
            value: "none".to_owned(),
            allowed: "at least one",
        });
    }
    if let Some(bad) = register.queues.iter().find(|queue| !is_name(queue)) {
        return Err(RegisterError::Name {
            what: "queue",
            name: bad.chars().take(80).collect(),
        });
    }
    if !(1..=10_000).contains(&register.capacity) {
        return Err(RegisterError::Range {
            what: "capacity",
            value: register.capacity.to_string(),
            allowed: "1 to 10000",
        });
    }
    let leases = Duration::from_millis(30)..=Duration::from_secs(86_400);
    if !leases.contains(&register.lease) {
        return Err(RegisterError::Range {
            what: "lease",
            value: format!("{:?}", register.lease),
            allowed: "30 ms to 1 day",
        });
    }
    Ok(())
}

/// Whether it is a name: 1 to 64 of `a-z 0-9 . _ -`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// The text, cut to 4 KiB at a character's end, without the character that no database keeps.
pub(crate) fn text(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

fn name(what: &'static str, name: &str) -> Result<(), EnqueueError> {
    if is_name(name) {
        return Ok(());
    }
    let name = name.chars().take(80).collect();
    Err(EnqueueError::Name { what, name })
}

fn key(what: &'static str, key: Option<&str>) -> Result<(), EnqueueError> {
    let Some(key) = key else { return Ok(()) };
    let fits = (1..=MAX_KEY).contains(&key.len());
    let allowed = "1 to 256 bytes, without the zero character";
    let shown = || format!("{} bytes", key.len());
    checked(fits && !key.contains('\0'), what, shown, allowed)
}

fn counted(what: &'static str, count: u16) -> Result<(), EnqueueError> {
    let fits = (1..=1000).contains(&count);
    checked(fits, what, || count.to_string(), "1 to 1000")
}

fn unix_ms(what: &'static str, at: i64) -> Result<(), EnqueueError> {
    let fits = (0..=LAST_MS).contains(&at);
    let allowed = "0 to 253402300799999, the years 1970 to 9999 in milliseconds";
    checked(fits, what, || at.to_string(), allowed)
}

fn checked(
    fits: bool,
    what: &'static str,
    value: impl FnOnce() -> String,
    allowed: &'static str,
) -> Result<(), EnqueueError> {
    if fits {
        Ok(())
    } else {
        Err(range(what, value(), allowed))
    }
}

fn range(what: &'static str, value: impl ToString, allowed: &'static str) -> EnqueueError {
    let value = value.to_string();
    EnqueueError::Range {
        what,
        value,
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    fn new() -> NewJob {
        NewJob::new("mail", Payload::default())
    }

    fn refusal(job: NewJob) -> String {
        jobs(&[job]).unwrap_err().to_string()
    }

    /// JOB-17: bounds, each error naming what would be right.
    #[test]
    fn what_is_out_of_range_is_named() {
        assert!(jobs(&[new()]).is_ok());
        for bad in ["", "Mail", "a b", "ä", &"x".repeat(65)] {
            assert!(refusal(NewJob::new(bad, Payload::default())).contains("is no name"));
            assert!(refusal(new().queue(bad)).starts_with("queue"));
        }
        assert!(refusal(new().max_attempts(0)).contains("max_attempts is 0"));
        assert!(refusal(new().timeout(Duration::ZERO)).contains("1 ms"));
        assert!(refusal(new().when(When::At(-1))).contains("1970"));
        assert!(refusal(new().when(When::In(Duration::MAX))).contains("100 years"));
        assert!(refusal(new().unique_key("")).contains("1 to 256"));
        assert!(refusal(new().ordering(Ordering::Fair { weight: 0 })).contains("weight"));
    }

    /// JOB-27: a job waits for none that does not stand before it, itself least of all.
    #[test]
    fn no_call_describes_a_cycle() {
        let after = |place| new().after(Parent::Earlier(place));
        assert!(jobs(&[new(), after(0), after(1)]).is_ok());
        for graph in [
            vec![after(0)],
            vec![new(), after(1)],
            vec![after(1), after(0)],
        ] {
            assert!(matches!(
                jobs(&graph),
                Err(EnqueueError::ParentOrder { .. })
            ));
        }
    }

    /// Texts are cut between characters and carry no zero.
    #[test]
    fn texts_are_cut() {
        assert_eq!(text(&"ä".repeat(4000)).len(), 4096);
        assert_eq!(text(&format!("a{}", "ä".repeat(4000))).len(), 4095);
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
