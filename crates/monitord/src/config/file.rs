//! The file as a whole, and the layers around it.

use std::collections::{HashMap, hash_map};
use std::ffi::OsString;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use monitor_model::Source;
use monitor_scheduler::Saturation;
use toml::de::DeTable;

use super::defaults::CONNECTIONS;
use super::environment::Overlay;
use super::layers::Setting;
use super::node::{Node, Text, Value, show_text};
use super::permits::{PermitKeys, max_concurrent};
use super::policy::to_u32;
use super::reader::Reader;
use super::{BackupConfig, Database, Defaults, MonitorSpec, Place, Problem, Report, Timetable};

/// How many checks may run at once.
pub(crate) const PROBES: RangeInclusive<u64> = 1..=10_000;
/// How much memory may be resident, in MiB.
pub(crate) const MEMORY: RangeInclusive<u64> = 1..=1 << 30;
pub(super) const MEMORY_DEFAULT: u64 = 512;
/// How often to look how hard-pressed the process is.
pub(crate) const LOOKS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
pub(super) const LOOKS_DEFAULT: Duration = Duration::from_secs(60);
pub(super) const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(super) const DATABASE_DEFAULT: &str = "monitord.db";
const DATABASE_ALLOWED: &str = "the path of a file, or postgres://role:password@host:port/database";
/// No configuration of this size was written by a person.
const FILE_MAX: u64 = 16 << 20;

const MINIMAL: &str = "\
[[monitor]]
id = \"example\"
url = \"https://example.org/\"";

/// The whole configuration, valid as a whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where the page is served.
    pub listen: SocketAddr,
    /// The title of the page.
    pub title: Option<String>,
    /// Where results are kept.
    pub store: StoreConfig,
    /// How many checks may run at once.
    pub max_concurrent_probes: NonZeroUsize,
    /// What becomes of a check that is due while that many run.
    pub without_permit: Saturation,
    /// How long such a check may wait. `None`: for as long as it takes.
    pub max_wait: Option<Duration>,
    /// How much memory may be resident, in MiB, before the process says that it is hard-pressed.
    pub memory_limit_mb: u64,
    /// How often to look how hard-pressed the process is.
    pub resource_check_interval: Duration,
    /// What holds for a monitor that does not say otherwise.
    pub defaults: Defaults,
    /// The monitors, in the order of the file.
    pub monitors: Vec<MonitorSpec>,
    /// Copies of the database. `None`: nobody makes any.
    pub backup: Option<BackupConfig>,
    /// When the daemon looks for defects in its own store. `None`: never.
    pub doctor: Option<Timetable>,
    /// The values that several layers may set, each with the layer that did.
    pub settings: Vec<Setting>,
}

