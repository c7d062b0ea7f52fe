//! Being woken when something waits for memory, instead of looking.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio::io::{Interest, unix::AsyncFd};

use super::cgroup;

/// Wakes whoever waits when tasks are held up for want of memory, so that the next look need not
/// wait for its turn.
///
/// It belongs to the own control group where that accounts for stalls, else to the machine.
#[derive(Debug)]
pub struct StallWatch(AsyncFd<File>);

/// Of this length may anybody watch; others take privileges.
const WINDOW: Duration = Duration::from_secs(2);

impl StallWatch {
    /// Asks the kernel to tell when within two seconds some task was held up for `stall` in all.
    ///
    /// # Errors
    /// When the kernel does not account for stalls, does not let this process watch them, or
    /// refuses a `stall` that is zero or above two seconds. Look at intervals alone then.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O.
    pub fn open(stall: Duration) -> io::Result<Self> {
        let mut refusal = io::Error::from(io::ErrorKind::NotFound);
        for (path, _) in cgroup::memory_pressure_paths(Path::new("/")) {
            match Self::open_at(&path, stall) {
                Ok(watch) => return Ok(watch),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    #[allow(
        deprecated,
        reason = "unsound for what does not own its descriptor, as a file does; the other is unsafe"
    )]
    fn open_at(path: &Path, stall: Duration) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let (stall, window) = (stall.as_micros(), WINDOW.as_micros());
        // The kernel takes what is before the last byte.
        file.write_all(format!("some {stall} {window}\0").as_bytes())?;
        AsyncFd::with_interest(file, Interest::PRIORITY).map(Self)
    }

    /// Waits until it has happened since the last call; at most once in two seconds.
    ///
    /// # Errors
    /// When the control group is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn stalled(&self) -> io::Result<()> {
        let mut guard = self.0.ready(Interest::PRIORITY).await?;
        let is_gone = guard.ready().is_error();
        guard.clear_ready();
        if is_gone {
            return Err(io::Error::other("the control group is gone"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        thread,
    };

    /// What a machine without this says: not there, not for you, not accounted.
    fn is_unavailable(error: &io::Error) -> bool {
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
        let kinds = [NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported];
        kinds.contains(&error.kind())
    }

    /// ROB-74: a real stall wakes who waits. Of processor time, which is easier to run out of than
    /// memory, and told in the same way.
    #[tokio::test]
    async fn a_stall_wakes_who_waits() {
        let watch = StallWatch::open_at(Path::new("/proc/pressure/cpu"), Duration::from_millis(10));
        let watch = match watch {
            Ok(watch) => watch,
            Err(error) => return assert!(is_unavailable(&error), "{error}"),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let more_than_there_are = 4 * thread::available_parallelism().map_or(1, usize::from);
        let busy: Vec<_> = (0..more_than_there_are)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || while !stop.load(Relaxed) {})
            })
            .collect();
        let woken = watch.stalled().await;
        stop.store(true, Relaxed);
        busy.into_iter().for_each(|busy| busy.join().unwrap());
        assert!(woken.is_ok(), "{woken:?}");
    }

    /// ROB-74: what the kernel will not watch is an error, not silence.
    #[tokio::test]
    async fn what_cannot_be_watched_is_refused() {
        for stall in [Duration::ZERO, Duration::from_secs(3)] {
            assert!(StallWatch::open(stall).is_err());
        }
        let nowhere = Path::new("/proc/pressure/nothing");
        assert!(StallWatch::open_at(nowhere, Duration::from_millis(100)).is_err());
    }

    #[tokio::test]
    async fn memory_is_watched_where_that_is_possible() {
        if let Err(error) = StallWatch::open(Duration::from_millis(500)) {
            assert!(is_unavailable(&error), "{error}");
        }
    }
}
