//! The programs that tests need: where they are, and which package has them.

use std::env;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program from outside the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// The C compiler that builds the bundled SQLite.
    Cc,
    /// The web server that checks are run against.
    Nginx,
    /// The browser that the status page is tested in.
    Chromium,
    /// The `WebDriver` end of the browser.
    Chromedriver,
    /// The judge of `/metrics`.
    Promtool,
    /// The database server; `initdb` lies next to it.
    Postgres,
    /// The mail server, with IMAP.
    Dovecot,
    /// The mail server's SMTP side.
    Submission,
}

impl Tool {
    /// Every tool, in the order in which a report lists them.
    pub const ALL: [Self; 8] = [
        Self::Cc,
        Self::Nginx,
        Self::Chromium,
        Self::Chromedriver,
        Self::Promtool,
        Self::Postgres,
        Self::Dovecot,
        Self::Submission,
    ];

    /// The names under which the program may be installed, preferred first.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Cc => &["cc", "gcc", "clang"],
            Self::Nginx => &["nginx"],
            Self::Chromium => &[
                "chromium",
                "chromium-browser",
                "google-chrome",
                "google-chrome-stable",
            ],
            Self::Chromedriver => &["chromedriver"],
            Self::Promtool => &["promtool"],
            Self::Postgres => &["postgres"],
            Self::Dovecot => &["dovecot"],
            Self::Submission => &["submission-login"],
        }
    }

    /// The Debian package that has it.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            // Not gcc alone, which comes without the headers of the C library.
            Self::Cc => "build-essential",
            Self::Nginx => "nginx",
            Self::Chromium => "chromium",
            Self::Chromedriver => "chromium-driver",
            Self::Promtool => "prometheus",
            Self::Postgres => "postgresql",
            Self::Dovecot => "dovecot-imapd",
            Self::Submission => "dovecot-submissiond",
        }
    }

    /// What it is needed for, to complete "needed to ...".
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Cc => "compile the bundled SQLite",
            Self::Nginx => "run checks against a real web server",
            Self::Chromium => "test the status page in a real browser",
            Self::Chromedriver => "drive the browser",
            Self::Promtool => "check the exported metrics",
            Self::Postgres => "run the pool and the stores against a real database",
            Self::Dovecot => "read mail from a real mail server",
            Self::Submission => "send mail to a real mail server",
        }
    }

    /// Looks for the program on `PATH`, then in the folders of system programs, which are not on
    /// the `PATH` of an ordinary user, and in those of each version of PostgreSQL, newest first,
    /// and of Dovecot.
    ///
    /// # Errors
    ///
    /// [`Missing`] when no file of any of its [`names`](Self::names) can be executed.
    pub fn find(self) -> Result<PathBuf, Missing> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = env::split_paths(&path)
            .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
            .chain(versions_in(Path::new("/usr/lib/postgresql")))
            .chain([PathBuf::from("/usr/lib/dovecot")])
            .collect();
        find_in(self.names(), &folders).ok_or(Missing { tools: vec![self] })
    }

    /// Checks that all of `tools` are there.
    ///
    /// # Errors
    ///
    /// [`Missing`] names everything that is not there, so that one command can install it.
    pub fn require(tools: &[Self]) -> Result<(), Missing> {
        let tools: Vec<Self> = tools
            .iter()
            .copied()
            .filter(|tool| tool.find().is_err())
            .collect();
        if tools.is_empty() {
            Ok(())
        } else {
            Err(Missing { tools })
        }
    }
}

/// The first executable file with one of `names`: an earlier name wins over an earlier folder.
fn find_in(names: &[&str], folders: &[PathBuf]) -> Option<PathBuf> {
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| is_executable(path))
}

/// The `bin` folders of programs that Debian installs by version, newest first.
fn versions_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Programs that are not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The missing ones, never empty.
    pub tools: Vec<Tool>,
}

impl Missing {
    /// The Debian packages that have the missing programs, each once.
    #[must_use]
    pub fn packages(&self) -> Vec<&'static str> {
        let mut packages: Vec<_> = self.tools.iter().map(|tool| tool.package()).collect();
        packages.dedup();
        packages
    }

    /// The one command that installs all that is missing.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "sudo apt-get install --no-install-recommends {}",
            self.packages().join(" ")
        )
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "programs that the tests need are not installed:")?;
        for tool in &self.tools {
            writeln!(f, "  {:13} needed to {}", tool.names()[0], tool.purpose())?;
        }
        write!(f, "install them with:\n  {}", self.command())
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_preferred_name_wins_and_a_file_that_cannot_be_executed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let early = folder.path().join("early");
        let late = folder.path().join("late");
        for (file, mode) in [
            (early.join("second"), 0o755),
            (late.join("first"), 0o755),
            (early.join("no"), 0o644),
        ] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let folders = [early, late.clone()];
        assert_eq!(
            find_in(&["first", "second"], &folders),
            Some(late.join("first"))
        );
        assert_eq!(find_in(&["no"], &folders), None);
        assert_eq!(
            find_in(&["early"], &[folder.path().to_owned()]),
            None,
            "a folder is no program"
        );
    }

    #[test]
    fn the_newest_version_is_looked_at_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["9", "15", "notes"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(
            versions_in(folder.path()),
            ["15/bin", "9/bin"].map(|name| folder.path().join(name))
        );
        assert!(versions_in(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn what_is_missing_is_said_at_once_with_one_command() {
        let missing = Missing {
            tools: vec![Tool::Chromium, Tool::Promtool],
        };
        let text = missing.to_string();
        assert!(
            text.contains("chromium      needed to test the status page"),
            "{text}"
        );
        assert!(
            text.ends_with("sudo apt-get install --no-install-recommends chromium prometheus"),
            "{text}"
        );
    }
}
