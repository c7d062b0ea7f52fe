//! A list of steps that run one after the other: progress while they run, one table at the end.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::run;

/// How often a quiet step says that it is alive, when there is no terminal for a spinner.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How many lines of a failed program are shown.
const SHOWN_LINES: usize = 400;

/// Something to do. It ends with a note for the table, such as `312 tests`.
pub(crate) struct Step<'a> {
    name: String,
    work: Work<'a>,
}

type Work<'a> = Box<dyn FnOnce(&mut Progress) -> Result<String> + 'a>;

impl<'a> Step<'a> {
    /// A step called `name`.
    pub(crate) fn new(
        name: impl Into<String>,
        work: impl FnOnce(&mut Progress) -> Result<String> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }

    /// A step that runs one program and has no more to say.
    pub(crate) fn command(name: impl Into<String>, command: Command) -> Self {
        let mut command = command;
        Self::new(name, move |progress| {
            progress.run(&mut command).map(|_| String::new())
        })
    }
}

/// How the programs of a plan print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// As they do.
    Live,
    /// Not at all, unless they fail.
    OnFailure,
}

/// How to go through the steps.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) output: Output,
    /// Go on after a failed step.
    pub(crate) keep_going: bool,
    /// Where to write the table as JSON.
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Programs print as they do, and the first failure ends it.
    pub(crate) const LIVE: Self = Self {
        output: Output::Live,
        keep_going: false,
        json: None,
    };
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed(String),
    Failed,
    NotRun,
}

/// A line of the table.
#[derive(Debug)]
struct Row {
    name: String,
    verdict: Verdict,
    time: Duration,
}

/// Runs `steps` in order and prints the table. `false` when a step failed.
pub(crate) fn run(steps: Vec<Step<'_>>, options: &Options) -> Result<bool> {
    let started = now();
    let total = steps.len();
    let mut rows: Vec<Row> = Vec::with_capacity(total);
    let mut failed = false;
    for (index, Step { name, work }) in steps.into_iter().enumerate() {
        if failed && !options.keep_going {
            rows.push(Row {
                name,
                verdict: Verdict::NotRun,
                time: Duration::ZERO,
            });
            continue;
        }
        let title = format!("[{}/{total}] {name}", index + 1);
        let mut progress = Progress::start(title.clone(), options.output);
        let result = work(&mut progress);
        let time = progress.finish();
        let verdict = match result {
            Ok(note) => {
                println!("{title}: {} in {}", styled("passed", GREEN), Seconds(time));
                Verdict::Passed(note)
            }
            Err(error) => {
                failed = true;
                println!("{title}: {} after {}", styled("FAILED", RED), Seconds(time));
                println!("{error:#}\n");
                Verdict::Failed
            }
        };
        rows.push(Row {
            name,
            verdict,
            time,
        });
    }
    let time = started.elapsed();
    if total > 1 {
        print!("\n{}", table(&rows, time));
    }
    if let Some(path) = &options.json {
        write_json(path, &rows, time)?;
    }
    Ok(!failed)
}

/// A step under way.
#[derive(Debug)]
pub(crate) struct Progress {
    title: String,
    output: Output,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Progress {
    fn start(title: String, output: Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let spinner = (terminal && output == Output::OnFailure).then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
                .with_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if spinner.is_none() {
            println!("{title} ...");
        }
        Self {
            title,
            output,
            started: now(),
            spinner,
        }
    }

    fn finish(self) -> Duration {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        self.started.elapsed()
    }

    /// Says what is being done just now.
    pub(crate) fn say(&self, message: &str) {
        match (&self.spinner, self.output) {
            (Some(spinner), _) => spinner.set_message(message.to_owned()),
            (None, Output::Live) => println!("      {message}"),
            (None, Output::OnFailure) => {}
        }
    }

    /// Prints a line that is part of the result.
    pub(crate) fn print(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| println!("      {line}")),
            None => println!("      {line}"),
        }
    }

    /// Runs `command`; an error has what it printed, unless that was shown already. Returns the
    /// last lines it printed, or none when they were shown.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Vec<String>> {
        if self.output == Output::OnFailure {
            return self
                .drive(command, Source::Output)
                .map(|printed| printed.recent);
        }
        let shown = run::shown(command);
        println!("      $ {shown}");
        let status = command
            .status()
            .with_context(|| format!("cannot start `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}` failed ({status})");
        }
        Ok(Vec::new())
    }

    /// Runs `command` and returns what it printed on standard output, which is for us and not
    /// for people; an error has what it printed on standard error.
    pub(crate) fn capture(&self, command: &mut Command) -> Result<String> {
        self.drive(command, Source::Error)
            .map(|printed| printed.output)
    }

    /// Runs `command` and follows what it prints. An error has the last of it: all, or with
    /// `Source::Error` only what was printed there.
    fn drive(&self, command: &mut Command, shown_on_failure: Source) -> Result<Printed> {
        let shown = run::shown(command);
        if std::io::stdout().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            read_lines(stderr, Source::Error, sender.clone());
        }
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, Source::Output, sender);
        }
        let mut output = String::new();
        let mut recent = VecDeque::new();
        let mut last = shown.clone();
        loop {
            match lines.recv_timeout(HEARTBEAT) {
                Ok((source, line)) => {
                    if source == Source::Output {
                        output.push_str(&line);
                        output.push('\n');
                    }
                    if source == Source::Output && shown_on_failure == Source::Error {
                        continue;
                    }
                    last = line.trim().to_owned();
                    self.say_if_spinning(&last);
                    recent.push_back(line);
                    if recent.len() > SHOWN_LINES {
                        recent.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.heartbeat(&last),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child
            .wait()
            .with_context(|| format!("`{shown}` cannot be waited for"))?;
        let recent = Vec::from(recent);
        if !status.success() {
            bail!("{}\n\n`{shown}` failed ({status})", recent.join("\n"));
        }
        Ok(Printed { output, recent })
    }

    fn say_if_spinning(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(line.to_owned());
        }
    }

    /// A sign of life for a log without a terminal.
    fn heartbeat(&self, last: &str) {
        if self.spinner.is_none() {
            println!(
                "{}: {} so far, last: {last}",
                self.title,
                Seconds(self.started.elapsed())
            );
        }
    }
}

/// What a program printed.
struct Printed {
    /// All of its standard output.
    output: String,
    /// The last lines of what is for people.
    recent: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Output,
    Error,
}

fn read_lines(from: impl Read + Send + 'static, source: Source, to: Sender<(Source, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned();
            if to.send((source, line)).is_err() {
                break;
            }
        }
    });
}

