//! What may stand in each of the five fields.

use super::InvalidCron;

/// One of the five fields.
pub(super) struct Field {
    what: &'static str,
    least: u64,
    most: u64,
    names: &'static [&'static str],
    expected: &'static str,
}

pub(super) const MINUTE: Field = Field {
    what: "minute",
    least: 0,
    most: 59,
    names: &[],
    expected: "0 to 59, as *, a, a-b, with /step, or a list of those",
};
pub(super) const HOUR: Field = Field {
    what: "hour",
    least: 0,
    most: 23,
    names: &[],
    expected: "0 to 23, as *, a, a-b, with /step, or a list of those",
};
pub(super) const DAY: Field = Field {
    what: "day of the month",
    least: 1,
    most: 31,
    names: &[],
    expected: "1 to 31, as *, a, a-b, with /step, or a list of those",
};
pub(super) const MONTH: Field = Field {
    what: "month",
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    expected: "1 to 12 or jan to dec, as *, a, a-b, with /step, or a list of those",
};
pub(super) const WEEKDAY: Field = Field {
    what: "day of the week",
    least: 0,
    most: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    expected: "0 to 7 or sun to sat, as *, a, a-b, with /step, or a list of those",
};

impl Field {
    /// The set of its numbers, one bit each.
    pub(super) fn parse(&self, text: &str) -> Result<u64, InvalidCron> {
        let mut set = 0;
        for part in text.split(',') {
            let refused = || InvalidCron::new(self.what, text, self.expected);
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)),
                None => (part, Some(1)),
            };
            let (first, last) = self.range(range, part.contains('/')).ok_or_else(refused)?;
            let step: usize = step.ok_or_else(refused)?;
            for number in (first..=last).step_by(step) {
                set |= 1 << number;
            }
        }
        Ok(set)
    }

    fn range(&self, text: &str, stepped: bool) -> Option<(u64, u64)> {
        let last = if self.what == WEEKDAY.what {
            6
        } else {
            self.most
        };
        if text == "*" {
            return Some((self.least, last));
        }
        match text.split_once('-') {
            Some((first, last)) => {
                let range = (self.number(first)?, self.number(last)?);
                (range.0 <= range.1).then_some(range)
            }
            None if stepped => Some((self.number(text)?, last)),
            None => self.number(text).map(|number| (number, number)),
        }
    }

    fn number(&self, text: &str) -> Option<u64> {
        let name = text.to_ascii_lowercase();
        let named = self.names.iter().position(|known| *known == name);
        let number = match named {
            Some(place) => place as u64 + self.least,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}
