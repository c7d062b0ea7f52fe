//! A real mail server: Dovecot for SMTP submission and IMAP.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::process::{Process, Program, User};
use super::tool::Tool;

mod config;
mod relay;

use config::{Account, Config, PASSWORD, Ports, USER};
use relay::{Inbox, Relay};

/// How long to wait between two looks at a starting server, and how often: a minute in all.
const WAIT: Duration = Duration::from_millis(5);
const MAX_WAITS: usize = 12_000;

/// How long a server that accepts may take to greet.
const GREETING: Duration = Duration::from_secs(20);

/// A running Dovecot with one user, on loopback ports of its own.
///
/// SMTP submission wants credentials (PLAIN or LOGIN, without TLS too). What is submitted for
/// `alice` at any domain arrives in the inbox that IMAP shows; `full` has a full mailbox (452), and
/// nobody else has one (550). As root it runs as the user `dovecot`.
#[derive(Debug)]
pub struct Mail {
    // Dropped in this order: first the program, then what it uses.
    process: Process,
    _relay: Relay,
    inbox: Inbox,
    folder: TempDir,
    ports: Ports,
}

impl Mail {
    /// Starts a server without TLS. Returns when it has greeted on both ports.
    ///
    /// # Errors
    ///
    /// Dovecot is not installed, or did not start; the error quotes its log.
    pub fn start() -> Result<Self> {
        Self::with_settings("")
    }

    /// Starts a server without TLS, with more lines for its `dovecot.conf`.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); a mistake in `settings` is quoted as Dovecot reports it.
    pub fn with_settings(settings: &str) -> Result<Self> {
        Self::launch(None, settings)
    }

