//! The control groups of the process, of either version: its own and all those above it, since
//! each of them may have the limit that is met first.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::Source;

use super::{file::KernelFile, parse};

/// What a controller's files are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// The name of the controller in version 1.
    controller: &'static str,
    v1: Files,
    v2: Files,
}

#[derive(Debug, Clone, Copy)]
struct Files {
    used: &'static str,
    limits: &'static [&'static str],
    /// File and field of what is counted as used and can be had back at once.
    reclaimable: Option<(&'static str, &'static str)>,
}

/// Memory. `memory.high` is a limit as well: beyond it, everything is slowed down on purpose.
pub(super) const MEMORY: Names = Names {
    controller: "memory",
    v1: Files {
        used: "memory.usage_in_bytes",
        limits: &["memory.limit_in_bytes"],
        reclaimable: Some(("memory.stat", "total_inactive_file")),
    },
    v2: Files {
        used: "memory.current",
        limits: &["memory.max", "memory.high"],
        reclaimable: Some(("memory.stat", "inactive_file")),
    },
};

const TASK_FILES: Files = Files {
    used: "pids.current",
    limits: &["pids.max"],
    reclaimable: None,
};

/// Threads and processes.
pub(super) const TASKS: Names = Names {
    controller: "pids",
    v1: TASK_FILES,
    v2: TASK_FILES,
};

/// The groups that hold the process, from its own to the outermost that can be seen.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    used: KernelFile,
    limits: Vec<KernelFile>,
    reclaimable: Option<(KernelFile, &'static str)>,
}

impl Groups {
    /// Finds the groups; none where nothing of the kind is mounted.
    pub(super) fn find(root: &Path, names: Names) -> Self {
        let place = Place::find(root, Some(names.controller))
            .map(|place| (place, names.v1))
            .or_else(|| Some((Place::find(root, None)?, names.v2)));
        let groups = place.map(|(place, files)| {
            let folders = place.folders();
            folders
                .iter()
                .filter_map(|folder| Group::open(folder, files))
                .collect()
        });
        Self {
            groups: groups.unwrap_or_default(),
        }
    }

    /// Used and limit of the group that is closest to its limit; `None` where none has a limit.
    pub(super) fn tightest(&self, buffer: &mut Vec<u8>) -> Result<Option<(u64, u64)>, String> {
        let mut tightest: Option<(u64, u64)> = None;
        for group in &self.groups {
            let Some((used, limit)) = group.read(buffer)? else {
                continue;
            };
            // used / limit, compared without dividing.
            let share = |(used, _): (u64, u64), (_, limit): (u64, u64)| {
                u128::from(used) * u128::from(limit)
            };
            let other = tightest.unwrap_or((0, 1));
            if tightest.is_none() || share((used, limit), other) > share(other, (used, limit)) {
                tightest = Some((used, limit));
            }
        }
        Ok(tightest)
    }
}

impl Group {
    fn open(folder: &Path, files: Files) -> Option<Self> {
        let limits = files.limits.iter();
        let limits: Vec<_> = limits
            .filter_map(|name| KernelFile::open(folder.join(name)).ok())
            .collect();
        let reclaimable = files.reclaimable.and_then(|(name, field)| {
            let file = KernelFile::open(folder.join(name)).ok()?;
            Some((file, field))
        });
        // The outermost group of version 2 has no such files.
        let used = KernelFile::open(folder.join(files.used)).ok()?;
        (!limits.is_empty()).then_some(Self {
            used,
            limits,
            reclaimable,
        })
    }

    fn read(&self, buffer: &mut Vec<u8>) -> Result<Option<(u64, u64)>, String> {
        let mut lowest: Option<u64> = None;
        for file in &self.limits {
            if let Some(limit) = file.parse(buffer, "limit", parse::limit)? {
                lowest = Some(lowest.map_or(limit, |lowest| lowest.min(limit)));
            }
        }
        let Some(limit) = lowest else {
            return Ok(None);
        };
        let used = self.used.parse(buffer, "number", parse::number)?;
        let reclaimable = match &self.reclaimable {
            Some((file, field)) => file.parse(buffer, field, |text| parse::field(text, field))?,
            None => 0,
        };
        Ok(Some((used.saturating_sub(reclaimable), limit)))
    }
}

