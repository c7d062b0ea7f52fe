//! All that the kernel says about the process, as readings.

use std::{io, path::Path};

use crate::{Config, Reading, Source, Usage};

use super::{
    cgroup::{self, Groups},
    descriptors::Descriptors,
    file::KernelFile,
    parse,
};

/// Reads what Linux says about this process: resident memory, threads, open descriptors, memory
/// and tasks of its control groups (both versions, nested limits included), and how much of the
/// time something waits for memory.
///
/// It opens what it needs once. Reading takes no descriptor, works when there is none left, and
/// takes some tens of microseconds: it may be done on a thread of an event loop.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_pressure::{Config, Pressure, ProcessReader, Source};
///
/// let config = Config::default();
/// let mut reader = ProcessReader::open(&config)?;
/// let mut pressure = Pressure::new(config);
/// pressure.observe(reader.read(), Duration::ZERO);
/// let snapshot = pressure.snapshot();
/// assert!(snapshot.sources.iter().any(|seen| seen.source == Source::DESCRIPTORS));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ProcessReader {
    status: KernelFile,
    descriptors: Descriptors,
    memory: Groups,
    tasks: Groups,
    stalls: Option<(KernelFile, Source)>,
    limits: Limits,
    buffer: Vec<u8>,
}

/// The limits that the kernel does not know.
#[derive(Debug, Clone, Copy)]
struct Limits {
    memory_bytes: u64,
    threads: u64,
    stall_basis_points: u64,
}

impl ProcessReader {
    /// Opens what this machine has. A source that it has not - control groups without limits,
    /// stalls that are not accounted - has no readings.
    ///
    /// # Errors
    /// When `/proc/self` cannot be read.
    pub fn open(config: &Config) -> io::Result<Self> {
        Self::open_at(Path::new("/"), config)
    }

    /// As [`open`](Self::open), for a tree with `proc` and the mounts of control groups below
    /// another root: a copy, or what a container sees of its host.
    ///
    /// # Errors
    /// When `proc/self` below it cannot be read.
    pub fn open_at(root: &Path, config: &Config) -> io::Result<Self> {
        let proc = root.join("proc");
        Ok(Self {
            status: KernelFile::open(proc.join("self/status"))?,
            descriptors: Descriptors::open(&proc)?,
            memory: Groups::find(root, cgroup::MEMORY),
            tasks: Groups::find(root, cgroup::TASKS),
            stalls: cgroup::memory_pressure(root),
            limits: Limits {
                memory_bytes: config.memory_limit_mb().saturating_mul(1 << 20),
                threads: config.max_threads(),
                stall_basis_points: u64::from(config.max_stall_percent()) * 100,
            },
            buffer: Vec::new(),
        })
    }

    /// Looks once. A source that cannot be read just now has a reading that says why.
    pub fn read(&mut self) -> Vec<Reading> {
        let mut readings = Vec::with_capacity(6);
        let mut push = |source, usage: Result<Option<Usage>, String>| match usage {
            Ok(Some(usage)) => readings.push(Reading::new(source, usage)),
            Ok(None) => {}
            Err(why) => readings.push(Reading::failed(source, why)),
        };
        let (limits, buffer) = (self.limits, &mut self.buffer);
        let status = |name, buffer: &mut Vec<u8>| {
            self.status
                .parse(buffer, name, |text| parse::field(text, name))
        };
        push(
            Source::MEMORY,
            status("VmRSS", buffer)
                .map(|kib| Some(Usage::bytes(kib.saturating_mul(1024), limits.memory_bytes))),
        );
        push(
            Source::THREADS,
            status("Threads", buffer).map(|threads| Some(Usage::count(threads, limits.threads))),
        );
        let count = |pair: Option<(u64, u64)>| pair.map(|(used, limit)| Usage::count(used, limit));
        push(
            Source::DESCRIPTORS,
            self.descriptors.read(buffer).map(count),
        );
        push(Source::CGROUP_TASKS, self.tasks.tightest(buffer).map(count));
        push(
            Source::CGROUP_MEMORY,
            self.memory
                .tightest(buffer)
                .map(|pair| pair.map(|(used, limit)| Usage::bytes(used, limit))),
        );
        if let Some((stalls, source)) = &self.stalls {
            let share = stalls.parse(buffer, "share of some tasks", parse::stalled);
            let usage =
                share.map(|share| Some(Usage::basis_points(share, limits.stall_basis_points)));
            push(source.clone(), usage);
        }
        readings
    }
}
