//! What the daemon does on a schedule of its own: copies of its database, looks for defects.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use monitor_jobs::Cron;

use super::node::Node;
use super::problem::{Place, Problem};
use super::reader::Reader;

const SCHEDULE: &str = "minute, hour, day of the month, month and day of the week, such as \
                        \"30 3 * * *\" or \"0 4 * * mon-fri\", or @hourly, @daily, @weekly";
const ZONE: &str = "a time zone that this machine knows, such as \"Europe/Berlin\"";
const FOLDER: &str = "the path of a folder, which must exist when the daemon starts";
const KEEP_DEFAULT: NonZeroUsize = const { NonZeroUsize::new(7).unwrap() };

/// When something is done: the five fields of cron in a time zone, UTC if none is named.
#[derive(Debug, Clone)]
pub struct Timetable {
    text: String,
    pub(crate) cron: Cron,
}

/// Copies of the database: when, where to, and how many are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackupConfig {
    /// When they are made.
    pub timetable: Timetable,
    /// Where they are put. A folder that is relative in the configuration is next to that file.
    pub folder: PathBuf,
    /// How many are kept: with the next one, the oldest goes.
    pub keep: NonZeroUsize,
}

/// The fields as they were written, and the time zone unless it is UTC.
impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Timetable {
    const NAMES: [&str; 2] = ["schedule", "tz"];

    /// Reads `schedule`, which must be there, and `tz`, which need not.
    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        if !reader.has("schedule") {
            missing(reader, "schedule", SCHEDULE);
        }
        let read = reader.text("schedule", SCHEDULE, |text| {
            let cron = text.parse::<Cron>();
            let cron = cron.map_err(|error| format!("is no schedule: {}", error.expected));
            Ok((text.to_owned(), cron?))
        });
        let Some((text, cron)) = read else {
            // Whether the zone is one can be told all the same.
            let any = "@daily".parse::<Cron>().ok()?;
            zone(reader, any);
            return None;
        };
        if !reader.has("tz") {
            return Some(Self { text, cron });
        }
        let (name, cron) = zone(reader, cron)?;
        let text = format!("{text} {name}");
        Some(Self { text, cron })
    }

    /// The table `[doctor]`.
    pub(super) fn of_doctor(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut reader = Reader::new(node, "doctor", &Self::NAMES, problems)?;
        Self::read(&mut reader)
    }
}

impl BackupConfig {
    /// The table `[backup]` of the configuration at `config`, and where that stands.
    pub(super) fn read(
        node: &Node,
        config: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<(Place, Self)> {
        let known = [&Timetable::NAMES[..], &["folder", "keep"]].concat();
        let mut reader = Reader::new(node, "backup", &known, problems)?;
        let timetable = Timetable::read(&mut reader);
        if !reader.has("folder") {
            missing(&mut reader, "folder", FOLDER);
        }
        let folder = reader.text("folder", FOLDER, |text| match text {
            "" => Err("is empty".to_owned()),
            path => Ok(config.parent().unwrap_or(Path::new("")).join(path)),
        });
        let keep = reader.integer("keep", 1..=1000);
        let keep = keep.and_then(|keep| NonZeroUsize::new(usize::try_from(keep).ok()?));
        let read = Self {
            timetable: timetable?,
            folder: folder?,
            keep: keep.unwrap_or(KEEP_DEFAULT),
        };
        Some((node.place.clone(), read))
    }
}

/// The schedule by the clocks of the zone that `tz` names.
fn zone(reader: &mut Reader<'_, '_>, cron: Cron) -> Option<(String, Cron)> {
    reader.text("tz", ZONE, |name| match cron.in_zone(name) {
        Ok(cron) => Ok((name.to_owned(), cron)),
        Err(_) => Err("is not known".to_owned()),
    })
}

fn missing(reader: &mut Reader<'_, '_>, key: &str, allowed: &str) {
    let problem = Problem::new(reader.place_of(key), reader.key(key), "is missing");
    reader.problems().push(problem.allowed(allowed));
}
