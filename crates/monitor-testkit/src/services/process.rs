//! A child process that ends with its owner, however its owner ends.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

/// Becomes the program, and leaves a watcher behind that waits for the end of our pipe.
///
/// The kernel closes that pipe when this process ends, even by `SIGKILL`, and the watcher then
/// kills its whole process group: the program and all its children. `Drop` alone could not do
/// that for a test that is killed, and a parent-death signal follows the *thread* that started
/// the program, which in a test is short-lived.
const LAUNCH: &str = r#"exec 3<&0
( read -r _ <&3; kill -s KILL 0 ) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null"#;

/// A running program and its process group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Held open for as long as the program shall live.
    life: Option<ChildStdin>,
}

impl Process {
    /// Starts `program`; its standard error goes to the file `log`.
    pub(crate) fn start(program: Program<'_>, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LAUNCH, "sh"])
            .arg(program.path)
            .args(program.arguments);
        command.envs(program.environment.iter().copied());
        command
            .stdin(Stdio::piped())
            .stdout(program.stdout)
            .stderr(log)
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        let life = child.stdin.take();
        Ok(Self { child, life })
    }

    /// The process id, which is also the id of its group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The program's standard output, when it was started with a pipe.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has ended.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.life.take());
        // The watcher kills the group at once; this only collects the exit status.
        let _ = self.child.wait();
    }
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) environment: &'a [(&'a str, &'a str)],
    pub(crate) stdout: Stdio,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn dropping_the_process_ends_its_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program {
            path: Path::new("/bin/sh"),
            arguments: &["-c", "sleep 600 & echo started; wait"],
            environment: &[],
            stdout: Stdio::piped(),
        };
        let mut process = Process::start(program, &folder.path().join("log")).unwrap();
        let mut stdout = BufReader::new(process.take_stdout().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        drop(process);
        // `sleep` has the pipe's other end too: only when all are gone does it end.
        assert_eq!(stdout.read_line(&mut line).unwrap(), 0);
    }

    #[test]
    fn an_early_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let program = Program {
            path: Path::new("/bin/sh"),
            arguments: &["-c", "echo broken >&2; exit 3"],
            environment: &[],
            stdout: Stdio::piped(),
        };
        let mut process = Process::start(program, &log).unwrap();
        let mut rest = String::new();
        let mut stdout = BufReader::new(process.take_stdout().unwrap());
        assert_eq!(stdout.read_line(&mut rest).unwrap(), 0);
        let status = process.child.wait().unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "broken\n");
    }
}
