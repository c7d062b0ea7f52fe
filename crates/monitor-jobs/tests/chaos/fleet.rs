//! The processes: started, killed, suspended, replaced.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::child;

/// The worker processes.
pub(crate) struct Fleet {
    url: String,
    processes: Vec<Process>,
    readers: Vec<JoinHandle<()>>,
    fenced: Arc<AtomicUsize>,
    deaths: usize,
}

struct Process {
    child: Child,
    /// When it was suspended.
    asleep: Option<Instant>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // One that has just aborted cannot be signalled; it is replaced anyway.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
    }
}

impl Fleet {
    pub(crate) fn start(url: &str, processes: usize) -> Self {
        let mut fleet = Self {
            url: url.to_owned(),
            processes: Vec::new(),
            readers: Vec::new(),
            fenced: Arc::default(),
            deaths: 0,
        };
        for _ in 0..processes {
            let process = fleet.spawn();
            fleet.processes.push(process);
        }
        fleet
    }

    fn spawn(&mut self) -> Process {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--nocapture", "--quiet"])
            .env(child::URL, &self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let fenced = Arc::clone(&self.fenced);
        self.readers.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains(child::FENCED) {
                    fenced.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
        Process {
            child,
            asleep: None,
        }
    }

    /// Kills one with -9, suspended or not, and starts another in its place.
    pub(crate) fn kill_one(&mut self, random: &mut SmallRng) {
        self.replace_the_dead();
        let place = random.random_range(0..self.processes.len());
        self.processes[place].child.kill().unwrap();
        self.processes[place].child.wait().unwrap();
        self.processes[place] = self.spawn();
    }

    /// Suspends one: it will wake after its lease and believe that no time has passed.
    pub(crate) fn suspend_one(&mut self, random: &mut SmallRng) {
        let awake: Vec<usize> = (0..self.processes.len())
            .filter(|place| self.processes[*place].asleep.is_none())
            .collect();
        // Somebody must be left to work.
        if awake.len() > self.processes.len() / 2 {
            let process = &mut self.processes[awake[random.random_range(0..awake.len())]];
            process.signal(Signal::STOP);
            process.asleep = Some(Instant::now());
        }
    }

    /// Wakes those who slept for longer than any lease.
    pub(crate) fn wake_those_that_slept(&mut self) {
        self.wake(child::LEASE * 2);
    }

    pub(crate) fn wake_all(&mut self) {
        self.wake(Duration::ZERO);
    }

    fn wake(&mut self, longer_than: Duration) {
        for process in &mut self.processes {
            if process
                .asleep
                .is_some_and(|since| since.elapsed() >= longer_than)
            {
                process.signal(Signal::CONT);
                process.asleep = None;
            }
        }
    }

    /// Starts another for each that a poisonous job has taken down.
    pub(crate) fn replace_the_dead(&mut self) {
        for place in 0..self.processes.len() {
            if self.processes[place].child.try_wait().unwrap().is_some() {
                self.deaths += 1;
                self.processes[place] = self.spawn();
            }
        }
    }

    /// Kills them all, and reads to the end what they had said.
    pub(crate) fn end(&mut self) {
        for process in &mut self.processes {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// How many commits were refused because the right was lost.
    pub(crate) fn fenced(&self) -> usize {
        self.fenced.load(Ordering::Relaxed)
    }

    /// How many processes died by a poisonous job.
    pub(crate) fn deaths(&self) -> usize {
        self.deaths
    }
}

impl Drop for Fleet {
    /// None is left behind, not even by a failed test.
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