/// Where stalls for want of memory are told, and as what: of the own group, else of the machine.
pub(super) fn memory_pressure_paths(root: &Path) -> impl Iterator<Item = (PathBuf, Source)> {
    // The outermost group has no events: it is the machine, whoever runs in it.
    let own = Place::find(root, None)
        .map(|place| place.own())
        .filter(|own| own.join("cgroup.events").exists())
        .map(|own| (own.join("memory.pressure"), Source::MEMORY_STALL));
    let machine = root.join("proc/pressure/memory");
    own.into_iter()
        .chain([(machine, Source::MACHINE_MEMORY_STALL)])
}

/// The first of them that can be read. Where stalls are not accounted it is there and cannot.
pub(super) fn memory_pressure(root: &Path) -> Option<(KernelFile, Source)> {
    memory_pressure_paths(root).find_map(|(path, source)| {
        let file = KernelFile::open(path).ok()?;
        file.read(&mut Vec::new()).ok()?;
        Some((file, source))
    })
}

/// A mounted hierarchy and where the process is in it.
#[derive(Debug)]
struct Place {
    mount: PathBuf,
    below: PathBuf,
}

impl Place {
    /// Of a controller's hierarchy of version 1, or of the one of version 2.
    fn find(root: &Path, controller: Option<&str>) -> Option<Self> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let is_it = match controller {
                Some(controller) => controllers.split(',').any(|name| name == controller),
                None => controllers.is_empty(),
            };
            is_it.then_some(path)
        })?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        let mount = mounts
            .lines()
            .find_map(|line| Mount::parse(line, controller))?;
        // Seen from within a namespace or a container, a mount shows a part of the hierarchy.
        let below = Path::new(path).strip_prefix(&mount.root);
        let below = below.unwrap_or(Path::new(""));
        let plain = |part| matches!(part, Component::Normal(_));
        let below = match below.components().all(plain) {
            true => below.to_owned(),
            false => PathBuf::new(),
        };
        let mount = mount.point.strip_prefix("/").unwrap_or(&mount.point);
        Some(Self {
            mount: root.join(mount),
            below,
        })
    }

    fn own(&self) -> PathBuf {
        self.mount.join(&self.below)
    }

    /// The own folder and all above it up to the mount.
    fn folders(&self) -> Vec<PathBuf> {
        let own = self.own();
        let above = own.ancestors();
        let seen = above.take_while(|folder| folder.starts_with(&self.mount));
        seen.map(Path::to_owned).collect()
    }
}

/// A line of `mountinfo`: which part of which hierarchy is to be seen where.
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn parse(line: &str, controller: Option<&str>) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next()?;
        let is_it = match controller {
            Some(controller) => {
                let mut options = filesystem.nth(1)?.split(',');
                kind == "cgroup" && options.any(|option| option == controller)
            }
            None => kind == "cgroup2",
        };
        let mut fields = mount.split(' ').skip(3).map(unescape);
        let (root, point) = (fields.next()?, fields.next()?);
        is_it.then_some(Self { root, point })
    }
}

/// The kernel writes blanks and backslashes of paths as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                path.push(char::from(code));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ROB-73: on this machine, whichever version it has, the own groups are found and can be read.
    #[test]
    fn the_groups_of_this_process() {
        let root = Path::new("/");
        let places = [
            Place::find(root, Some("memory")).map(|place| (place, MEMORY.v1)),
            Place::find(root, None).map(|place| (place, MEMORY.v2)),
        ];
        let mut places = places.into_iter().flatten();
        let own = places.find(|(place, files)| place.own().join(files.used).exists());
        let groups = Groups::find(root, MEMORY).groups;
        assert_eq!(own.is_some(), !groups.is_empty());
        for group in &groups {
            let used = group.used.parse(&mut Vec::new(), "number", parse::number);
            assert!(used.is_ok_and(|used| used > 0));
            assert!(group.read(&mut Vec::new()).is_ok());
        }
    }
}
