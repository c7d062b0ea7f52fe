//! What is to be measured, and in which order: in each round every subject of a workload once.
//!
//! A B C A B C ...: what disturbs the machine for a while disturbs all subjects alike, so a ratio of
//! two rows of one round means something even where their times do not.

use serde_json::{Map, Value, json};

use crate::noise::Noise;
use crate::threads::Threads;

/// How often a subject is measured after it was warmed up.
const ROUNDS: usize = 9;

/// How often it is looked at besides, with what would cost time while it is measured.
const OBSERVATIONS: usize = 3;

/// One measurement, for one operation.
pub(crate) struct Sample {
    pub(crate) ns: f64,
    pub(crate) cpu_ns: f64,
}

/// What is measured, ready to run.
pub(crate) trait Subject {
    /// Runs the workload once.
    fn sample(&mut self) -> Sample;

    /// Runs it once more and counts: `allocs` for one operation, and what else there is to say.
    fn observe(&mut self) -> Vec<(&'static str, f64)>;

    /// What the row says of how it was measured.
    fn about(&self) -> Value;
}

/// All workloads, those of one group together.
#[derive(Default)]
pub(crate) struct Plan {
    group: &'static str,
    workloads: Vec<Workload>,
}

struct Workload {
    group: &'static str,
    name: String,
    /// Only when it is asked for by name.
    is_long: bool,
    fill: Box<dyn FnOnce(&mut Subjects)>,
}

/// The subjects of one workload.
#[derive(Default)]
pub(crate) struct Subjects {
    entries: Vec<(String, Entry)>,
    is_profiled: bool,
    /// How often each is measured, if not [`ROUNDS`] times after one to warm up.
    rounds: Option<usize>,
}

enum Entry {
    Measured(Box<dyn Subject>),
    Fact(&'static str, f64),
}

impl Plan {
    /// Names the group of the workloads that follow.
    pub(crate) fn group(&mut self, name: &'static str) -> &mut Self {
        self.group = name;
        self
    }

    /// Adds a workload. Its subjects are made when it is its turn.
    pub(crate) fn workload(
        &mut self,
        name: impl Into<String>,
        fill: impl FnOnce(&mut Subjects) + 'static,
    ) {
        self.workloads.push(Workload {
            group: self.group,
            name: name.into(),
            is_long: false,
            fill: Box::new(fill),
        });
    }

    /// The same for one that takes minutes: it is measured only when words of its name are given
    /// that no shorter one has.
    pub(crate) fn long_workload(
        &mut self,
        name: impl Into<String>,
        fill: impl FnOnce(&mut Subjects) + 'static,
    ) {
        self.workload(name, fill);
        if let Some(workload) = self.workloads.last_mut() {
            workload.is_long = true;
        }
    }

    /// Measures, and prints a row of JSON for each subject of each workload; only those with these
    /// words in their names. `false` when there is no such workload.
    ///
    /// With a subject it is for a profiler: nothing is observed besides.
    pub(crate) fn run(mut self, workload: &str, subject: &str) -> bool {
        self.workloads
            .retain(|wanted| wanted.name.contains(workload));
        let is_short = |workload: &Workload| !workload.is_long;
        if self.workloads.iter().any(is_short) {
            self.workloads.retain(is_short);
        }
        let total = self.workloads.len();
        for (index, workload) in self.workloads.into_iter().enumerate() {
            let title = format!("{}: {}", workload.group, workload.name);
            let progress = |part: f64| show(&title, (index as f64 + part) / total as f64);
            progress(0.0);
            let mut subjects = Subjects::default();
            (workload.fill)(&mut subjects);
            subjects.entries.retain(|(name, _)| name.contains(subject));
            subjects.is_profiled = !subject.is_empty();
            subjects.measure(workload.group, &workload.name, progress);
        }
        total > 0
    }
}

impl Subjects {
    /// For subjects that take seconds: so many rounds, and none to warm up.
    pub(crate) fn rounds(&mut self, rounds: usize) {
        self.rounds = Some(rounds);
    }

    pub(crate) fn add(&mut self, name: &str, subject: impl Subject + 'static) {
        let entry = Entry::Measured(Box::new(subject));
        self.entries.push((name.to_owned(), entry));
    }

