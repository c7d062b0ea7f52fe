//! The real kernel, in child processes: memory and descriptors are used up, and given back.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::{
    env,
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use monitor_pressure::{
    Config, Level, Pressure, ProcessReader, Reading, Rule, Source, Transition, Usage,
};
use rustix::process::{Resource, getrlimit, setrlimit};

const CHILD: &str = "MONITOR_PRESSURE_CHILD";

/// Runs a test of this file in a process of its own, since what it does to the process would be
/// felt by its neighbours. `true` in the child, which then does it.
fn is_child(test: &str) -> bool {
    if env::var_os(CHILD).is_some() {
        return true;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    false
}

/// Levels that follow at once in both directions, one step down per look.
fn prompt() -> Rule {
    Rule {
        hold_down: Duration::ZERO,
        ..Rule::default()
    }
}

/// A process that looks at itself.
struct Looking {
    reader: ProcessReader,
    pressure: Pressure,
    /// Where what else happens on this machine must not matter.
    only: Option<Source>,
    looks: u64,
}

impl Looking {
    fn new(root: &Path, config: Config) -> Self {
        Self {
            reader: ProcessReader::open_at(root, &config).unwrap(),
            pressure: Pressure::new(config),
            only: None,
            looks: 0,
        }
    }

    fn look(&mut self) -> Vec<Transition> {
        self.looks += 1;
        let mut readings = self.reader.read();
        if let Some(only) = &self.only {
            readings.retain(|reading| reading.source == *only);
        }
        self.pressure
            .observe(readings, Duration::from_secs(self.looks))
    }

    fn usage(&self, source: &Source) -> Usage {
        let snapshot = self.pressure.snapshot();
        let seen = snapshot.sources.iter().find(|seen| seen.source == *source);
        seen.unwrap().usage.unwrap()
    }
}

/// What the transitions of a source say: the levels, in order.
fn levels(told: &[Transition], source: &Source) -> Vec<Level> {
    let of_it = told.iter().filter(|one| one.source == *source);
    let of_it = of_it.filter(|one| one.scope == monitor_pressure::Scope::Source);
    of_it.map(|one| one.to).collect()
}

/// ROB-73, ROB-82: a process that allocates and touches memory comes up through all levels, and
/// down again when it has freed it.
#[test]
fn memory_that_is_touched_and_freed() {
    if !is_child("memory_that_is_touched_and_freed") {
        return;
    }
    const CHUNK: usize = 4 << 20;
    let config = Config::builder().memory_limit_mb(128).rule(prompt());
    let mut process = Looking::new(Path::new("/"), config.build().unwrap());
    process.only = Some(Source::MEMORY);
    assert!(levels(&process.look(), &Source::MEMORY).is_empty(), "idle");

    let (mut held, mut told) = (Vec::new(), Vec::new());
    while process.pressure.level() < Level::Critical {
        held.push(vec![1_u8; CHUNK]);
        told.extend(process.look());
        assert!(
            held.len() <= 128 >> 2,
            "the limit is reached without a word: {told:?}"
        );
    }
    let up = [Level::Elevated, Level::Degraded, Level::Critical];
    assert_eq!(levels(&told, &Source::MEMORY), up);
    for (transition, percent) in told
        .iter()
        .filter(|one| one.source == Source::MEMORY)
        .step_by(2)
        .zip([60, 80, 95])
    {
        let usage = transition.usage.unwrap();
        let edge = usage.limit() * percent / 100;
        let late = 2 * CHUNK as u64;
        assert!((edge..edge + late).contains(&usage.used()), "{transition}");
    }

    drop(held);
    told.clear();
    (0..3).for_each(|_| told.extend(process.look()));
    let down = [Level::Degraded, Level::Elevated, Level::Normal];
    assert_eq!(levels(&told, &Source::MEMORY), down);
    assert_eq!(process.pressure.level(), Level::Normal);
}

/// The most descriptors that the child may have.
const LIMIT: u64 = 64;

/// Opens descriptors until there are none left.
fn open_all() -> Vec<File> {
    let mut held = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
                return held;
            }
        }
    }
}

