//! A headless browser behind a `WebDriver` address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, Program};
use super::tool::Tool;

/// A running chromedriver. Every session that a client opens on it is one headless Chromium.
#[derive(Debug)]
pub struct Browser {
    // Dropped in this order: first the programs, then their folder.
    process: Process,
    folder: TempDir,
    chromium: PathBuf,
    port: u16,
}

impl Browser {
    /// Starts chromedriver on a loopback port of its own choice and returns when it listens.
    ///
    /// # Errors
    ///
    /// Chromium or chromedriver is not installed, or it did not start; the error quotes its log.
    pub fn start() -> Result<Self> {
        Tool::require(&[Tool::Chromium, Tool::Chromedriver])?;
        let (chromium, driver) = (Tool::Chromium.find()?, Tool::Chromedriver.find()?);
        let folder = tempfile::Builder::new()
            .prefix("monitor-browser-")
            .tempdir()?;
        let home = folder
            .path()
            .to_str()
            .context("the temporary folder is not UTF-8")?;
        let log = folder.path().join("chromedriver.log");
        // It takes any free IPv4 port, wants the same one of IPv6, and gives up when somebody has
        // that: then it has to be asked for another one.
        let environment = ["HOME", "TMPDIR", "XDG_CONFIG_HOME"].map(|name| (name, home));
        let mut asked = 0;
        let (process, mut output, port) = loop {
            asked += 1;
            let program = Program {
                path: &driver,
                arguments: &["--port=0"],
                // Profiles, caches and crash dumps all go where they will be removed.
                environment: &environment,
                stdout: Stdio::piped(),
            };
            let mut process = Process::start(program, &log)?;
            let stdout = process
                .take_stdout()
                .context("chromedriver has no standard output")?;
            let mut output = BufReader::new(stdout);
            match listening(&mut output)? {
                Said::Port(port) => break (process, output, port),
                Said::PortTaken if asked < MAX_PORTS => {}
                Said::PortTaken | Said::Nothing => bail!(
                    "chromedriver did not say where it listens: {}",
                    process.post_mortem()
                ),
            }
        };
        // A full pipe would stop chromedriver, so somebody has to read on.
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        Ok(Self {
            process,
            folder,
            chromium,
            port,
        })
    }

    /// The address for a `WebDriver` client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The capabilities to open a session with: which browser, headless, and able to run as root.
    #[must_use]
    pub fn capabilities(&self) -> Value {
        let mut arguments = vec![
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-breakpad",
            "--disable-crash-reporter",
            "--no-first-run",
            "--hide-scrollbars",
        ];
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to run as root inside its sandbox.
            arguments.push("--no-sandbox");
        }
        json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": self.chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        })
    }

    /// Sends one `WebDriver` command as `POST path` and returns the `value` of its answer: enough
    /// for a picture or a question, without a client library.
    ///
    /// # Errors
    ///
    /// The browser refused the command; the error has its message.
    pub fn command(&self, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        // It keeps the connection open, so the answer ends where its JSON ends.
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        while answer.read_line(&mut line)? > 2 {
            line.clear();
        }
        let mut json = serde_json::Deserializer::from_reader(answer).into_iter::<Value>();
        let mut answer = json
            .next()
            .with_context(|| format!("no answer to {path}"))??;
        if let Some(error) = answer["value"]["error"].as_str() {
            bail!(
                "{path}: {error}: {}",
                answer["value"]["message"].as_str().unwrap_or_default()
            );
        }
        Ok(answer["value"].take())
    }

    /// Opens a session, that is, a browser window, and returns its path for
    /// [`command`](Self::command): `/session/<id>`. It lives as long as this value.
    ///
    /// # Errors
    ///
    /// Chromium did not start; the error has chromedriver's message.
    pub fn session(&self) -> Result<String> {
        let body = json!({ "capabilities": { "alwaysMatch": self.capabilities() } });
        let session = self.command("/session", &body)?;
        let id = session["sessionId"]
            .as_str()
            .context("the session has no id")?;
        Ok(format!("/session/{id}"))
    }

    /// Where it keeps everything it writes.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The id of the chromedriver process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

/// How many ports chromedriver may find taken.
const MAX_PORTS: u32 = 20;

/// What chromedriver said before it listened, or ended.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Port(u16),
    PortTaken,
    Nothing,
}

/// Reads on until chromedriver says where it listens, or ends.
fn listening(output: &mut impl BufRead) -> Result<Said> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some((_, rest)) = line.split_once("started successfully on port ") {
            let digits = rest.trim().trim_end_matches('.');
            let port = digits
                .parse()
                .with_context(|| format!("not a port: {digits:?}"))?;
            return Ok(Said::Port(port));
        }
        if line.contains("port not available") {
            return Ok(Said::PortTaken);
        }
        line.clear();
    }
    Ok(Said::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn chromium_runs_a_script_and_leaves_nothing_behind() {
        let browser = Browser::start().unwrap();
        let session = browser.session().unwrap();
        let script = json!({"script": "return 6 * 7", "args": []});
        let answer = browser
            .command(&format!("{session}/execute/sync"), &script)
            .unwrap();
        assert_eq!(answer, 42);
        let script = json!({"script": "throw Error('no')", "args": []});
        let error = browser
            .command(&format!("{session}/execute/sync"), &script)
            .unwrap_err();
        assert!(error.to_string().contains("javascript error"), "{error}");
        let folder = browser.folder().to_owned();
        drop(browser);
        assert!(!folder.exists());
        assert!(!uses(&folder), "a browser process is still running");
    }

    /// Whether any process has `folder` on its command line.
    fn uses(folder: &std::path::Path) -> bool {
        let folder = folder.to_str().unwrap();
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(folder))
    }

    #[test]
    fn the_port_is_read_from_what_chromedriver_prints() {
        let printed = "Starting ChromeDriver 150 on port 0\nOnly local\n\
                       ChromeDriver was started successfully on port 43519.\nmore\n";
        assert_eq!(
            listening(&mut printed.as_bytes()).unwrap(),
            Said::Port(43519)
        );
        let taken = "Starting on port 0\nIPv6 port not available. Exiting...\n";
        assert_eq!(listening(&mut taken.as_bytes()).unwrap(), Said::PortTaken);
        let nothing = "Starting on port 0\n";
        assert_eq!(listening(&mut nothing.as_bytes()).unwrap(), Said::Nothing);
        let odd = "ChromeDriver was started successfully on port x.\n";
        assert!(listening(&mut odd.as_bytes()).is_err());
    }
}
