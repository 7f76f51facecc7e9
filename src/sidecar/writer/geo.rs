//! The geo files as the writer sees them: loaded at the start, loaded again when they change, kept when they are bad.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::geo::ranges::Ranges;
use crate::engine::snapshot::GeoState;
use crate::example;
use crate::sidecar::geoip::error::GeoError;
use crate::sidecar::geoip::probe::ProbePolicy;
use crate::sidecar::geoip::{self, FileInfo, Limits, Loaded};
use crate::sidecar::settings::Settings;
use crate::sidecar::state::{GeoFileStatus, GeoStatus};

/// The geo files and the tables made of them.
#[derive(Debug)]
pub(super) struct GeoSource {
    paths: Vec<PathBuf>,
    use_example: bool,
    limits: Limits,
    stamps: Vec<Option<Stamp>>,
    ranges: Arc<Ranges>,
    files: Vec<FileInfo>,
    faults: Vec<String>,
    state: GeoState,
}

/// What changes whenever a file's content does. The time of change is set by the system alone, so a file swapped for
/// one with the same size and age is noticed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
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

impl GeoSource {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            paths: settings.geo.clone(),
            use_example: settings.geo.is_empty() && settings.is_example(),
            limits: Limits::default(),
            stamps: Vec::new(),
            ranges: Arc::new(Ranges::default()),
            files: Vec::new(),
            faults: Vec::new(),
            state: GeoState::NotConfigured,
        }
    }

    pub(super) fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }

    pub(super) fn state(&self) -> GeoState {
        self.state
    }

    /// Loads the files for the first time: all of them, or those that are good. `Some(false)` when any was refused,
    /// `None` when none is configured.
    pub(super) fn load_first(&mut self) -> Option<bool> {
        if self.use_example {
            let loaded = geoip::decode_and_compile(example::GEO.to_vec(), &self.limits);
            return Some(self.take(loaded));
        }
        if self.paths.is_empty() {
            return None;
        }
        self.stamps = self.stamps_now();
        match geoip::load(&self.paths, &self.limits) {
            Ok(loaded) => Some(self.take(Ok(loaded))),
            Err(error) => {
                tracing::error!(error = %Causes(&error), "not all geo files can be used");
                let good: Vec<PathBuf> = self
                    .paths
                    .iter()
                    .filter(|path| geoip::load(std::slice::from_ref(path), &self.limits).is_ok())
                    .cloned()
                    .collect();
                if let Ok(loaded) = geoip::load(&good, &self.limits) {
                    self.take(Ok(loaded));
                }
                self.refuse(&error);
                Some(false)
            }
        }
    }

    /// Loads the files again if any has changed. `Some(true)` when new tables took effect, `Some(false)` when the files
    /// are refused and the old tables stay.
    pub(super) fn reload(&mut self) -> Option<bool> {
        let stamps = self.stamps_now();
        if self.paths.is_empty() || stamps == self.stamps {
            return None;
        }
        self.stamps = stamps;
        let loaded = if self.ranges.is_empty() {
            geoip::load(&self.paths, &self.limits)
        } else {
            geoip::reload(
                &self.paths,
                &self.limits,
                &self.ranges,
                ProbePolicy::Enforce,
            )
        };
        Some(self.take(loaded))
    }

    fn stamps_now(&self) -> Vec<Option<Stamp>> {
        self.paths.iter().map(|path| Stamp::of(path)).collect()
    }

    fn take(&mut self, loaded: Result<Loaded, GeoError>) -> bool {
        match loaded {
            Ok(loaded) => {
                self.ranges = Arc::new(loaded.ranges);
                self.files = loaded.files;
                self.faults.clear();
                self.state = GeoState::Good;
                for file in self
                    .files
                    .iter()
                    .filter(|file| file.faulty_record_count > 0)
                {
                    tracing::warn!(
                        file = %file.path.display(),
                        records = file.faulty_record_count,
                        "values that cannot be true were left out, such as places at exactly 0, 0"
                    );
                }
                tracing::info!(
                    files = self.files.len(),
                    cells = self.ranges.cells().len(),
                    "geo tables took effect"
                );
                true
            }
            Err(error) => {
                tracing::error!(error = %Causes(&error), "the geo files are refused, the tables before them stay");
                self.refuse(&error);
                false
            }
        }
    }

    fn refuse(&mut self, error: &GeoError) {
        self.faults = vec![Causes(error).to_string()];
        self.state = GeoState::Degraded;
    }

    pub(super) fn status(&self) -> GeoStatus {
        GeoStatus {
            state: match self.state {
                GeoState::Good => "good",
                GeoState::NotConfigured => "not_configured",
                GeoState::Degraded => "degraded",
            },
            files: self
                .files
                .iter()
                .map(|file| file_status(file, self.use_example))
                .collect(),
            faults: self.faults.clone(),
            cells: self.ranges.cells().len(),
            classes: self.ranges.class_count(),
            memory_bytes: self.ranges.memory_bytes(),
        }
    }
}

fn file_status(file: &FileInfo, self_made: bool) -> GeoFileStatus {
    GeoFileStatus {
        path: if self_made {
            "embedded example".to_owned()
        } else {
            file.path.display().to_string()
        },
        database_type: file.database_type.clone(),
        build_epoch_s: file.build_epoch_s,
        digest: file.digest.to_string(),
        networks: file.network_count,
        faulty_records: file.faulty_record_count,
    }
}

/// An error with its causes on one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
