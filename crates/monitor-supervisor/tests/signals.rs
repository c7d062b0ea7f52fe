//! Real signals, in child processes.

#![cfg(all(unix, feature = "signals"))]
#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    sync::mpsc,
    thread,
    time::Duration,
};

use monitor_supervisor::{Phase, Shutdown, Signal, Signals};
use rustix::process::{Signal as Unix, getpid, kill_process};

const CHILD: &str = "MONITOR_SUPERVISOR_CHILD";

/// Runs a test of this file in a process of its own. `None` in the child.
fn in_child(test: &str) -> Option<ExitStatus> {
    if env::var_os(CHILD).is_some() {
        return None;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, "1")
        .output()
        .unwrap();
    Some(child.status)
}

fn send(signal: Unix) {
    kill_process(getpid(), signal).unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// ROB-80: a signal that comes during start-up, before there is a runtime, is kept. Of old, the
/// handlers came last, and such a signal ended the process as it stood.
#[test]
fn a_signal_during_start_up_is_kept() {
    let Some(status) = in_child("a_signal_during_start_up_is_kept") else {
        let mut signals = Signals::install().unwrap();
        assert_eq!(signals.try_first(), None);
        send(Unix::TERM);
        let late = signals.clone();
        assert_eq!(block_on(signals.first()), Signal::Terminate);
        assert_eq!(
            block_on({ late }.first()),
            Signal::Terminate,
            "for everybody who asks"
        );
        return;
    };
    assert!(status.success(), "{status}");
}

/// STB-17, ROB-80: the first signal asks: the handlers run.
#[test]
fn the_first_signal_asks() {
    let Some(status) = in_child("the_first_signal_asks") else {
        let mut signals = Signals::install().unwrap();
        let report = block_on(async {
            let shutdown = Shutdown::new();
            let handler = |_| async { Ok(()) };
            shutdown.register("store", Phase::CLOSE, handler).unwrap();
            send(Unix::INT);
            assert_eq!(signals.first().await, Signal::Interrupt);
            shutdown.run(Duration::from_secs(30)).await
        });
        assert_eq!(report.to_string(), "1 of 1 finished");
        return;
    };
    assert!(status.success(), "{status}");
}

/// STB-17, ROB-80: the second signal insists, with the exit code of its kind, also when every
/// thread of the program is blocked.
#[test]
fn the_second_signal_ends_it() {
    let Some(status) = in_child("the_second_signal_ends_it") else {
        let mut signals = Signals::install().unwrap();
        send(Unix::TERM);
        block_on(signals.first());
        send(Unix::INT);
        loop {
            thread::park();
        }
    };
    assert_eq!(status.code(), Some(130), "{status}");
    assert_eq!(status.signal(), None);
}

/// ROB-80: what a second signal does can be said.
#[test]
fn the_second_signal_can_do_something_else() {
    let Some(status) = in_child("the_second_signal_can_do_something_else") else {
        let (tell, told) = mpsc::channel();
        let second = move |signal| tell.send(signal).unwrap();
        let mut signals = Signals::install_with(second).unwrap();
        send(Unix::INT);
        assert_eq!(block_on(signals.first()), Signal::Interrupt);
        for (sent, seen) in [
            (Unix::TERM, Signal::Terminate),
            (Unix::INT, Signal::Interrupt),
        ] {
            send(sent);
            assert_eq!(told.recv().unwrap(), seen);
        }
        assert_eq!(signals.try_first(), Some(Signal::Interrupt));
        return;
    };
    assert!(status.success(), "{status}");
}

#[test]
fn exit_codes_are_those_of_shells() {
    let codes = [Signal::Interrupt, Signal::Terminate].map(Signal::exit_code);
    assert_eq!(codes, [130, 143]);
    assert_eq!(Signal::Terminate.to_string(), "SIGTERM");
}
