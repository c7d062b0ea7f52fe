//! Layouts of control groups, as trees of files.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::{fs, path::Path, time::Duration};

use monitor_pressure::{Config, Level, Pressure, ProcessReader, Reading, Source, Usage};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const NO_LIMIT_V1: &str = "9223372036854771712";
const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                  36 31 0:33 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

/// A machine.
struct Tree(TempDir);

impl Tree {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let tree = Self(TempDir::new().unwrap());
        tree.write(
            "proc/self/status",
            "Name:\tx\nVmRSS:\t  102400 kB\nThreads:\t12\n",
        );
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        tree.write("proc/self/limits", limits);
        (0..30).for_each(|fd| tree.write(&format!("proc/self/fd/{fd}"), ""));
        tree.write("proc/self/cgroup", cgroup);
        tree.write("proc/self/mountinfo", mountinfo);
        tree
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A group of version 2, in MiB.
    fn group(&self, path: &str, used: u64, max: Option<u64>) {
        let at = |name: &str| format!("sys/fs/cgroup{path}/{name}");
        self.write(&at("memory.current"), &format!("{}\n", used * MIB));
        let max = max.map_or("max".to_owned(), |max| (max * MIB).to_string());
        self.write(&at("memory.max"), &format!("{max}\n"));
        self.write(&at("memory.stat"), "anon 5\ninactive_file 0\n");
    }

    /// A group of version 1, in MiB.
    fn group_v1(&self, path: &str, used: u64, limit: Option<u64>) {
        let at = |name: &str| format!("sys/fs/cgroup/memory{path}/{name}");
        self.write(&at("memory.usage_in_bytes"), &(used * MIB).to_string());
        let limit = limit.map_or(NO_LIMIT_V1.to_owned(), |limit| (limit * MIB).to_string());
        self.write(&at("memory.limit_in_bytes"), &limit);
        let stat = format!("inactive_file 0\ntotal_inactive_file {MIB}\n");
        self.write(&at("memory.stat"), &stat);
    }

    fn open(&self) -> ProcessReader {
        ProcessReader::open_at(self.0.path(), &Config::default()).unwrap()
    }

    fn read(&self, source: &Source) -> Option<Result<Usage, String>> {
        value(self.open().read(), source)
    }

    fn memory(&self) -> Option<Usage> {
        self.read(&Source::CGROUP_MEMORY).map(Result::unwrap)
    }
}

fn value(readings: Vec<Reading>, source: &Source) -> Option<Result<Usage, String>> {
    let mut found = readings.into_iter();
    Some(found.find(|reading| reading.source == *source)?.value)
}

fn mib(used: u64, limit: u64) -> Option<Usage> {
    Some(Usage::bytes(used * MIB, limit * MIB))
}

/// ROB-76: what is read of the process itself.
#[test]
fn the_process() {
    let tree = Tree::new("", "");
    let seen = |source| tree.read(&source).unwrap().unwrap();
    assert_eq!(seen(Source::MEMORY), Usage::bytes(100 * MIB, 512 * MIB));
    assert_eq!(seen(Source::THREADS), Usage::count(12, 1024));
    // One of the entries is the listing itself.
    assert_eq!(seen(Source::DESCRIPTORS), Usage::count(29, 1024));
    assert_eq!(tree.open().read().len(), 3, "nothing else is there");
}

/// ROB-73: version 2, a service below a slice: of nested limits the one that is met first.
#[test]
fn version_2_nested() {
    let tree = Tree::new("0::/system.slice/monitord.service\n", V2);
    tree.group("/system.slice/monitord.service", 100, None);
    tree.group("/system.slice", 900, None);
    assert_eq!(tree.memory(), None, "no limit anywhere");
    tree.group("/system.slice", 900, Some(1024));
    assert_eq!(tree.memory(), mib(900, 1024), "that of the slice");
    tree.group("/system.slice/monitord.service", 100, Some(200));
    assert_eq!(
        tree.memory(),
        mib(900, 1024),
        "the service is further from its own"
    );
    tree.group("/system.slice/monitord.service", 190, Some(200));
    assert_eq!(tree.memory(), mib(190, 200));
}

/// ROB-73: from `memory.high` on everything is slowed down, so it is a limit.
#[test]
fn version_2_high() {
    let tree = Tree::new("0::/a\n", V2);
    tree.group("/a", 100, Some(512));
    tree.write("sys/fs/cgroup/a/memory.high", "max\n");
    assert_eq!(tree.memory(), mib(100, 512));
    tree.write("sys/fs/cgroup/a/memory.high", &(256 * MIB).to_string());
    assert_eq!(tree.memory(), mib(100, 256));
}

/// ROB-73: what the kernel gives back at once is not used up.
#[test]
fn page_cache_is_not_used() {
    let tree = Tree::new("0::/a\n", V2);
    tree.group("/a", 500, Some(512));
    let stat = format!("anon 9\ninactive_file {}\nactive_file 7\n", 400 * MIB);
    tree.write("sys/fs/cgroup/a/memory.stat", &stat);
    assert_eq!(tree.memory(), mib(100, 512));
}

/// ROB-73: in a container with a namespace of its own, without one, and with a path out of sight.
#[test]
fn version_2_in_containers() {
    let namespaced = Tree::new("0::/\n", V2);
    namespaced.group("", 300, Some(512));
    assert_eq!(namespaced.memory(), mib(300, 512));

    let mount = "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let shared = Tree::new("0::/docker/abc\n", mount);
    shared.group("", 301, Some(512));
    assert_eq!(shared.memory(), mib(301, 512));
    let below = Tree::new("0::/docker/abc/worker\n", mount);
    below.group("", 302, Some(512));
    below.group("/worker", 10, Some(11));
    assert_eq!(below.memory(), mib(10, 11));

    let outside = Tree::new("0::/../../other\n", V2);
    outside.group("", 303, Some(512));
    assert_eq!(outside.memory(), mib(303, 512));
}

