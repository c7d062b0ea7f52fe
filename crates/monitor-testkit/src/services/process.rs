//! A child process that ends with its owner, however its owner ends.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Becomes the program, and leaves a watcher behind that waits for the end of our pipe.
///
/// The kernel closes that pipe when this process ends, even by `SIGKILL`, and the watcher then
/// kills its whole process group: the program and all its children. `Drop` alone could not do
/// that for a test that is killed, and a parent-death signal follows the *thread* that started
/// the program, which in a test is short-lived.
const LAUNCH: &str = r#"exec 3<&0
( read -r _ <&3; kill -s KILL 0 ) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null"#;

/// Marks the environment of the program and of all that it starts.
const MARK: &str = "MONITOR_TESTKIT_SERVICE";

/// How long to wait between two looks at what is left, and how often: ten seconds in all.
const WAIT: Duration = Duration::from_millis(2);
const MAX_WAITS: usize = 5_000;

/// A running program and its process group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Held open for as long as the program shall live.
    life: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its standard error goes to the file `log`.
    pub(crate) fn start(program: Program<'_>, log: &Path) -> Result<Self> {
        Self::start_as(None, program, log)
    }

    /// Starts `program` as another user, which only root may do.
    pub(crate) fn start_as(user: Option<User>, program: Program<'_>, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LAUNCH, "sh"])
            .arg(program.path)
            .args(program.arguments);
        command
            .envs(program.environment.iter().copied())
            .env(MARK, log);
        command
            .stdin(Stdio::piped())
            .stdout(program.stdout)
            .stderr(file)
            .process_group(0);
        if let Some(user) = user {
            // The standard library then drops the supplementary groups too.
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        let life = child.stdin.take();
        Ok(Self {
            child,
            life,
            log: log.to_owned(),
        })
    }

    /// The process id, which is also the id of its group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The program's standard output, when it was started with a pipe.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends the program itself `signal` and waits until it has ended, ten seconds at most. `false`
    /// when it has not.
    pub(crate) fn end_by(&mut self, signal: Signal) -> bool {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // Until it has been waited for, its id is nobody else's.
            let _ = kill_process(pid, signal);
        }
        for _ in 0..MAX_WAITS {
            if self.has_ended() {
                return true;
            }
            thread::sleep(WAIT);
        }
        false
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it if it has not ended. Says in words how it had ended before, if it had, and what it
    /// wrote to its log.
    pub(crate) fn post_mortem(&mut self) -> String {
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended ({status})"),
            _ => "it was still running".into(),
        };
        self.stop();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{ended}; its log says:\n{log}")
    }

    /// Ends the program and its children. When this returns, none of them runs any more.
    fn stop(&mut self) {
        // The watcher sees the end of the pipe and kills the group.
        drop(self.life.take());
        let _ = self.child.wait();
        // The kernel takes a moment to end the others, and a few may have left the group.
        for _ in 0..MAX_WAITS {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            thread::sleep(WAIT);
        }
    }

    /// The processes of the group, and others that were started by one of them, that still run.
    fn left(&self) -> Vec<i32> {
        let mark = [MARK.as_bytes(), b"=", self.log.as_os_str().as_bytes()].concat();
        let marked = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark)
        };
        let group = i32::try_from(self.child.id()).unwrap_or_default();
        running()
            .filter(|(pid, its_group)| *its_group == group || marked(*pid))
            .map(|(pid, _)| pid)
            .collect()
    }
}

/// All processes that are not dead already, with their groups.
fn running() -> impl Iterator<Item = (i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may contain anything. Then: state, parent, group.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let group = fields.nth(1)?.parse().ok()?;
        (!["Z", "X"].contains(&state)).then_some((pid, group))
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
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

/// A user and its main group, by their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Looks for the first of `names` that exists.
    pub(crate) fn find(names: &[&str]) -> Result<Self> {
        let output = Command::new("getent")
            .arg("passwd")
            .args(names)
            .output()
            .context("cannot start getent")?;
        // name:password:uid:gid:..., in the order of the question.
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .find_map(|line| {
                let mut fields = line.split(':').skip(2);
                Some(Self {
                    uid: fields.next()?.parse().ok()?,
                    gid: fields.next()?.parse().ok()?,
                })
            })
            .with_context(|| format!("there is no user called {}", names.join(" or ")))
    }
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
            // One child in the group, and one that leaves it.
            arguments: &["-c", "sleep 601 & setsid sleep 602 & echo started; wait"],
            environment: &[],
            stdout: Stdio::piped(),
        };
        let mut process = Process::start(program, &folder.path().join("log")).unwrap();
        let mut stdout = BufReader::new(process.take_stdout().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        assert!(process.left().len() >= 3, "{:?}", process.left());
        process.stop();
        assert!(process.left().is_empty());
        // Both had the other end of the pipe.
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
        process.child.wait().unwrap();
        let told = process.post_mortem();
        assert_eq!(told, "it ended (exit status: 3); its log says:\nbroken\n");
    }
}
