//! The real binary, run by a test: never longer than the test, never without a deadline.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Far longer than anything takes between two lines; only a hang gets here.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// `monitord` with nothing of this machine's environment that it reads.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitord"));
    for (variable, _) in monitord::config::VARIABLES {
        command.env_remove(variable);
    }
    command
        .env_remove("RUST_LOG")
        .env_remove("NO_COLOR")
        .args(args)
        .stdin(Stdio::null());
    command
}

/// Runs `monitord` to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    command(args).output().expect("the binary starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A running `monitord`. Killed when the test ends before it does.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Running {
    /// Leaves it with so many descriptors at most.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit_descriptors(&self, limit: u64) {
        use rustix::process::{Resource, Rlimit, prlimit};
        let limits = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        let process = Pid::from_child(&self.child);
        prlimit(Some(process), Resource::Nofile, limits).expect("a child of ours");
    }

    /// Starts it; both its streams are read into one.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (tell, lines) = channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            seen: String::new(),
        }
    }

    /// Waits for a line that contains `text` and returns it.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(HANG) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in:\n{}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {text:?}:\n{}", self.seen)
                }
            }
        }
    }

    /// The line that contains `text`, also one that was said before.
    pub(crate) fn until_said(&mut self, text: &str) -> String {
        let said = self.seen.lines().find(|line| line.contains(text));
        match said.map(str::to_owned) {
            Some(line) => line,
            None => self.until(text),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits for the end, and returns it with all that was said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        loop {
            match self.lines.recv_timeout(HANG) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                }
                // Both streams end when the process does.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.seen),
            }
        }
        (
            self.child.wait().expect("a child is waited for once"),
            std::mem::take(&mut self.seen),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a configuration into `folder` and returns its path.
pub(crate) fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("monitord.toml");
    std::fs::write(&path, text).expect("a temporary folder can be written");
    path.to_str().expect("a temporary path is UTF-8").to_owned()
}
