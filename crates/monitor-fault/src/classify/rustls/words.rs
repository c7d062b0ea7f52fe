//! A certificate's fault in plain words: which name, which day, and what may be behind it.

use ::rustls::CertificateError as E;
use ::rustls::OtherError;
use ::rustls::pki_types::UnixTime;

/// How many of a certificate's names are listed.
const MAX_NAMES: usize = 5;

const DAY: u64 = 86_400;

/// Says what is wrong; `None` where rustls says it as well as anybody could.
pub(super) fn of(error: &E) -> Option<String> {
    let words = match error {
        E::Expired => "the certificate has expired".into(),
        E::ExpiredContext { time, not_after } => {
            let (on, ago) = (date(*not_after), days(*not_after, *time));
            format!("the certificate expired on {on}, {ago} ago")
        }
        E::NotValidYet => "the certificate is not valid yet".into(),
        E::NotValidYetContext { time, not_before } => {
            let (on, ahead) = (date(*not_before), days(*time, *not_before));
            format!("the certificate is valid from {on} on, in {ahead}")
        }
        E::Revoked => "the certificate has been revoked".into(),
        E::UnknownIssuer => "no authority that is trusted here issued the certificate: it is \
            self-signed, its authority is unknown, or the server does not send an intermediate one"
            .into(),
        E::BadSignature => "the certificate claims an authority that is trusted here, but was \
            signed with another key"
            .into(),
        E::NotValidForName => "the certificate is for other names".into(),
        E::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the certificate is for {}, not for {}",
            names(presented),
            expected.to_str()
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "the certificate is not meant for servers".into()
        }
        E::BadEncoding => "the certificate cannot be read".into(),
        E::Other(other) => return of_webpki(other),
        _ => return None,
    };
    Some(words)
}

fn of_webpki(error: &OtherError) -> Option<String> {
    let words = match error.0.downcast_ref::<webpki::Error>()? {
        webpki::Error::CaUsedAsEndEntity => {
            "the certificate is an authority's own and not one for a server, as self-signed \
             certificates often are"
        }
        webpki::Error::EndEntityUsedAsCa => {
            "the certificate was issued by a certificate that is not an authority's"
        }
        webpki::Error::UnsupportedCertVersion => "the certificate is of an old version, not 3",
        _ => return None,
    };
    Some(words.into())
}

/// The names in a certificate, as `DnsName("example.org")` or `IpAddress(...)`, without the wrapping.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let dns = name.strip_prefix("DnsName(\"");
        let bare = dns.and_then(|name| name.strip_suffix("\")"));
        bare.unwrap_or(name).to_owned()
    };
    let listed: Vec<String> = presented.iter().take(MAX_NAMES).map(bare).collect();
    match presented.len() {
        0 => "no name at all".into(),
        all if all > MAX_NAMES => format!("{} and {} more", listed.join(", "), all - MAX_NAMES),
        _ => listed.join(", "),
    }
}

/// The whole days from one time to a later one.
fn days(from: UnixTime, to: UnixTime) -> String {
    match to.as_secs().saturating_sub(from.as_secs()) / DAY {
        0 => "less than a day".into(),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}

/// The date in UTC, as `2026-11-21`.
///
/// From days to a date as in [`civil_from_days`](https://howardhinnant.github.io/date_algorithms.html#civil_from_days),
/// for days from 1970 on.
fn date(time: UnixTime) -> String {
    // Counted from March 1st of year 0, so that the leap day is the last of its year.
    let days = time.as_secs() / DAY + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn dates_in_a_table() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (68_255_999, "1972-02-29"),
            (68_256_000, "1972-03-01"),
            (951_782_400, "2000-02-29"),
            (978_307_199, "2000-12-31"),
            (978_307_200, "2001-01-01"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(date(at(seconds)), expected, "{seconds}");
        }
        // Whatever a certificate claims.
        assert!(!date(at(u64::MAX)).is_empty());
    }

    #[test]
    fn many_names_are_counted() {
        let all: Vec<String> = (0..7).map(|n| format!("DnsName(\"{n}.test\")")).collect();
        assert_eq!(
            names(&all),
            "0.test, 1.test, 2.test, 3.test, 4.test and 2 more"
        );
        assert_eq!(names(&all[..1]), "0.test");
        assert_eq!(names(&[]), "no name at all");
    }

    #[test]
    fn spans_in_whole_days() {
        assert_eq!(days(at(10), at(9)), "less than a day");
        assert_eq!(days(at(0), at(DAY)), "1 day");
        assert_eq!(days(at(0), at(9 * DAY - 1)), "8 days");
    }
}