/// Where results are kept, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The SQLite file, or the PostgreSQL database. A file that is relative in the configuration is
    /// next to that file.
    pub database: Database,
    /// How long history is kept. `None`: as the store says.
    pub retain: Option<Duration>,
    /// How large the file may grow, in MiB. `None`: as the store says.
    pub max_size_mb: Option<u64>,
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--database`: a file, relative to the working folder, or the URL of a database.
    pub database: Option<PathBuf>,
}

impl Overrides {
    /// The database that was given.
    pub(crate) fn database(&self) -> Result<Option<Database>, Problem> {
        let Some(given) = &self.database else {
            return Ok(None);
        };
        // What is no text is no URL.
        let Some(text) = given.to_str() else {
            return Ok(Some(Database::File(given.clone())));
        };
        let read = Database::read(text).map(Some);
        read.map_err(|what| Problem::new(Place::Flag, "--database", what).allowed(DATABASE_ALLOWED))
    }
}

/// What the file says, before anything is laid over it.
#[derive(Default)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) title: Option<String>,
    pub(super) database: Option<Database>,
    /// Where `max_size_mb` is.
    pub(super) max_size_at: Option<Place>,
    pub(super) retain: Option<Duration>,
    pub(super) max_size_mb: Option<u64>,
    pub(super) max_concurrent_probes: Option<u64>,
    pub(super) permits: PermitKeys,
    pub(super) memory_limit_mb: Option<u64>,
    pub(super) resource_check_interval: Option<Duration>,
    pub(super) defaults: Defaults,
    pub(super) monitors: Vec<(Node, MonitorSpec)>,
    /// With its place.
    pub(super) backup: Option<(Place, BackupConfig)>,
    pub(super) doctor: Option<Timetable>,
}

impl Config {
    /// Reads the configuration of this process: `path`, the environment, and `overrides` on top.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Report> {
        let whole = || Place::File {
            file: path.display().to_string().into(),
            at: None,
        };
        let refuse = |what: String| Report::from(vec![Problem::new(whole(), "", what)]);
        let bytes = read_file(path).map_err(refuse)?;
        Self::parse(path, &bytes, overrides, |name| std::env::var_os(name))
    }

    /// Reads the configuration in `bytes`, found at `path`, with `variable` as the environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(
        path: &Path,
        bytes: &[u8],
        overrides: &Overrides,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Report> {
        let mut problems = Vec::new();
        let file = read(path, bytes, &mut problems);
        let overlay = Overlay::read(variable, &mut problems);
        let Some(mut file) = file else {
            return Err(problems.into());
        };
        let settings = file.settings(overrides, &overlay);
        file.defaults.interval = overlay.interval.or(file.defaults.interval);
        file.defaults.policy = overlay.policy.or(&file.defaults.policy);
        file.defaults.max_connections_per_probe = overlay
            .max_connections_per_probe
            .or(file.defaults.max_connections_per_probe);
        for (index, (node, spec)) in file.monitors.iter().enumerate() {
            if let Err(mut problem) = spec.definition(&file.defaults, Source::File) {
                problem.place = node.place_of(&problem.key).clone();
                let path = format!("monitor[{}]", index + 1);
                problem.key = if problem.key.is_empty() {
                    path
                } else {
                    format!("{path}.{}", problem.key)
                };
                problems.push(problem);
            }
        }
        let database = database(path, overrides, file.database, &mut problems);
        if let (Database::Postgres(_), Some(at)) = (&database, file.max_size_at) {
            let what = "limits a file, and the database is one of a server";
            let problem = Problem::new(at, "store.max_size_mb", what);
            problems.push(problem.allowed("nothing: limit the size on the server"));
        }
        if let (Database::Postgres(_), Some((at, _))) = (&database, &file.backup) {
            let what = "copies a file, and the database is one of a server";
            let problem = Problem::new(at.clone(), "backup", what);
            problems.push(problem.allowed("nothing: run pg_dump on a schedule of your own"));
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let probes = overlay.max_concurrent_probes.or(file.max_concurrent_probes);
        let probes = probes.and_then(|probes| NonZeroUsize::new(usize::try_from(probes).ok()?));
        let memory = overlay.memory_limit_mb.or(file.memory_limit_mb);
        let looks = overlay
            .resource_check_interval
            .or(file.resource_check_interval);
        Ok(Self {
            listen: overrides.listen.or(file.listen).unwrap_or(LISTEN_DEFAULT),
            title: file.title,
            store: StoreConfig {
                database,
                retain: file.retain,
                max_size_mb: file.max_size_mb,
            },
            max_concurrent_probes: probes.unwrap_or_else(|| max_concurrent(&file.defaults.policy)),
            without_permit: file.permits.saturation(&file.defaults.policy),
            max_wait: file.permits.max_wait(&file.defaults.policy),
            memory_limit_mb: memory.unwrap_or(MEMORY_DEFAULT),
            resource_check_interval: looks.unwrap_or(LOOKS_DEFAULT),
            defaults: file.defaults,
            backup: file.backup.map(|(_, backup)| backup),
            doctor: file.doctor,
            monitors: file.monitors.into_iter().map(|(_, spec)| spec).collect(),
            settings,
        })
    }
}

/// A relative path in the file is next to the file, wherever the process was started.
fn database(
    config: &Path,
    overrides: &Overrides,
    file: Option<Database>,
    problems: &mut Vec<Problem>,
) -> Database {
    let default = || Database::File(DATABASE_DEFAULT.into());
    match overrides.database() {
        Ok(Some(given)) => given,
        Ok(None) => file.unwrap_or_else(default).within(config.parent()),
        Err(problem) => {
            problems.push(problem);
            default()
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| cannot_read(&error))?;
    if file.metadata().is_ok_and(|file| file.is_dir()) {
        return Err("is a folder, not a file".to_owned());
    }
    let mut bytes = Vec::new();
    // What a pipe or a device has to say has no size beforehand.
    let size = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
    if size.map_err(|error| cannot_read(&error))? as u64 > FILE_MAX {
        return Err(format!("is larger than {} MiB", FILE_MAX >> 20));
    }
    Ok(bytes)
}

fn cannot_read(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Reads the file. `None`, with problems, when it is no TOML at all.
fn read(path: &Path, bytes: &[u8], problems: &mut Vec<Problem>) -> Option<File> {
    let name: Arc<str> = path.display().to_string().into();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.valid_up_to();
            // Valid up to there, as the error says.
            let text = std::str::from_utf8(&bytes[..good]).unwrap_or_default();
            let place = Text::new(name, text).place(&(good..good));
            let what = format!("is not UTF-8: byte {:#04x} at offset {good}", bytes[good]);
            problems.push(Problem::new(place, "", what).allowed("a TOML file in UTF-8"));
            return None;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let text = Text::new(Arc::clone(&name), text);
    for error in &errors {
        let place = text.place(&error.span().unwrap_or(0..0));
        let what = format!("is not TOML: {}", error.message().trim_end());
        problems.push(Problem::new(place, "", what));
    }
    // What the parser made up around a syntax error is not worth a word.
    if errors.is_empty() {
        let root = text.table(&table);
        Some(read_root(path, &name, &root, problems))
    } else {
        None
    }
}

fn read_root(path: &Path, name: &Arc<str>, root: &Node, problems: &mut Vec<Problem>) -> File {
    const KNOWN: [&str; 7] = [
        "server", "store", "defaults", "limits", "backup", "doctor", "monitor",
    ];
    let mut file = File::default();
    let Some(reader) = Reader::new(root, "", &KNOWN, problems) else {
        return file;
    };
    let table = |key: &str| reader.entry(key).map(|entry| &entry.node);
    let [server, store, defaults, limits, backup, doctor, monitors] = KNOWN.map(table);
    if let Some(mut reader) =
        server.and_then(|node| Reader::new(node, "server", &["listen", "title"], problems))
    {
        let allowed = "address:port with a port of 0 to 65535 (0 takes a free one), such as \
                       \"127.0.0.1:8080\"";
        file.listen = reader.text("listen", allowed, read_listen);
        file.title = reader.text("title", "a text of 1 to 128 characters", |text| match text
            .chars()
            .count()
        {
            1..=128 => Ok(text.to_owned()),
            _ => Err("has a wrong length".to_owned()),
        });
    }
    let keys = ["path", "database", "retain", "max_size_mb"];
    if let Some(mut reader) = store.and_then(|node| Reader::new(node, "store", &keys, problems)) {
        file.database = read_database(&mut reader);
        file.max_size_at = reader.has(keys[3]).then(|| reader.place_of(keys[3]));
        let retain = Duration::from_secs(3600)..=Duration::from_secs(3650 * 86_400);
        file.retain = reader.duration("retain", retain);
        file.max_size_mb = reader.integer("max_size_mb", 1..=1 << 20);
    }
    if let Some(node) = defaults {
        file.defaults = Defaults::read(node, problems);
    }
    let keys = [
        "max_concurrent_probes",
        "max_connections_per_probe",
        "memory_limit_mb",
        "resource_check_interval",
    ];
    let known = [&keys[..], &PermitKeys::NAMES].concat();
    if let Some(mut reader) = limits.and_then(|node| Reader::new(node, "limits", &known, problems))
    {
        file.max_concurrent_probes = reader.integer(keys[0], PROBES);
        let connections = reader.integer(keys[1], CONNECTIONS).map(to_u32);
        file.defaults.max_connections_per_probe = connections;
        file.memory_limit_mb = reader.integer(keys[2], MEMORY);
        file.resource_check_interval = reader.duration(keys[3], LOOKS);
        file.permits = PermitKeys::read(&mut reader, &file.defaults.policy);
    }
    file.backup = backup.and_then(|node| BackupConfig::read(node, path, problems));
    file.doctor = doctor.and_then(|node| Timetable::of_doctor(node, problems));
    file.monitors = read_monitors(name, monitors, problems);
    file
}

/// `path` is a file, `database` a file or a URL. What is refused is not quoted: it may have a
/// password.
fn read_database(reader: &mut Reader<'_, '_>) -> Option<Database> {
    if reader.has("path") && reader.has("database") {
        let what = "names the place once more: store.path does already";
        let problem = Problem::new(reader.place_of("database"), reader.key("database"), what);
        reader.problems().push(problem.allowed("one of the two"));
        return None;
    }
    let (key, entry) = ["path", "database"]
        .into_iter()
        .find_map(|key| Some((key, reader.entry(key)?)))?;
    let read = match &entry.node.value {
        Value::Text(text) if key == "path" && text.contains("://") => {
            Err("is no path; a URL goes into store.database".to_owned())
        }
        Value::Text(text) => Database::read(text),
        other => Err(format!("is {}", other.kind())),
    };
    match read {
        Ok(database) => Some(database),
        Err(what) => {
            let problem = Problem::new(entry.node.place.clone(), reader.key(key), what);
            reader.problems().push(problem.allowed(DATABASE_ALLOWED));
            None
        }
    }
}

fn read_monitors(
    name: &Arc<str>,
    node: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Vec<(Node, MonitorSpec)> {
    let Some(node) = node else {
        let what = format!("no monitor is defined; a minimal file is:\n\n{MINIMAL}\n");
        problems.push(Problem::new(
            Place::File {
                file: Arc::clone(name),
                at: None,
            },
            "",
            what,
        ));
        return Vec::new();
    };
    let Value::List(list) = &node.value else {
        let what = format!("is {}", node.value.kind());
        let problem = Problem::new(node.place.clone(), "monitor", what)
            .allowed("[[monitor]], with two brackets, before the keys of each monitor");
        problems.push(problem);
        return Vec::new();
    };
    let mut monitors = Vec::new();
    let mut first: HashMap<&str, Place> = HashMap::new();
    for (index, node) in list.iter().enumerate() {
        let path = format!("monitor[{}]", index + 1);
        if let Some(spec) = MonitorSpec::read(node, &path, problems) {
            monitors.push((node.clone(), spec));
        }
        let Some((id, place)) = id_of(node) else {
            continue;
        };
        match first.entry(id) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(place);
            }
            hash_map::Entry::Occupied(entry) => {
                let what = format!("is the id of another monitor already, at {}", entry.get());
                let problem = Problem::new(place, format!("{path}.id"), what)
                    .value(show_text(id))
                    .allowed("an id that no other monitor has");
                problems.push(problem);
            }
        }
    }
    monitors
}

/// The id of a monitor as it was written, however wrong the rest of it is.
fn id_of(node: &Node) -> Option<(&str, Place)> {
    let Value::Table(entries) = &node.value else {
        return None;
    };
    let id = entries.iter().find(|entry| entry.key == "id")?;
    match &id.node.value {
        Value::Text(text) => Some((text, id.place.clone())),
        _ => None,
    }
}

/// Reads the address to listen on. `localhost` is understood, other names are not: which of their
/// addresses it would be is not clear.
pub(crate) fn read_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text
        .strip_prefix("localhost")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1{port}"));
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    Err(match text.rsplit_once(':') {
        None => "has no port".to_owned(),
        Some((_, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            match port.parse::<u16>() {
                Ok(_) => "is no IP address with a port".to_owned(),
                Err(_) => format!("port {port} is out of range"),
            }
        }
        Some(_) => "is no IP address with a port".to_owned(),
    })
}
