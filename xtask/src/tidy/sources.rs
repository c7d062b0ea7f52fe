//! The Rust files: what they say, which tests they have, and the rules that hold for each.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::lexer::{self, Line};

/// A file longer than this is two files.
const MAX_LINES: usize = 600;

/// What stays out of the code, blanks apart, and what to do instead.
const FORBIDDEN: [(&str, &str); 7] = [
    ("#[ignore", "no test is left out: mend it, or delete it"),
    (",ignore)]", "no test is left out: mend it, or delete it"),
    (",ignore=", "no test is left out: mend it, or delete it"),
    (
        "time::interval",
        "what recurs is a task of monitor-supervisor, where its failures are contained and shown",
    ),
    ("todo!(", "finish it, or leave it out"),
    ("unimplemented!(", "finish it, or leave it out"),
    ("dbg!(", "use tracing, or delete it"),
];

/// How the name of a macro ends that makes one test of each promise in its list.
const SUITE: &str = "conformance_tests";

/// All Rust files of the workspace, those of the benchmarks included.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<SourceFile>,
}

/// One file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Relative to the root, with slashes.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
    pub(super) tests: Vec<Test>,
    /// From this line on (from 1) all is test code; beyond the end if nothing is.
    pub(super) tests_from: usize,
}

/// A test function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) name: String,
    /// The line of its `fn`, from 1.
    pub(super) line: usize,
    /// The comment lines directly above it, with their numbers.
    pub(super) comments: Vec<(usize, String)>,
    /// Whether it is a promise of a suite: a test in each file that calls the suite.
    pub(super) promise: bool,
}

impl Sources {
    /// Reads all files below `crates` and `xtask`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for folder in ["crates", "xtask"] {
            read_folder(root, folder, &mut files)?;
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The rules for each file by itself.
    pub(super) fn check(&self, findings: &mut Vec<Finding>) {
        for file in &self.files {
            file.check(findings);
        }
    }

    /// The test files of a package that call a suite of promises, by name.
    pub(super) fn callers(&self, package: &str) -> Vec<&str> {
        let own = self.files.iter().filter(|file| file.package() == package);
        let calling = own.filter(|file| {
            let mut code = file.lines.iter().map(|line| line.code.as_str());
            code.any(|code| code.contains(SUITE) && code.contains("!("))
        });
        calling.filter_map(SourceFile::test_target).collect()
    }

    /// All tests, with the files they are in.
    pub(super) fn tests(&self) -> impl Iterator<Item = (&SourceFile, &Test)> {
        self.files
            .iter()
            .flat_map(|file| file.tests.iter().map(move |test| (file, test)))
    }
}

impl SourceFile {
    pub(super) fn new(path: impl Into<String>, text: &str) -> Self {
        let path = path.into();
        let lines = lexer::lines(text);
        let mut tests = tests(&lines);
        tests.extend(promises(&lines));
        let all_tests = ["/tests/", "/benches/", "/tests.rs", "/loom.rs"];
        let tests_from = if all_tests.iter().any(|part| path.contains(part)) {
            1
        } else {
            test_module(&lines)
        };
        Self {
            path,
            lines,
            tests,
            tests_from,
        }
    }

    /// The name of the crate's folder, or `xtask`.
    pub(super) fn package(&self) -> &str {
        let path = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path)
    }

    /// The name of the program of tests that this file is the root of.
    fn test_target(&self) -> Option<&str> {
        let (_, file) = self.path.split_once("/tests/")?;
        let root = file.strip_suffix("/main.rs");
        let root = root.or_else(|| file.strip_suffix(".rs"))?;
        (!root.contains('/')).then_some(root)
    }

    fn check(&self, findings: &mut Vec<Finding>) {
        if !self.opens_with_a_doc_comment() {
            let what = "opens without a word: begin with a `//!` comment that says what is in it";
            findings.push(Finding::new(&*self.path, 1, what));
        }
        if self.lines.len() > MAX_LINES {
            let what = format!(
                "{} lines; split it, {MAX_LINES} are too many",
                self.lines.len()
            );
            findings.push(Finding::new(&*self.path, MAX_LINES, what));
        }
        for (index, line) in self.lines.iter().enumerate() {
            for (text, instead) in FORBIDDEN {
                if line.code.replace(' ', "").contains(text) {
                    let what = format!("`{text}`: {instead}");
                    findings.push(Finding::new(&*self.path, index + 1, what));
                }
            }
        }
    }

    fn opens_with_a_doc_comment(&self) -> bool {
        let first = self
            .lines
            .iter()
            .find(|line| !line.code.is_empty() || line.commented);
        first.is_some_and(|line| {
            line.code.starts_with("#![doc") || (line.code.is_empty() && line.inner_doc)
        })
    }
}