/// Uses all descriptors up while somebody looks, and gives them back.
fn exhaust_descriptors(root: &Path) {
    let config = Config::builder().rule(prompt()).build().unwrap();
    let mut process = Looking::new(root, config);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(LIMIT);
    setrlimit(Resource::Nofile, limit).unwrap();
    process.look();
    let before = process.usage(&Source::DESCRIPTORS);
    assert!(
        before.used() < LIMIT / 2 && before.limit() == LIMIT,
        "{before}"
    );
    let sources = process.pressure.snapshot().sources.len();

    let held = open_all();
    let told = process.look();
    assert_eq!(levels(&told, &Source::DESCRIPTORS), [Level::Critical]);
    // Descriptors above the limit, from before it was lowered, count as well.
    let full = process.usage(&Source::DESCRIPTORS);
    let all = before.used() + held.len() as u64;
    assert!((LIMIT..=all).contains(&full.used()), "{full} with {all}");
    let exhausted = process.pressure.snapshot();
    assert_eq!(exhausted.sources.len(), sources, "nothing has gone blind");
    for seen in exhausted.sources {
        assert_eq!(
            (seen.problem, seen.age),
            (None, Some(Duration::ZERO)),
            "{}",
            seen.source
        );
    }

    drop(held);
    let told: Vec<_> = (0..3).flat_map(|_| process.look()).collect();
    let down = [Level::Degraded, Level::Elevated, Level::Normal];
    assert_eq!(levels(&told, &Source::DESCRIPTORS), down);
    assert_eq!(process.usage(&Source::DESCRIPTORS), before);
}

/// ROB-76, ROB-77: when all descriptors are used, that is seen, and everything else as well.
#[test]
fn descriptors_until_there_are_none_left() {
    if is_child("descriptors_until_there_are_none_left") {
        exhaust_descriptors(Path::new("/"));
    }
}

/// ROB-76, ROB-77: the same where the kernel is too old to tell the number without a listing.
#[test]
fn descriptors_until_there_are_none_left_on_an_old_kernel() {
    if is_child("descriptors_until_there_are_none_left_on_an_old_kernel") {
        let tree = tempfile::tempdir().unwrap();
        let proc = tree.path().join("proc");
        fs::create_dir_all(proc.join("sys/kernel")).unwrap();
        fs::write(proc.join("sys/kernel/osrelease"), "5.10.0-38-amd64\n").unwrap();
        symlink("/proc/self", proc.join("self")).unwrap();
        exhaust_descriptors(tree.path());
    }
}

/// ROB-76: threads are counted.
#[test]
fn threads_are_counted() {
    if !is_child("threads_are_counted") {
        return;
    }
    let mut process = Looking::new(Path::new("/"), Config::default());
    process.look();
    let before = process.usage(&Source::THREADS).used();
    let (stop, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let wait = std::sync::Arc::clone(&wait);
            thread::spawn(move || drop(wait.lock().map(|wait| wait.recv())))
        })
        .collect();
    process.look();
    assert_eq!(process.usage(&Source::THREADS).used(), before + 10);
    drop(stop);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// ROB-76: on this machine, whatever it is, every source that it has can be read.
#[test]
fn this_machine_can_be_read() {
    let mut reader = ProcessReader::open(&Config::default()).unwrap();
    let readings = reader.read();
    for Reading { source, value } in &readings {
        let usage = value
            .as_ref()
            .unwrap_or_else(|why| panic!("{source}: {why}"));
        assert!(usage.limit() > 0, "{source}: {usage}");
    }
    for source in [Source::MEMORY, Source::THREADS, Source::DESCRIPTORS] {
        let seen = readings.iter().find(|reading| reading.source == source);
        assert!(seen.unwrap().value.as_ref().unwrap().used() > 0, "{source}");
    }
}
