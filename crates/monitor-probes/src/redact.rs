//! Targets without what is nobody else's business.

/// `text`, which may be a URL or meant to be one, without user name, password, query and fragment:
/// as it may stand in a log. What cannot be told from them is left out as well.
///
/// ```
/// use monitor_probes::redacted;
///
/// assert_eq!(redacted("https://me:pw@h.example/p?key=7#x"), "https://...@h.example/p?...");
/// assert_eq!(redacted("h.example:443"), "h.example:443");
/// ```
#[must_use]
pub fn redacted(text: &str) -> String {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let (begin, hidden, rest) = match text.rfind('@') {
        Some(at) if at >= start => (&text[..start], "...", &text[at..]),
        // Before what looks like the end of a scheme, and therefore not in one.
        Some(at) => ("", "...", &text[at..]),
        None => ("", "", text),
    };
    let end = rest.find(['?', '#']).map_or(rest.len(), |mark| mark + 1);
    let cut = if end < rest.len() { "..." } else { "" };
    format!("{begin}{hidden}{}{cut}", &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn in_a_table() {
        for (text, shown) in [
            ("", ""),
            ("http://h/", "http://h/"),
            ("http://h/?", "http://h/?"),
            ("http://h/p?t=1&u=2", "http://h/p?..."),
            ("http://h/p#t", "http://h/p#..."),
            ("http://u:p@h/", "http://...@h/"),
            ("http://u:p?q/@x@h/", "http://...@h/"),
            ("u:p@h:1", "...@h:1"),
            ("h/?next=http://u:p@h", "h/?next=http://...@h"),
            ("u:p@h://x", "...@h://x"),
        ] {
            assert_eq!(redacted(text), shown, "{text}");
        }
    }

    proptest! {
        /// OPS-47: whatever stands where a password, a query or a fragment does is not shown.
        #[test]
        fn nothing_secret_is_left(
            scheme in "(https?://|tcp://|)", user in "[a-z:/?#@ ]{0,8}", host in "[a-z.:]{0,8}",
            path in "(/[a-z]{0,3}){0,2}", mark in "[?#]", more in "[a-z=&?#/:]{0,8}",
        ) {
            let with_password = format!("{scheme}{user}S3CRET{user}@{host}{path}");
            prop_assert!(!redacted(&with_password).contains("S3CRET"));
            let with_query = format!("{scheme}{host}{path}{mark}{more}S3CRET{more}");
            prop_assert!(!redacted(&with_query).contains("S3CRET"), "{}", redacted(&with_query));
        }
    }
}