/// The functions with a test attribute.
fn tests(lines: &[Line]) -> Vec<Test> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(&line.code) else {
            continue;
        };
        let head = &lines[head_start(lines, index)..index];
        let start = index - head.len();
        let attributed = head.iter().any(|line| {
            let code = line.code.trim_start();
            code.starts_with("#[test]") || code.starts_with("#[tokio::test")
        });
        if attributed {
            let comments = head.iter().enumerate();
            let comments = comments.filter(|(_, line)| !line.comment.is_empty());
            let comments = comments
                .map(|(offset, line)| (start + offset + 1, line.comment.clone()))
                .collect();
            found.push(Test {
                name: name.to_owned(),
                line: index + 1,
                comments,
                promise: false,
            });
        }
    }
    found
}

/// The promises of a suite: the names in the list that its macro hands to itself.
fn promises(lines: &[Line]) -> Vec<Test> {
    let begins = |line: &Line| line.code.contains(SUITE) && line.code.contains("@each");
    let Some(first) = lines.iter().position(begins) else {
        return Vec::new();
    };
    let list = lines[first..].iter().enumerate().skip(1);
    let list = list.take_while(|(_, line)| line.code.trim() != "}");
    let mut comments = Vec::new();
    let mut found = Vec::new();
    for (offset, line) in list {
        let number = first + offset + 1;
        if let Some(name) = line.code.trim().strip_suffix(';') {
            found.push(Test {
                name: name.to_owned(),
                line: number,
                comments: std::mem::take(&mut comments),
                promise: true,
            });
        } else if !line.comment.is_empty() {
            comments.push((number, line.comment.clone()));
        }
    }
    found
}

/// The first of the lines directly above `index` that belong to the item there: comments and
/// attributes.
fn head_start(lines: &[Line], index: usize) -> usize {
    let belongs = |line: &Line| {
        let code = line.code.trim();
        let ends_an_item = code.ends_with(['}', ';', '{']);
        !ends_an_item && (line.commented || !code.is_empty())
    };
    let above = lines[..index]
        .iter()
        .rev()
        .take_while(|line| belongs(line))
        .count();
    index - above
}

/// The name in `fn name`, when the line begins with one, qualifiers apart.
fn function_name(code: &str) -> Option<&str> {
    let mut rest = code.trim_start();
    for qualifier in ["pub(crate) ", "pub(super) ", "pub ", "async "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    (end > 0).then(|| &name[..end])
}

/// The line, from 1, where the module of tests begins that stands in the file itself.
fn test_module(lines: &[Line]) -> usize {
    let mut under_condition = None;
    for (index, line) in lines.iter().enumerate() {
        let code = line.code.trim();
        if code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test") {
            under_condition = Some(index + 1);
        } else if code.starts_with("mod ") && code.ends_with('{') && under_condition.is_some() {
            return under_condition.unwrap_or(usize::MAX);
        } else if !code.is_empty() && !code.starts_with("#[") {
            under_condition = None;
        }
    }
    usize::MAX
}