    /// Starts a server that also speaks TLS, at once on two more ports and after STARTTLS, and shows
    /// this certificate.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn with_tls(certificate_pem: &str, key_pem: &str) -> Result<Self> {
        Self::launch(Some((certificate_pem, key_pem)), "")
    }

    /// Where it takes mail (submission, STARTTLS if it has a certificate).
    #[must_use]
    pub const fn smtp(&self) -> SocketAddr {
        self.ports.smtp
    }

    /// Where it shows mail (STARTTLS if it has a certificate).
    #[must_use]
    pub const fn imap(&self) -> SocketAddr {
        self.ports.imap
    }

    /// Where it takes mail over TLS from the first byte, if it has a certificate.
    #[must_use]
    pub fn smtps(&self) -> Option<SocketAddr> {
        self.ports.has_tls.then_some(self.ports.smtps)
    }

    /// Where it shows mail over TLS from the first byte, if it has a certificate.
    #[must_use]
    pub fn imaps(&self) -> Option<SocketAddr> {
        self.ports.has_tls.then_some(self.ports.imaps)
    }

    /// The name that it accepts.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        USER
    }

    /// The password of that name.
    #[must_use]
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Puts a message into the inbox, past SMTP.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn deliver(&self, message: &str) -> Result<()> {
        Ok(self.inbox.deliver(message.as_bytes())?)
    }

    /// The messages in the inbox, in no order.
    ///
    /// # Errors
    ///
    /// One cannot be read, for example since a client deletes it at this moment.
    pub fn inbox(&self) -> Result<Vec<String>> {
        Ok(self.inbox.messages()?)
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn launch(tls: Option<(&str, &str)>, settings: &str) -> Result<Self> {
        let program = Tool::Dovecot.find()?;
        let folder = tempfile::Builder::new().prefix("monitor-mail-").tempdir()?;
        let account = Account::own()?;
        let ports = Ports::reserve(tls.is_some())?;
        let inbox = Inbox::create(&folder.path().join("home/Maildir"))?;
        let relay = Relay::start(USER, inbox.clone())?;
        let config = Config {
            folder: folder.path(),
            account: &account,
            ports: &ports,
            relay: relay.address(),
        };
        let config = config.write(tls, settings)?;
        if let Some(user) = account.user {
            give(folder.path(), user)?;
        }
        let program = Program {
            path: &program,
            arguments: &["-F", "-c", utf8(&config)?],
            environment: &[],
            stdout: Stdio::null(),
        };
        let log = folder.path().join("server.log");
        let mut process = Process::start_as(account.user, program, &log)?;
        await_greeting(&mut process, ports.imap, b"* OK")?;
        await_greeting(&mut process, ports.smtp, b"220 ")?;
        Ok(Self {
            process,
            _relay: relay,
            inbox,
            folder,
            ports,
        })
    }

    /// The id of the master process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

/// Makes `user` the owner of a folder and of all in it.
fn give(folder: &Path, user: User) -> Result<()> {
    chown(folder, Some(user.uid), Some(user.gid))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), user)?;
        } else {
            chown(entry.path(), Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

/// Waits until the server says `greeting` on `address`.
fn await_greeting(process: &mut Process, address: SocketAddr, greeting: &[u8]) -> Result<()> {
    for _ in 0..MAX_WAITS {
        if let Ok(stream) = TcpStream::connect(address) {
            stream.set_read_timeout(Some(GREETING))?;
            let mut line = Vec::new();
            // Read to its end, or the server would log that a client went away.
            if BufReader::new(&stream).read_until(b'\n', &mut line).is_ok()
                && line.starts_with(greeting)
            {
                return Ok(());
            }
        }
        if process.has_ended() {
            break;
        }
        thread::sleep(WAIT);
    }
    bail!("Dovecot did not start: {}", process.post_mortem())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Says each of `lines` and returns the answers, from the greeting on: the last line of each.
    fn talk(address: SocketAddr, lines: &[&str], is_last: fn(&str) -> bool) -> Vec<String> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(GREETING)).unwrap();
        let mut reader = BufReader::new(&stream);
        let mut answers = Vec::new();
        for say in std::iter::once(None).chain(lines.iter().map(Some)) {
            if let Some(line) = say {
                write!(&stream, "{line}\r\n").unwrap();
            }
            let mut answer = String::new();
            while !is_last(&answer) {
                answer.clear();
                assert_ne!(reader.read_line(&mut answer).unwrap(), 0, "{answers:?}");
            }
            answers.push(answer.trim().to_owned());
        }
        answers
    }

    /// The codes that a submission server answers with.
    fn smtp(mail: &Mail, lines: &[&str]) -> Vec<String> {
        let answers = talk(mail.smtp(), lines, |line| line.get(3..4) == Some(" "));
        answers.iter().map(|line| line[..3].to_owned()).collect()
    }

    /// The answers of an IMAP server to commands with the tag `a`.
    fn imap(mail: &Mail, lines: &[&str]) -> Vec<String> {
        talk(mail.imap(), lines, |line| {
            line.starts_with("a ") || line.starts_with("* OK [CAP")
        })
    }

    #[test]
    fn a_message_goes_in_by_smtp_and_comes_out_by_imap() {
        let mail = Mail::start().unwrap();
        let codes = smtp(
            &mail,
            &[
                "EHLO test",
                // alice, correct-horse
                "AUTH PLAIN AGFsaWNlAGNvcnJlY3QtaG9yc2U=",
                "MAIL FROM:<test@localhost>",
                "RCPT TO:<bob@localhost>",
                "RCPT TO:<full@localhost>",
                "RCPT TO:<alice@localhost>",
                "DATA",
                "Subject: hello\r\n\r\n..dot\r\n.",
                "QUIT",
            ],
        );
        let expected = [
            "220", "250", "235", "250", "550", "452", "250", "354", "250", "221",
        ];
        assert_eq!(codes, expected, "{}", mail.log());
        let inbox = mail.inbox().unwrap();
        assert_eq!(inbox.len(), 1);
        assert!(
            inbox[0].ends_with("Subject: hello\r\n\r\n.dot\r\n"),
            "{inbox:?}"
        );

        mail.deliver("Subject: second\r\n\r\nbody\r\n").unwrap();
        let answers = imap(
            &mail,
            &["a LOGIN alice correct-horse", "a STATUS INBOX (MESSAGES)"],
        );
        assert!(answers[1].starts_with("a OK"), "{answers:?}");
        assert!(answers[2].starts_with("a OK"), "{answers:?}");
        let found = imap(
            &mail,
            &[
                "a LOGIN alice correct-horse",
                "a SELECT INBOX",
                "a SEARCH ALL",
            ],
        );
        assert!(found[3].starts_with("a OK"), "{found:?}");
        assert_eq!(mail.inbox().unwrap().len(), 2);

        let (address, folder) = (mail.smtp(), mail.folder.path().to_owned());
        drop(mail);
        assert!(TcpStream::connect(address).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn nobody_else_is_let_in() {
        let mail = Mail::start().unwrap();
        // alice with a wrong password, and bob with alice's.
        for credentials in ["AGFsaWNlAHdyb25n", "AGJvYgBjb3JyZWN0LWhvcnNl"] {
            let line = format!("AUTH PLAIN {credentials}");
            let codes = smtp(&mail, &["EHLO test", &line, "QUIT"]);
            assert_eq!(codes, ["220", "250", "535", "221"], "{}", mail.log());
        }
        let answers = imap(&mail, &["a LOGIN alice wrong"]);
        assert!(
            answers[1].starts_with("a NO [AUTHENTICATIONFAILED]"),
            "{answers:?}"
        );
    }

    #[test]
    fn a_mistake_in_the_settings_is_quoted() {
        let error = Mail::with_settings("no_such_setting = 1").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no_such_setting"), "{text}");
    }
}
