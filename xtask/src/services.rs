//! `services`: throw-away servers for trying something by hand.

use anyhow::{Context, Result};
use monitor_testkit::services::{Browser, Mail, Nginx, Postgres};
use tokio::signal::unix::{SignalKind, signal};

use crate::tools;

/// Starts the servers, prints where they are, and stops them at ctrl-c.
pub(crate) fn run() -> Result<bool> {
    tools::ensure(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Caught from here on, so that an early ctrl-c stops the servers too.
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch ctrl-c")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let nginx = Nginx::start()?;
        let postgres = Postgres::start()?;
        let mail = Mail::start()?;
        let browser = Browser::start()?;
        println!(
            "nginx      {}  (also /status/204, 301, 404, 500, 503)",
            nginx.url("/")
        );
        println!("webdriver  {}  (headless Chromium)", browser.url());
        println!("postgres   {}", postgres.url());
        println!(
            "mail       smtp {} imap {} user {} password {}",
            mail.smtp(),
            mail.imap(),
            mail.user(),
            mail.password()
        );
        println!("\nctrl-c stops them and removes their folders.");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        drop((nginx, postgres, mail, browser));
        println!("\nstopped.");
        Ok(true)
    })
}