/// ROB-73: version 1, alone and beside an empty hierarchy of version 2; limits that are none.
#[test]
fn version_1() {
    let groups = "8:pids:/\n4:memory:/user/app\n1:cpu,cpuacct:/user/app\n0::/\n";
    let tree = Tree::new(groups, V1);
    tree.group_v1("/user/app", 100, None);
    tree.group_v1("", 4000, None);
    assert_eq!(tree.memory(), None);
    tree.group_v1("/user", 301, Some(512));
    assert_eq!(tree.memory(), mib(300, 512), "nested, less its page cache");
    tree.group_v1("/user/app", 101, Some(110));
    assert_eq!(tree.memory(), mib(100, 110));
}

/// ROB-76: a limit of tasks is one of threads.
#[test]
fn tasks() {
    let v1 = Tree::new("8:pids:/app\n4:memory:/\n", V1);
    v1.write("sys/fs/cgroup/pids/app/pids.current", "90\n");
    v1.write("sys/fs/cgroup/pids/app/pids.max", "100\n");
    let v2 = Tree::new("0::/app\n", V2);
    v2.write("sys/fs/cgroup/app/pids.current", "90\n");
    v2.write("sys/fs/cgroup/app/pids.max", "100\n");
    for tree in [v1, v2] {
        let seen = tree.read(&Source::CGROUP_TASKS).unwrap();
        assert_eq!(seen, Ok(Usage::count(90, 100)));
    }
}

/// ROB-74, ROB-83: stalls are those of the own group, else of the machine, else unknown; those of
/// the machine, which others may be behind, never make the process unready.
#[test]
fn stalls() {
    let tree = Tree::new("0::/a\n", V2);
    let stall = |share| format!("some avg10=9.00 avg60={share} avg300=1.00 total=7\n");
    let level = || {
        let mut pressure = Pressure::new(Config::default());
        pressure.observe(tree.open().read(), Duration::ZERO);
        pressure.level()
    };
    assert_eq!(tree.read(&Source::MEMORY_STALL), None);
    assert_eq!(tree.read(&Source::MACHINE_MEMORY_STALL), None);
    tree.write("proc/pressure/memory", &stall("99.00"));
    let of_machine = || tree.read(&Source::MACHINE_MEMORY_STALL);
    assert_eq!(of_machine(), Some(Ok(Usage::basis_points(9900, 5000))));
    assert_eq!(level(), Level::Elevated);
    tree.write("sys/fs/cgroup/a/memory.pressure", &stall("40.00"));
    assert_eq!(
        tree.read(&Source::MEMORY_STALL),
        None,
        "the outermost group is the machine"
    );
    tree.write("sys/fs/cgroup/a/cgroup.events", "populated 1\n");
    let seen = || tree.read(&Source::MEMORY_STALL).unwrap();
    assert_eq!(seen(), Ok(Usage::basis_points(4000, 5000)));
    assert_eq!((of_machine(), level()), (None, Level::Degraded));
    tree.write("sys/fs/cgroup/a/memory.pressure", &stall("99.00"));
    assert_eq!(level(), Level::Critical, "its own");
}

/// ROB-73: a mount point with a blank in it, as the kernel writes it.
#[test]
fn a_mount_point_with_a_blank() {
    let mount = "31 23 0:28 / /sys/fs/my\\040groups\\134x rw - cgroup2 cgroup2 rw\n";
    let tree = Tree::new("0::/a\n", mount);
    let at = |name: &str| format!("sys/fs/my groups\\x/a/{name}");
    for (name, content) in [
        ("memory.current", "7"),
        ("memory.max", "9"),
        ("memory.stat", "inactive_file 1\n"),
    ] {
        tree.write(&at(name), content);
    }
    assert_eq!(tree.memory(), Some(Usage::bytes(6, 9)));
}

/// ROB-73: a limit that is changed while the process runs holds from the next look on.
#[test]
fn a_limit_that_changes() {
    let tree = Tree::new("0::/a\n", V2);
    tree.group("/a", 100, Some(512));
    let mut reader = tree.open();
    let mut memory = || value(reader.read(), &Source::CGROUP_MEMORY).unwrap();
    assert_eq!(memory().ok(), mib(100, 512));
    tree.group("/a", 100, Some(128));
    assert_eq!(memory().ok(), mib(100, 128));
}

/// ROB-77: a file with something else in it is a reading that failed, names the file, and leaves
/// the others alone.
#[test]
fn garbage_is_told_with_its_file() {
    let tree = Tree::new("0::/a\n", V2);
    tree.group("/a", 100, Some(512));
    let mut reader = tree.open();
    tree.write("sys/fs/cgroup/a/memory.max", "plenty");
    tree.write("proc/self/status", "\u{fffd}\n");
    let readings = reader.read();
    let why = |source| value(readings.clone(), &source).unwrap().unwrap_err();
    assert!(why(Source::CGROUP_MEMORY).ends_with("a/memory.max: no limit in it"));
    assert!(why(Source::MEMORY).ends_with("proc/self/status: no VmRSS in it"));
    assert!(why(Source::THREADS).ends_with("proc/self/status: no Threads in it"));
    assert!(value(readings, &Source::DESCRIPTORS).unwrap().is_ok());
}

/// ROB-76: without `/proc` there is nothing to read, and that is said at once.
#[test]
fn no_proc() {
    let empty = TempDir::new().unwrap();
    assert!(ProcessReader::open_at(empty.path(), &Config::default()).is_err());
    assert!(ProcessReader::open_at(Path::new("/nowhere"), &Config::default()).is_err());
}