/// The one place that reads a clock.
#[expect(clippy::disallowed_methods, reason = "chores measure real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

const GREEN: u8 = 32;
const RED: u8 = 31;
const DIM: u8 = 2;

/// `text` in a colour, on a terminal.
fn styled(text: &str, code: u8) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A time to one tenth, or in minutes when it is long.
pub(crate) struct Seconds(pub(crate) Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        if seconds >= 100 {
            write!(f, "{} min {:02} s", seconds / 60, seconds % 60)
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

fn table(rows: &[Row], total: Duration) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0)
        .max("total".len());
    let mut text = String::new();
    for row in rows {
        let (result, code, note) = match &row.verdict {
            Verdict::Passed(note) => ("passed ", GREEN, note.as_str()),
            Verdict::Failed => ("FAILED ", RED, ""),
            Verdict::NotRun => ("not run", DIM, ""),
        };
        let time = if row.verdict == Verdict::NotRun {
            String::new()
        } else {
            Seconds(row.time).to_string()
        };
        let line = format!(
            "  {:width$}  {}  {time:>11}  {note}",
            row.name,
            styled(result, code)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let time = Seconds(total).to_string();
    text.push_str(&format!("  {:width$}  {:7}  {time:>11}\n", "total", ""));
    text
}

fn write_json(path: &Path, rows: &[Row], total: Duration) -> Result<()> {
    let steps: Vec<_> = rows
        .iter()
        .map(|row| {
            let (result, note) = match &row.verdict {
                Verdict::Passed(note) => ("passed", note.as_str()),
                Verdict::Failed => ("failed", ""),
                Verdict::NotRun => ("not run", ""),
            };
            serde_json::json!({
                "name": row.name,
                "result": result,
                "seconds": row.time.as_secs_f64(),
                "note": note,
            })
        })
        .collect();
    let passed = rows
        .iter()
        .all(|row| matches!(row.verdict, Verdict::Passed(_)));
    let summary = serde_json::json!({
        "passed": passed,
        "seconds": total.as_secs_f64(),
        "steps": steps,
    });
    fs::write(path, format!("{summary:#}\n"))
        .with_context(|| format!("cannot write the summary to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, verdict: Verdict, millis: u64) -> Row {
        Row {
            name: name.into(),
            verdict,
            time: Duration::from_millis(millis),
        }
    }

    #[test]
    fn the_table_lines_up() {
        let rows = [
            row("tidy", Verdict::Passed("90 files".into()), 120),
            row("clippy", Verdict::Failed, 130_000),
            row("test", Verdict::NotRun, 0),
        ];
        let expected = "  tidy    passed         0.1 s  90 files\n\
                        \x20 clippy  FAILED    2 min 10 s\n\
                        \x20 test    not run\n\
                        \x20 total             2 min 10 s\n";
        assert_eq!(table(&rows, Duration::from_secs(130)), expected);
    }

    #[test]
    fn a_failure_ends_the_plan_and_is_in_the_summary() {
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("summary.json");
        let mut reached = false;
        let steps = vec![
            Step::new("first", |_| Ok("fine".into())),
            Step::command("second", {
                let mut command = Command::new("sh");
                command.args(["-c", "echo out; echo err >&2; exit 7"]);
                command
            }),
            Step::new("third", |_| {
                reached = true;
                Ok(String::new())
            }),
        ];
        let options = Options {
            output: Output::OnFailure,
            keep_going: false,
            json: Some(json.clone()),
        };
        assert!(!run(steps, &options).unwrap());
        assert!(!reached);
        let summary: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        assert_eq!(summary["passed"], false);
        let results: Vec<_> = summary["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["result"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(results, ["passed", "failed", "not run"]);
    }

    #[test]
    fn what_a_program_printed_is_kept() {
        let progress = Progress::start("[1/1] test".into(), Output::OnFailure);
        let mut good = Command::new("sh");
        good.args(["-c", "echo one; echo aside >&2; echo two"]);
        assert_eq!(progress.capture(&mut good).unwrap(), "one\ntwo\n");
        let mut bad = Command::new("sh");
        bad.args(["-c", "echo machine; echo told >&2; exit 1"]);
        let error = progress.capture(&mut bad).unwrap_err().to_string();
        assert!(
            error.starts_with("told\n") && !error.contains("machine\n"),
            "{error}"
        );
        let error = progress.run(&mut bad).unwrap_err().to_string();
        assert!(
            error.contains("machine\n") && error.contains("told\n"),
            "{error}"
        );
    }
}
