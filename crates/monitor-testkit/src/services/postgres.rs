//! A real PostgreSQL.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{Process, Program, User};
use super::tool::Tool;

/// The only role at first, a superuser.
const USER: &str = "monitor";

const PASSWORD: &str = "correct-horse";

const DATABASE: &str = "postgres";

/// A crash of the machine need not be survived; one of the server is, with all it acknowledged.
const SETTINGS: &str = "
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 200
# Inside the folder, so that it goes away with it.
dynamic_shared_memory_type = mmap
";

/// How long to wait between two looks at a starting server, and how often: a minute in all.
const WAIT: Duration = Duration::from_millis(5);
const MAX_WAITS: usize = 12_000;

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are told (57P01), transactions rolled back, and all is written down.
    Fast,
    /// Sessions are cut off, as in a crash; the next start recovers from the log.
    Immediate,
}

/// A running PostgreSQL with a database of its own, on a loopback port that stays its own.
///
/// It asks for a password (scram-sha-256) and takes 200 connections. As root it runs as the user
/// `postgres`, or `nobody` where there is none, because it refuses to be run by root.
#[derive(Debug)]
pub struct Postgres {
    // Dropped in this order: first the program, then its folder, then the port.
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    user: Option<User>,
    address: SocketAddr,
    /// Bound and never listening: nobody else gets the port, not even while the server is down.
    _reserved: OwnedFd,
}

impl Postgres {
    /// Makes an empty database and starts a server on it. Returns when it takes connections.
    ///
    /// # Errors
    ///
    /// PostgreSQL is not installed, or did not start; the error quotes its log.
    pub fn start() -> Result<Self> {
        Self::with_settings("")
    }

    /// Starts a server with more lines for its `postgresql.conf`.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); a mistake in `settings` is quoted as the server reports it.
    pub fn with_settings(settings: &str) -> Result<Self> {
        Self::make(settings, &[])
    }

    /// Starts a server that takes encrypted connections too, with this certificate and this key,
    /// both in PEM.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn with_certificate(certificate: &str, key: &str) -> Result<Self> {
        let settings = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'";
        Self::make(
            settings,
            &[("server.crt", certificate), ("server.key", key)],
        )
    }

    fn make(settings: &str, files: &[(&str, &str)]) -> Result<Self> {
        let program = Tool::Postgres.find()?;
        let user = if rustix::process::geteuid().is_root() {
            Some(User::find(&["postgres", "nobody"])?)
        } else {
            None
        };
        let folder = tempfile::Builder::new()
            .prefix("monitor-postgres-")
            .tempdir()?;
        let (reserved, address) = reserve_port()?;
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid))?;
        }
        make_database(&program, folder.path(), user)?;
        let data = folder.path().join("data");
        let mut config = fs::read_to_string(data.join("postgresql.conf"))?;
        config.push_str(SETTINGS);
        config.push_str(settings);
        config.push('\n');
        // Written over, not made anew: it stays its owner's.
        fs::write(data.join("postgresql.conf"), config)?;
        for (name, text) in files {
            write_private(&data.join(name), text, user)?;
        }
        let mut postgres = Self {
            process: None,
            folder,
            program,
            user,
            address,
            _reserved: reserved,
        };
        postgres.start_again()?;
        Ok(postgres)
    }

    /// Where it listens, now or after the next start.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The role of a superuser.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        USER
    }

    /// The password of that role.
    #[must_use]
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The database that is there from the start.
    #[must_use]
    pub const fn database(&self) -> &'static str {
        DATABASE
    }

    /// The URL of the database with role and password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address)
    }

    /// The same database as seen through a proxy at `address`.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}:{PASSWORD}@{address}/{DATABASE}")
    }

    /// What the server wrote since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Stops the server. Its data and its port stay. Does nothing when it is not running.
    ///
    /// # Errors
    ///
    /// It did not end in ten seconds and was killed; the error quotes its log.
    pub fn stop(&mut self, how: Shutdown) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let signal = match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        if !process.end_by(signal) {
            bail!("PostgreSQL did not stop: {}", process.post_mortem());
        }
        Ok(())
    }

    /// Starts it again on the same port. Returns when it takes connections.
    ///
    /// # Errors
    ///
    /// It did not start; the error quotes its log.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop(Shutdown::Fast)?;
        let data = self.folder.path().join("data");
        let port = self.address.port().to_string();
        let program = Program {
            path: &self.program,
            arguments: &[
                "-D",
                utf8(&data)?,
                "-c",
                "listen_addresses=127.0.0.1",
                "-p",
                &port,
            ],
            environment: &[("LC_ALL", "C"), ("TZ", "UTC")],
            stdout: Stdio::null(),
        };
        let mut process = Process::start_as(self.user, program, &self.log_file())?;
        let mut waits = 0;
        while !is_ready(&data, process.id()) {
            waits += 1;
            if waits == MAX_WAITS || process.has_ended() {
                bail!("PostgreSQL did not start: {}", process.post_mortem());
            }
            thread::sleep(WAIT);
        }
        self.process = Some(process);
        Ok(())
    }

    /// Stops it and starts it again on the same port and data.
    ///
    /// # Errors
    ///
    /// As for [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub fn restart(&mut self, how: Shutdown) -> Result<()> {
        self.stop(how)?;
        self.start_again()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own way of ending at once, so that it gives its shared memory back.
        let _ = self.stop(Shutdown::Immediate);
    }
}

