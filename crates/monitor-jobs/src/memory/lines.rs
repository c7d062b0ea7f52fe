//! Lines of JSON with a checksum each: what a crash may tear, and what it may not have touched.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// CRC-32 as in zip and Ethernet, bit by bit: fast enough for a journal.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

/// The line of a value: eight digits of checksum, a space, its JSON.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(value)?;
    let mut line = format!("{:08x} ", checksum(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// What a file of lines holds.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) values: Vec<T>,
    /// How many bytes of the file they take: what follows was torn by a crash.
    pub(super) whole: usize,
    /// The number of a line that is damaged although others follow it, from 1.
    pub(super) damaged: Option<usize>,
}

/// Reads all whole lines.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Read<T> {
    let mut read = Read {
        values: Vec::new(),
        whole: 0,
        damaged: None,
    };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match value(line) {
            Some(value) => {
                read.values.push(value);
                read.whole += line.len();
            }
            None => {
                let is_last = read.whole + line.len() == bytes.len();
                read.damaged = (!is_last).then_some(read.values.len() + 1);
                break;
            }
        }
    }
    read
}

fn value<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == checksum(json))
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JOB-54: torn at any byte, the whole lines before it are read; damaged in the middle, it says
    /// where.
    #[test]
    fn torn_and_damaged_lines_are_told_apart() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for value in ["one", "two", "three"] {
            bytes.extend(line(&value).unwrap());
            ends.push(bytes.len());
        }
        for cut in 0..=bytes.len() {
            let read = read::<String>(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(
                (read.values.len(), read.whole),
                (whole, ends[whole]),
                "at {cut}"
            );
            assert_eq!(read.damaged, None, "at {cut}");
        }
        bytes[ends[1] + 12] ^= 1;
        assert_eq!(read::<String>(&bytes).damaged, Some(2));
    }
}
