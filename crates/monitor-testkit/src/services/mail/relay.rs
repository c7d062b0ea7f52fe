//! Where the submission server hands its mail to: an SMTP server that puts it into the inbox.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Takes mail for one user and refuses all other recipients, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on loopback. Mail for `user` goes to `inbox`.
    pub(super) fn start(user: &'static str, inbox: Inbox) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let acceptor = thread::spawn(move || {
            let inbox = Arc::new(inbox);
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), inbox) = (stream, Arc::clone(&inbox)) else {
                    continue;
                };
                // Ends with its connection, which the submission server closes or loses.
                thread::spawn(move || Session { user, inbox }.serve(&stream));
            }
        });
        Ok(Self {
            address,
            stopped,
            acceptor: Some(acceptor),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

/// A Maildir.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    folder: PathBuf,
    delivered: Arc<AtomicU64>,
}

impl Inbox {
    /// Makes an empty one.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            delivered: Arc::default(),
        })
    }

    /// Puts a message into it: complete as soon as it can be seen.
    pub(super) fn deliver(&self, message: &[u8]) -> io::Result<()> {
        let number = self.delivered.fetch_add(1, Ordering::SeqCst);
        let name = format!("{number}.{}.localhost", std::process::id());
        let unfinished = self.folder.join("tmp").join(&name);
        fs::write(&unfinished, message)?;
        fs::rename(unfinished, self.folder.join("new").join(name))
    }

    /// All messages that are there, read and unread.
    pub(super) fn messages(&self) -> io::Result<Vec<String>> {
        let mut messages = Vec::new();
        for part in ["cur", "new"] {
            for entry in fs::read_dir(self.folder.join(part))? {
                let bytes = fs::read(entry?.path())?;
                messages.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(messages)
    }
}

struct Session {
    user: &'static str,
    inbox: Arc<Inbox>,
}

impl Session {
    /// Answers commands until the other side quits or the connection ends.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut answer = String::from("220 relay\r\n");
        let mut line = Vec::new();
        loop {
            let mut writer = stream;
            let written = writer.write_all(answer.as_bytes());
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if written.is_err() || !matches!(read, Ok(1..)) {
                return;
            }
            let command = String::from_utf8_lossy(&line).trim().to_ascii_uppercase();
            if command == "DATA" && writer.write_all(b"354 go on\r\n").is_err() {
                return;
            }
            let code = match command.split([' ', ':']).next().unwrap_or_default() {
                "DATA" => match self.receive(&mut reader) {
                    Ok(()) => "250 2.0.0 delivered",
                    Err(_) => "451 4.3.0 not delivered",
                },
                "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP" => "250 ok",
                "RCPT" => self.recipient(&command),
                "QUIT" => "221 bye",
                _ => "500 5.5.1 unknown command",
            };
            answer = format!("{code}\r\n");
        }
    }

    fn recipient(&self, command: &str) -> &'static str {
        let is = |name: &str| command.contains(&format!("<{}@", name.to_ascii_uppercase()));
        if is(self.user) {
            "250 ok"
        } else if is("full") {
            "452 4.2.2 mailbox full"
        } else {
            "550 5.1.1 no such mailbox"
        }
    }

    /// Reads a message up to its lonely dot, and delivers it.
    fn receive(&self, reader: &mut impl BufRead) -> io::Result<()> {
        let mut message = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return self.inbox.deliver(&message);
            }
            // A line that starts with a dot was given another one.
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}