    /// A function that does its work as often as it is told, on each of so many threads at once.
    /// Each thread's own is made by `make`.
    pub(crate) fn threads<W: FnMut(u64) + Send + 'static>(
        &mut self,
        threads: usize,
        name: &str,
        make: impl Fn() -> W,
    ) {
        self.add(name, Threads::new((0..threads).map(|_| make()).collect()));
    }

    /// The same on one thread.
    pub(crate) fn thread<W: FnMut(u64) + Send + 'static>(
        &mut self,
        name: &str,
        make: impl Fn() -> W,
    ) {
        self.threads(1, name, make);
    }

    /// Something that is counted and not measured.
    pub(crate) fn fact(&mut self, name: &str, what: &'static str, value: f64) {
        self.entries
            .push((name.to_owned(), Entry::Fact(what, value)));
    }

    fn measure(self, group: &str, workload: &str, progress: impl Fn(f64)) {
        let mut entries = self.entries;
        let mut samples: Vec<Vec<Sample>> = entries.iter().map(|_| Vec::new()).collect();
        let noise = Noise::start();
        let first = usize::from(self.rounds.is_some());
        let last = self.rounds.unwrap_or(ROUNDS);
        for round in first..=last {
            for ((_, entry), samples) in entries.iter_mut().zip(&mut samples) {
                if let Entry::Measured(subject) = entry {
                    let sample = subject.sample();
                    // The first one is to warm up.
                    if round > 0 {
                        samples.push(sample);
                    }
                }
            }
            progress((round - first + 1) as f64 / (last - first + 1) as f64);
        }
        let (foreign, stolen) = noise.since();
        for ((name, entry), samples) in entries.into_iter().zip(samples) {
            let mut row = json!({ "group": group, "workload": workload, "subject": name });
            match entry {
                Entry::Fact(what, value) => row["extra"] = json!({ what: number(value) }),
                Entry::Measured(mut subject) => {
                    timed(&mut row, &samples);
                    let observations = if self.is_profiled { 0 } else { OBSERVATIONS };
                    let mut extra = observed(&mut *subject, observations);
                    row["allocs"] = extra.remove("allocs").unwrap_or_default();
                    extra.insert("about".into(), subject.about());
                    extra.insert("foreign_cpus".into(), number(foreign));
                    extra.insert("stolen_cpus".into(), number(stolen));
                    let series = |of: fn(&Sample) -> f64| -> Value {
                        samples.iter().map(|sample| number(of(sample))).collect()
                    };
                    extra.insert("samples_ns".into(), series(|sample| sample.ns));
                    extra.insert("samples_cpu_ns".into(), series(|sample| sample.cpu_ns));
                    row["extra"] = Value::Object(extra);
                }
            }
            println!("{row}");
        }
    }
}

/// The medians, and the least and the most wall time.
fn timed(row: &mut Value, samples: &[Sample]) {
    let sorted = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (ns, cpu_ns) = (sorted(|sample| sample.ns), sorted(|sample| sample.cpu_ns));
    row["ns"] = number(ns[ns.len() / 2]);
    row["cpu_ns"] = number(cpu_ns[cpu_ns.len() / 2]);
    row["min_ns"] = number(ns[0]);
    row["max_ns"] = number(ns[ns.len() - 1]);
}

/// The median of each number that is observed.
fn observed(subject: &mut dyn Subject, observations: usize) -> Map<String, Value> {
    let mut values: Vec<(&'static str, Vec<f64>)> = Vec::new();
    for _ in 0..observations {
        for (name, value) in subject.observe() {
            match values.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => values.push((name, vec![value])),
            }
        }
    }
    let median = |(name, mut values): (&str, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        (name.to_owned(), number(values[values.len() / 2]))
    };
    values.into_iter().map(median).collect()
}

/// To three digits after the point. JSON knows no infinity: it becomes `null`.
fn number(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// A progress bar, as a line of its own: whoever started us shows the last one.
fn show(title: &str, part: f64) {
    const WIDTH: usize = 24;
    let done = (part * WIDTH as f64) as usize;
    let bar = format!("{}{}", "=".repeat(done), " ".repeat(WIDTH - done));
    eprintln!("[{bar}] {:>3.0} %  {title}", part * 100.0);
}
