//! Any text in a column that cannot hold a NUL.
//!
//! A text without one is kept to the letter. One that has any, or that begins with the mark of such
//! a text, is kept behind the mark U+0001 with U+0001 as `U+0001 1` and NUL as `U+0001 0`.

use std::borrow::Cow;

const MARK: char = '\u{1}';

pub(super) fn encode(text: &str) -> Cow<'_, str> {
    if !text.contains('\0') && !text.starts_with(MARK) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    encoded.push(MARK);
    for letter in text.chars() {
        match letter {
            '\0' => encoded.extend([MARK, '0']),
            MARK => encoded.extend([MARK, '1']),
            other => encoded.push(other),
        }
    }
    Cow::Owned(encoded)
}

/// `Err` says what is wrong with a text that [`encode`] never made.
pub(super) fn decode(text: String) -> Result<String, &'static str> {
    let Some(encoded) = text.strip_prefix(MARK) else {
        return Ok(text);
    };
    let mut decoded = String::with_capacity(encoded.len());
    let mut letters = encoded.chars();
    while let Some(letter) = letters.next() {
        decoded.push(match letter {
            MARK => match letters.next() {
                Some('0') => '\0',
                Some('1') => MARK,
                _ => return Err("U+0001 is followed by neither 0 nor 1"),
            },
            other => other,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(encode("200 OK \u{1F600} \\0"), "200 OK \u{1F600} \\0");
        assert_eq!(encode("a\0b"), "\u{1}a\u{1}0b");
        assert!(decode("\u{1}\u{1}".into()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_comes_back_without_a_nul_between(text in "[a\0\u{1}01é]{0,12}") {
            let encoded = encode(&text).into_owned();
            prop_assert!(!encoded.contains('\0'));
            prop_assert_eq!(decode(encoded), Ok(text));
        }
    }
}
