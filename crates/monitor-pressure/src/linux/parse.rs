//! The formats of the kernel's files. Whatever is in them, nothing here panics.

/// The kernel writes a limit that is none as a number close to this in old hierarchies.
const NO_LIMIT: u64 = 1 << 62;

/// A number alone, or "max", which is `Some(None)`, as is a number too large to be a limit.
pub(super) fn limit(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "max" => Some(None),
        number => number
            .parse()
            .ok()
            .map(|limit| (limit < NO_LIMIT).then_some(limit)),
    }
}

/// A number alone.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number after `name` and blanks or a colon: `VmRSS:  1234 kB`, `inactive_file 1234`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        let is_it = first.strip_suffix(':').unwrap_or(first) == name;
        is_it.then(|| words.next()?.parse().ok()).flatten()
    })
}

/// The soft limit of open files; `Some(None)` when there is none.
pub(super) fn open_files(limits: &str) -> Option<Option<u64>> {
    let line = limits.lines();
    let mut values = line.filter_map(|line| line.strip_prefix("Max open files"));
    match values.next()?.split_ascii_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// The share of the last minute in which some task waited, in hundredths of a per cent.
pub(super) fn stalled(pressure: &str) -> Option<u64> {
    let some = pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?;
    let mut words = some.split_ascii_whitespace();
    let share = words.find_map(|word| word.strip_prefix("avg60="))?;
    let (whole, hundredths) = share.split_once('.')?;
    let hundredths: u64 = match hundredths.len() {
        2 => hundredths.parse().ok()?,
        _ => return None,
    };
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(hundredths)
}

/// Major and minor version of `6.18.44-fc`.
pub(super) fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_kernel_writes() {
        assert_eq!(limit("max\n"), Some(None));
        assert_eq!(limit("9223372036854771712\n"), Some(None));
        assert_eq!(limit("536870912\n"), Some(Some(536_870_912)));
        assert_eq!(limit("\n"), None);
        let status = "Name:\tx\nVmRSS:\t    3456 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS"), Some(3456));
        assert_eq!(field(status, "Threads"), Some(7));
        assert_eq!(field(status, "Vm"), None);
        assert_eq!(field("total_inactive_file 9\n", "inactive_file"), None);
        let limits = "Max data size  unlimited  unlimited  bytes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(Some(1024)));
        assert_eq!(
            open_files("Max open files  unlimited unlimited files"),
            Some(None)
        );
        let memory =
            "some avg10=1.00 avg60=12.34 avg300=0.00 total=9\nfull avg10=0.00 avg60=9.99\n";
        assert_eq!(stalled(memory), Some(1234));
        assert_eq!(release("6.18.44-fc-v595\n"), Some((6, 18)));
        assert_eq!(release("6.2-rc1"), Some((6, 2)));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,200}", some in "some .{0,40}", avg in "some avg60=[0-9.]{0,30}") {
            for text in [&text, &some, &avg] {
                let _ = (limit(text), number(text), open_files(text), stalled(text), release(text));
                let _ = (field(text, "VmRSS"), field(text, ""));
            }
        }
    }
}