fn read_folder(root: &Path, folder: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let path = root.join(folder);
    let entries = fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let inside = format!("{folder}/{name}");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if name != "target" {
                read_folder(root, &inside, files)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            files.push(SourceFile::new(inside, &text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        SourceFile::new("crates/x/src/a.rs", text).check(&mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tests_are_found_with_the_comments_above_them() {
        let text = "\
/// First.
///
/// Second.
#[tokio::test(
    start_paused = true
)]
async fn one() {}

// Between.

#[test]
// Inner.
fn two() {
    fn not_a_test() {}
}
/// Plain.
fn helper() {}
";
        let file = SourceFile::new("crates/x/src/a.rs", text);
        let found: Vec<_> = file
            .tests
            .iter()
            .map(|test| (&*test.name, test.line))
            .collect();
        assert_eq!(found, [("one", 7), ("two", 13)]);
        let comments = [(1, "First.".to_owned()), (3, "Second.".to_owned())];
        assert_eq!(file.tests[0].comments, comments);
        assert_eq!(file.tests[1].comments, [(12, "Inner.".to_owned())]);
    }

    #[test]
    fn tests_inside_a_macro_are_found() {
        let text = "proptest! {\n    /// P.\n    #[test]\n    fn holds(x in 0..9) {\n    }\n}\n";
        let file = SourceFile::new("crates/x/tests/a.rs", text);
        assert_eq!(file.tests[0].name, "holds");
        assert_eq!(file.tests[0].comments, [(2, "P.".to_owned())]);
        assert_eq!(file.tests_from, 1);
    }

    #[test]
    fn promises_are_tests_of_whoever_calls_the_suite() {
        let list = "macro_rules! conformance_tests {\n    ($r:expr) => {\n        \
            $crate::conformance_tests! { @each $r;\n            /// P-1: a\n            \
            /// and b.\n            one;\n            /// P-2.\n            two;\n        }\n    \
            };\n}\nfn f() {\n    g;\n}\n";
        let call = "x::conformance_tests!(Rig);\n";
        let files = [
            ("crates/x/src/conformance.rs", list),
            ("crates/x/tests/file.rs", call),
            ("crates/x/tests/server/main.rs", call),
            ("crates/x/tests/server/other.rs", call),
            ("crates/y/tests/file.rs", call),
        ];
        let files = files.map(|(path, text)| SourceFile::new(path, text));
        let sources = Sources {
            files: files.into_iter().collect(),
        };
        let found: Vec<_> = sources.tests().map(|(_, test)| test.clone()).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        let comments = [(4, "P-1: a".to_owned()), (5, "and b.".to_owned())];
        assert_eq!((&*found[0].name, found[0].line), ("one", 6));
        assert_eq!(found[0].comments, comments);
        assert_eq!(found[1].comments, [(7, "P-2.".to_owned())]);
        assert!(found.iter().all(|test| test.promise));
        assert_eq!(sources.callers("x"), ["file", "server"]);
    }

    #[test]
    fn the_module_of_tests_ends_the_rest() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x;\nfn b() {}\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n";
        assert_eq!(SourceFile::new("crates/x/src/a.rs", text).tests_from, 5);
        let apart = "fn a() {}\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(
            SourceFile::new("crates/x/src/a.rs", apart).tests_from,
            usize::MAX
        );
    }

    #[test]
    fn a_file_begins_by_saying_what_is_in_it() {
        assert!(findings("//! Says it.\nfn a() {}\n").is_empty());
        assert!(findings("#![doc = include_str!(\"../README.md\")]\n").is_empty());
        let silent = findings("// Only a comment.\nfn a() {}\n");
        assert!(
            silent[0].starts_with("crates/x/src/a.rs:1: opens without a word"),
            "{silent:?}"
        );
        assert_eq!(findings("/// Outer.\nfn a() {}\n").len(), 1);
        assert_eq!(findings("").len(), 1);
    }

    /// OPS-44: a test that is left out is found, on whatever condition.
    #[test]
    fn what_is_forbidden_is_found_in_code_only() {
        let text = "//! todo!( in words\nfn a() { todo!() }\nlet s = \"dbg!(\";\n#[ignore = \"x\"]\n\
             #[cfg_attr(debug_assertions, ignore)]\n";
        let found = findings(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].starts_with("crates/x/src/a.rs:5: `,ignore)]`"));
        assert!(found[0].starts_with("crates/x/src/a.rs:2: `todo!(`"));
        assert!(found[1].starts_with("crates/x/src/a.rs:4: `#[ignore`"));
    }

    /// STB-2: a periodic task that nobody supervises is found.
    #[test]
    fn periodic_tasks_are_supervised() {
        let found = findings("//! Says it.\nlet ticks = tokio::time::interval(EVERY);\n");
        assert!(
            found[0].contains("a task of monitor-supervisor"),
            "{found:?}"
        );
        assert!(findings("//! Says it.\nlet interval = spec.interval(EVERY);\n").is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        let text = format!("//! Long.\n{}", "\n".repeat(600));
        assert!(findings(&text)[0].contains(":600: 601 lines; split it"));
        assert!(findings(&format!("//! Long.\n{}", "\n".repeat(599))).is_empty());
    }

    #[test]
    fn the_package_is_the_folder() {
        assert_eq!(
            SourceFile::new("crates/monitor-x/src/a.rs", "").package(),
            "monitor-x"
        );
        assert_eq!(SourceFile::new("xtask/src/a.rs", "").package(), "xtask");
    }
}
