//! Geo files read and compiled: what takes seconds, and so is done on a thread of its own once something is served.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::geoip::error::GeoFaults;
use crate::geoip::kept::Tables;
use crate::geoip::probe::ProbePolicy;
use crate::geoip::{self, Limits, Loaded};
use crate::writer::keeper::Kept;
use tradewind_engine::geo::ranges::Ranges;

/// What changes whenever a file's content does. The time of change is set by the system alone, so a file swapped for
/// one with the same size and age is noticed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            changed,
        })
    }
}

/// The stamps of files, as they are now; `None` for one that is not there.
pub(super) fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

/// Files to load, and what there is beside them.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) paths: Vec<PathBuf>,
    pub(super) limits: Limits,
    /// The tables in force, which the next are compared with. Without any, some files are better than none.
    pub(super) in_force: Option<Arc<Ranges>>,
    pub(super) kept: Kept,
}

/// What came of files.
#[derive(Debug)]
pub(super) enum Found {
    /// All of them are sound.
    Sound(Box<Loaded>),
    /// They are refused.
    Refused {
        /// Why.
        faults: GeoFaults,
        /// What is better than nothing.
        instead: Option<Box<Instead>>,
    },
}

/// Tables where not all files are sound and none are in force.
#[derive(Debug)]
pub(super) enum Instead {
    /// Those that were kept of an earlier run.
    Past(Tables),
    /// Those of the files that are sound.
    Some(Tables),
}

impl Job {
    /// Loads all files, else those that are better than nothing where nothing is in force.
    pub(super) fn run(self) -> Found {
        let Some(in_force) = &self.in_force else {
            return self.run_for_the_first_time();
        };
        let policy = ProbePolicy::Enforce;
        match geoip::reload(&self.paths, &self.limits, in_force, policy) {
            Ok(loaded) => Found::Sound(Box::new(loaded)),
            Err(faults) => Found::Refused {
                faults,
                instead: None,
            },
        }
    }

    fn run_for_the_first_time(&self) -> Found {
        let (sound, faults) = geoip::load_sound(&self.paths, &self.limits);
        let sound = match sound {
            Some(loaded) if faults.0.is_empty() => return Found::Sound(Box::new(loaded)),
            sound => sound,
        };
        let past = self.kept.last_good().map(Instead::Past);
        let some =
            sound.map(|Loaded { ranges, files, .. }| Instead::Some(Tables { ranges, files }));
        Found::Refused {
            faults,
            instead: past.or(some).map(Box::new),
        }
    }

    /// Does it on a thread of its own.
    pub(super) fn begin(self) -> std::io::Result<JoinHandle<Found>> {
        thread::Builder::new()
            .name("tradewind-geo".to_owned())
            .spawn(move || self.run())
    }
}
