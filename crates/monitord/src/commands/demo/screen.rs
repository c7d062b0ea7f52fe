//! What the demonstration shows: a table drawn over in place, or one line per change.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monitor_core::View;
use monitor_core::breaker::State;
use monitor_model::{Event, Store};
use monitor_store::SqliteStore;
use tokio::time::Instant;

use crate::config::format_duration;
use crate::daemon::Ending;
use crate::demo::{self, Book, Frame, Row};
use crate::terminal::{Colour, Paint, columns, fit, millis};
use crate::view::words;

pub(super) struct Screen {
    page: String,
    live: bool,
    duration: Option<Duration>,
    paint: Paint,
    book: Book,
    begun: Instant,
    /// How many lines of the table are on the terminal.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(page: String, live: bool, duration: Option<Duration>) -> Self {
        let paint = Paint::on(io::stdout().is_terminal());
        let (book, begun) = (Book::default(), Instant::now());
        Self {
            page,
            live,
            duration,
            paint,
            book,
            begun,
            drawn: 0,
        }
    }

    /// Says what this is; the page's address first.
    pub(super) fn begin(&self) -> io::Result<()> {
        let until = match self.duration {
            Some(duration) => format!("ends by itself after {}", format_duration(duration)),
            None => "ctrl-c ends it".to_owned(),
        };
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "Status page: {}",
            self.paint.bold(Colour::Cyan, &self.page)
        )?;
        writeln!(out, "Six targets on loopback, some of them ill; {until}.\n")?;
        out.flush()
    }

    /// Takes an event, and says so when it changed something and there is no table.
    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        let change = self.book.write(event);
        let Some(change) = change.filter(|_| !self.live) else {
            return Ok(());
        };
        let status = fit(change.outcome.as_str(), 9);
        let status = self.paint.bold(demo::colour(change.outcome), &status);
        let at = self.begun.elapsed().as_secs_f64();
        let took = change.took.map_or_else(String::new, millis);
        let monitor = change.monitor.as_str();
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{at:>6.1} s  {status} {monitor:<14} {took:>8}  {}",
            change.why
        )?;
        out.flush()
    }

    /// Takes an event that came too late to be shown.
    pub(super) fn last_event(&mut self, event: &Event) {
        self.book.write(event);
    }

    /// Draws the table over the one before.
    pub(super) fn draw(&mut self, views: &[View]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let rows: Vec<_> = views.iter().map(|view| self.row(view, now)).collect();
        let gone = self.begun.elapsed().as_secs();
        let frame = Frame {
            footer: format!("{gone} s: {}", self.book.summary()),
            width: columns().unwrap_or(80),
            paint: self.paint,
        };
        let lines = demo::lines(&frame, &rows);
        let mut text = String::new();
        if self.drawn > 0 {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in &lines {
            let _ = write!(text, "\r\x1b[2K{line}\r\n");
        }
        self.drawn = lines.len();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn row(&self, view: &View, now: Duration) -> Row {
        let page = self.book.page(&view.monitor.id);
        let mut why = match &view.status.fault {
            Some(fault) => words::reason(fault.layer(), fault.reason()).to_owned(),
            None => page.and_then(|page| page.note.clone()).unwrap_or_default(),
        };
        if view
            .breaker
            .as_ref()
            .is_some_and(|breaker| breaker.state == State::Open)
        {
            why.push_str(", breaker open");
        }
        Row {
            name: view.monitor.name.clone(),
            outcome: view.status.outcome,
            took: page.and_then(|page| page.took),
            strip: page.map(|page| page.strip.clone()).unwrap_or_default(),
            next: next(view, now),
            why,
        }
    }

    /// Whether the history that is on disk says what was told here; what differs, in words.
    pub(super) async fn compare(&self, database: &Path) -> Result<(), String> {
        let store = SqliteStore::open(monitor_store::Options::new(database));
        let store = store.map_err(|error| error.to_string())?;
        let compared = self.book.compare(&store).await;
        let closed = store.close().await.map_err(|error| error.to_string());
        compared.and(closed)
    }

    /// The last words. `is_complete`: the history was read again and nothing is missing.
    pub(super) fn closing(&self, ending: &Ending, is_complete: bool) -> String {
        let watched = self.begun.elapsed().saturating_sub(ending.took);
        let seconds = watched.as_secs_f64();
        let due = self.book.due();
        let mut text = format!(
            "{seconds:.0} s, {due} due times: {}.\n",
            self.book.summary()
        );
        if is_complete {
            text.push_str("Every one of them has its row in the history; nothing was lost.\n");
        }
        text
    }
}

fn next(view: &View, now: Duration) -> String {
    let Some(schedule) = &view.schedule else {
        return "paused".to_owned();
    };
    if schedule.running_for.is_some() {
        return "checking".to_owned();
    }
    match schedule.next_due {
        Some(due) => format!("in {:.1} s", due.saturating_sub(now).as_secs_f64()),
        None => "-".to_owned(),
    }
}
