//! Text from outside made fit to be shown.

/// Returns `text` with every run of control characters turned into one space, trimmed, and cut
/// to at most `max` bytes on a character boundary.
///
/// Invisible formatting characters that can reorder or hide the text around them count as
/// control characters: what a hostile target sends may end up on a terminal or a page.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    let mut space = false;
    for c in text.chars() {
        if is_hidden(c) || c == ' ' {
            space = !clean.is_empty();
            continue;
        }
        if clean.len() + usize::from(space) + c.len_utf8() > max {
            break;
        }
        if space {
            clean.push(' ');
            space = false;
        }
        clean.push(c);
    }
    clean
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
        )
}
