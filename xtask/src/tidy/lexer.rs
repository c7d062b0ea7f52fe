//! Rust source, split into what is code and what is comment, line by line.
//!
//! Just enough of the language that the text of a string is neither, and that a quote in a comment
//! opens no string.

/// One line of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The code; comments are left out and strings are empty.
    pub(super) code: String,
    /// The text of the comments, without what marks them as such.
    pub(super) comment: String,
    /// Whether there is a comment, be it empty.
    pub(super) commented: bool,
    /// Whether it is a `//!`.
    pub(super) inner_doc: bool,
}

/// Splits `source`.
pub(super) fn lines(source: &str) -> Vec<Line> {
    let mut lexer = Lexer {
        rest: source,
        lines: vec![Line::default()],
    };
    while let Some(next) = lexer.rest.chars().next() {
        lexer.step(next);
    }
    if source.ends_with('\n') {
        lexer.lines.pop();
    }
    lexer.lines
}

struct Lexer<'a> {
    rest: &'a str,
    /// Never empty; the last is under way.
    lines: Vec<Line>,
}

impl Lexer<'_> {
    fn step(&mut self, next: char) {
        if self.rest.starts_with("//") {
            self.line_comment();
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(hashes) = self.raw_string_start() {
            self.raw_string(hashes);
        } else if next == '"' {
            self.string();
        } else if next == '\'' {
            self.quote();
        } else {
            self.code(next);
        }
    }

    fn line(&mut self) -> &mut Line {
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    /// Takes `next` away and starts a new line where it ends one.
    fn advance(&mut self, next: char) {
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            self.lines.push(Line::default());
        }
    }

    fn code(&mut self, next: char) {
        if next != '\n' {
            self.line().code.push(next);
        }
        self.advance(next);
    }

    fn line_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = self.rest[..end].trim_start_matches('/');
        let inner = text.strip_prefix('!');
        let text = inner.unwrap_or(text).trim().to_owned();
        let inner = inner.is_some();
        let line = self.line();
        line.commented = true;
        line.inner_doc = inner;
        line.comment.push_str(&text);
        self.rest = &self.rest[end..];
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(next) = self.rest.chars().next() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.rest = &self.rest[2..];
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.rest = &self.rest[2..];
                if depth == 0 {
                    return;
                }
            } else {
                if next != '\n' {
                    self.line().comment.push(next);
                }
                self.line().commented = true;
                self.advance(next);
            }
        }
    }

    /// The number of `#` when a raw string starts here.
    fn raw_string_start(&self) -> Option<usize> {
        let after_letter = self
            .lines
            .last()
            .is_some_and(|line| ends_in_name(&line.code));
        let text = self
            .rest
            .strip_prefix("br")
            .or_else(|| self.rest.strip_prefix("cr"));
        let text = text.or_else(|| self.rest.strip_prefix('r'))?;
        let hashes = text.len() - text.trim_start_matches('#').len();
        (!after_letter && text[hashes..].starts_with('"')).then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let open = self.rest.find('"').map_or(self.rest.len(), |at| at + 1);
        self.rest = &self.rest[open..];
        self.line().code.push_str("\"\"");
        let close = format!("\"{}", "#".repeat(hashes));
        while let Some(next) = self.rest.chars().next() {
            if let Some(rest) = self.rest.strip_prefix(&close) {
                self.rest = rest;
                return;
            }
            self.advance(next);
        }
    }

    fn string(&mut self) {
        self.line().code.push_str("\"\"");
        self.rest = &self.rest[1..];
        while let Some(next) = self.rest.chars().next() {
            self.advance(next);
            match next {
                '"' => return,
                '\\' => self.skip(),
                _ => {}
            }
        }
    }

    fn skip(&mut self) {
        if let Some(next) = self.rest.chars().next() {
            self.advance(next);
        }
    }

    /// A character such as `'a'` or `'\''`, or the start of a lifetime such as `'a`.
    fn quote(&mut self) {
        let mut chars = self.rest.chars().skip(1);
        let (first, second) = (chars.next(), chars.next());
        self.code('\'');
        if first == Some('\\') {
            self.skip();
            self.skip();
            while let Some(next) = self.rest.chars().next() {
                self.advance(next);
                if next == '\'' {
                    return;
                }
            }
        } else if second == Some('\'') {
            self.skip();
            self.skip();
        }
    }
}

fn ends_in_name(code: &str) -> bool {
    code.chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Vec<String> {
        lines(source).into_iter().map(|line| line.code).collect()
    }

    fn comments(source: &str) -> Vec<String> {
        lines(source).into_iter().map(|line| line.comment).collect()
    }

    #[test]
    fn comments_of_every_kind_are_comments() {
        let source =
            "//! one\n/// two\nlet x = 1; // three\n/* four /* nested */ still\nfive */ y\n";
        let expected = ["one", "two", "three", " four  nested  still", "five "];
        assert_eq!(comments(source), expected);
        assert_eq!(code(source), ["", "", "let x = 1; ", "", " y"]);
    }

    #[test]
    fn the_text_of_a_string_is_neither() {
        assert_eq!(code(r#"a("todo!( // \" no"); // yes"#), [r#"a(""); "#]);
        assert_eq!(comments(r#"a("todo!( // \" no"); // yes"#), ["yes"]);
        assert_eq!(code("b(r#\"x \" // \"#, br\"y\")"), ["b(\"\", \"\")"]);
        assert_eq!(code("\"two\nlines\" x"), ["\"\"", " x"]);
    }

    #[test]
    fn quotes_and_lifetimes_open_no_string() {
        assert_eq!(code(r#"f('"', '\'', '\\'); g"#), ["f(', ', '); g"]);
        assert_eq!(
            code("fn f<'a>(x: &'a str) {} // '\""),
            ["fn f<'a>(x: &'a str) {} "]
        );
        assert_eq!(code("r\"\" fr\"x\""), ["\"\" fr\"\""]);
        assert_eq!(code("'\\u{1F600}' // x"), ["' "]);
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(lines("a\n\nb").len(), 3);
        assert_eq!(lines("a\n").len(), 1);
        assert_eq!(lines("").len(), 1);
        assert_eq!(code("\"open"), ["\"\""]);
    }
}
