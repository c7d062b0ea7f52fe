//! A real nginx.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::process::{Process, Program};
use super::tool::Tool;

/// Answers `/` with 200 and `/status/<code>` with that code.
const DEFAULT_SERVER: &str = r#"
        location = /           { return 200 "ok\n"; }
        location = /status/204 { return 204; }
        location = /status/301 { return 301 /; }
        location = /status/404 { return 404 "not here\n"; }
        location = /status/500 { return 500 "broken\n"; }
        location = /status/503 { return 503 "busy\n"; }"#;

/// How long nginx may take to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running nginx with one worker process, on a loopback port of its own.
#[derive(Debug)]
pub struct Nginx {
    // Dropped in this order: first the program, then its folder.
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Starts nginx with a few locations: `/` answers 200, `/status/<code>` answers 204, 301,
    /// 404, 500 or 503. Returns when it has answered a first request.
    ///
    /// # Errors
    ///
    /// nginx is not installed, or did not answer; the error quotes its log.
    pub fn start() -> Result<Self> {
        Self::with_server(DEFAULT_SERVER)
    }

    /// Starts nginx with `server` as the inside of its one `server` block. The `listen` directive
    /// is added. Any answer to `GET /` counts as started.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); a mistake in `server` is quoted as nginx reports it.
    pub fn with_server(server: &str) -> Result<Self> {
        let nginx = Tool::Nginx.find()?;
        let folder = tempfile::Builder::new()
            .prefix("monitor-nginx-")
            .tempdir()?;
        // The socket is bound here and handed over open. Its port cannot be lost to another
        // program in between, and a client that connects early waits in its queue.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configuration(folder.path(), address, server))?;
        let program = Program {
            path: &nginx,
            arguments: &[
                "-c",
                utf8(&config)?,
                "-p",
                utf8(folder.path())?,
                "-e",
                "stderr",
            ],
            // nginx takes over the sockets numbered here: ours is its standard output.
            environment: &[("NGINX", "1;")],
            stdout: Stdio::from(OwnedFd::from(listener)),
        };
        let process = Process::start(program, &folder.path().join("error.log"))?;
        let mut nginx = Self {
            process,
            folder,
            address,
        };
        nginx.first_answer()?;
        Ok(nginx)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, which starts with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The id of the master process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// nginx's own error log.
    #[must_use]
    pub fn error_log(&self) -> PathBuf {
        self.folder.path().join("error.log")
    }

    fn first_answer(&mut self) -> Result<()> {
        let answer = self.ask();
        if let Ok(answer) = &answer
            && answer == b"HTTP/1."
        {
            return Ok(());
        }
        let problem = answer
            .err()
            .map(|error| format!(" ({error:#})"))
            .unwrap_or_default();
        let told = self.process.post_mortem();
        bail!("nginx on {} gave no answer{problem}: {told}", self.address)
    }

    /// The first bytes of the answer to a first request.
    fn ask(&self) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, START_TIMEOUT)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = vec![0; 7];
        stream.read_exact(&mut start).context("no answer")?;
        Ok(start)
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

fn configuration(folder: &Path, address: SocketAddr, server: &str) -> String {
    let folder = folder.display();
    // As root, workers would become `www-data`, who may not enter the temporary folder.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        r"daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type text/plain;
    server {{
        listen {address};
{server}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(nginx: &Nginx, path: &str) -> String {
        let mut stream = TcpStream::connect(nginx.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn nginx_answers_and_leaves_nothing_behind() {
        let nginx = Nginx::start().unwrap();
        let answer = get(&nginx, "/");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("ok\n"), "{answer}");
        assert!(get(&nginx, "/status/503").starts_with("HTTP/1.1 503"));
        assert_eq!(nginx.url("/x"), format!("http://{}/x", nginx.address()));
        let (address, folder) = (nginx.address(), nginx.folder.path().to_owned());
        drop(nginx);
        assert!(TcpStream::connect(address).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn a_broken_configuration_is_quoted() {
        let error = Nginx::with_server("no_such_directive on;").unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("unknown directive \"no_such_directive\""),
            "{text}"
        );
    }
}