/// Binds a loopback port without listening there. Linux lets another socket listen on it, since
/// both allow the address to be reused, gives it to nobody who asks for any free port, and
/// refuses connections as long as nobody listens.
pub(super) fn reserve_port() -> Result<(OwnedFd, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC;
    let reserved = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&reserved, true)?;
    bind(&reserved, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = SocketAddr::try_from(getsockname(&reserved)?)
        .map_err(|_| anyhow::anyhow!("an IPv4 socket has an IPv4 address"))?;
    Ok((reserved, address))
}

/// Runs `initdb`, which lies next to the server.
fn make_database(server: &Path, folder: &Path, user: Option<User>) -> Result<()> {
    let password = folder.join("password");
    write_private(&password, PASSWORD, user)?;
    let mut command = Command::new(server.with_file_name("initdb"));
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-U", USER, "--auth=scram-sha-256"])
        .arg(format!("--pwfile={}", utf8(&password)?))
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ])
        // The caller's own folder may be closed to that user.
        .current_dir(folder);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let output = command.output().context("cannot start initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Writes a file that only the server may read, as it demands for its key.
fn write_private(path: &Path, text: &str, user: Option<User>) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Whether the server of this process id says in its pid file, line 8, that it takes connections;
/// `pg_ctl` asks there too. A file that a killed server left behind has another id in its line 1.
fn is_ready(data: &Path, id: u32) -> bool {
    let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = pid_file.lines();
    lines.next() == Some(&id.to_string())
        && lines
            .nth(6)
            .is_some_and(|status| status.trim_end() == "ready")
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    /// Asks for TLS; every PostgreSQL answers with one byte.
    fn says_hello(address: SocketAddr) -> bool {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])
            .unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        &answer == b"N"
    }

    #[test]
    fn postgres_stops_starts_again_on_its_port_and_leaves_nothing_behind() {
        let mut postgres = Postgres::start().unwrap();
        let address = postgres.address();
        assert!(says_hello(address));
        for how in [Shutdown::Fast, Shutdown::Immediate] {
            postgres.stop(how).unwrap();
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            postgres.start_again().unwrap();
            assert_eq!(postgres.address(), address);
            assert!(says_hello(address));
        }
        let folder = postgres.folder.path().to_owned();
        let id = postgres.process.as_ref().map(Process::id).unwrap();
        drop(postgres);
        assert!(!folder.exists());
        assert!(!Path::new("/proc").join(id.to_string()).exists());
    }

    #[test]
    fn a_mistake_in_the_settings_is_quoted() {
        let error = Postgres::with_settings("no_such_setting = 1").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no_such_setting"), "{text}");
    }
}
