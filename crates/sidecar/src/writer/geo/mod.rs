//! The geo files as the writer sees them: loaded at the start, loaded again when they change, kept when they are bad.
//!
//! Only the first load is waited for. Later ones take their time on a thread of their own: operators and the control loop go on.

mod load;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use self::load::{Found, Instead, Job, Stamp};
use super::keeper::Keeper;
use crate::clock;
use crate::example;
use crate::geoip::kept::Tables;
use crate::geoip::{self, FileInfo, Limits, Loaded, Reach};
use crate::settings::Settings;
use crate::state::{GeoFileStatus, GeoStatus, State};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::{Degraded, Geo};
use tradewind_engine::snapshot::GeoState;

/// Said where nothing is in force.
const NO_TABLES: &str = "no geo file can be used, and no tables are kept of an earlier run: not ready until a file can \
    be used, or `--geo-optional` says that none is needed";

/// Said of files about operators, for example.
const NO_GEOGRAPHY: &str = "no geo file has a coordinate or a country: nobody is located by them, add a city or country file";

/// Said of files about countries.
const COUNTRIES_ONLY: &str =
    "countries only: no geo file has a coordinate, clients are located by their country";

/// Said of tables that are older than the files.
const KEPT: &str =
    "the tables in force were kept from an earlier run, because the files are refused";

/// What a file may know, and in how many records it does.
type Knowledge = (&'static str, fn(&FileInfo) -> usize);

const KNOWLEDGE: [Knowledge; 3] = [
    ("coordinates", |file| file.located_record_count),
    ("countries", |file| file.country_record_count),
    ("operators", |file| file.operator_record_count),
];

/// The geo files and the tables made of them.
#[derive(Debug)]
pub(super) struct GeoSource {
    paths: Vec<PathBuf>,
    use_example: bool,
    /// Whether traffic may come without any tables.
    is_optional: bool,
    limits: Limits,
    stamps: Vec<Option<Stamp>>,
    ranges: Arc<Ranges>,
    /// What the tables were made of; empty while there are none.
    files: Vec<FileInfo>,
    /// Why the files as they are now are refused.
    faults: Vec<String>,
    /// Since when files are refused.
    degraded: Option<Degraded>,
    age: Age,
    keeper: Keeper,
    /// The load under way.
    loading: Option<JoinHandle<Found>>,
}

/// Which files the tables in force were made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Files this process has read, or just those.
    Present,
    /// Files of an earlier run; those of now are refused.
    Past,
}

impl GeoSource {
    pub(super) fn new(settings: &Settings, state: Arc<State>) -> Self {
        Self {
            paths: settings.geo.clone(),
            use_example: settings.geo.is_empty() && settings.is_example(),
            is_optional: settings.geo_optional,
            limits: Limits::default(),
            stamps: Vec::new(),
            ranges: Arc::new(Ranges::default()),
            files: Vec::new(),
            faults: Vec::new(),
            degraded: None,
            age: Age::Present,
            keeper: Keeper::new(settings.state_dir.clone(), state),
            loading: None,
        }
    }

    /// The tables in force.
    pub(super) fn in_force(&self) -> Geo {
        Geo {
            ranges: Arc::clone(&self.ranges),
            state: self.state(),
        }
    }

    /// Whether the tables in force are what the files say, and say where clients are.
    fn state(&self) -> GeoState {
        if !self.use_example && self.paths.is_empty() {
            GeoState::NotConfigured
        } else if self.faults.is_empty() && Reach::of(&self.files) > Reach::Nothing {
            GeoState::Good
        } else {
            GeoState::Degraded
        }
    }

    /// Whether traffic may come: the tables that were asked for are there, be they old, or nobody needs them.
    pub(super) fn is_ready(&self) -> bool {
        self.state() == GeoState::NotConfigured || !self.files.is_empty() || self.is_optional
    }

    /// Loads the files for the first time: the tables kept of them, else all of them, else the last good tables, else
    /// those files that are sound. `Some(false)` when any was refused, `None` when none is configured.
    pub(super) fn load_first(&mut self) -> Option<bool> {
        if self.use_example {
            let loaded = geoip::decode_and_compile(example::GEO.to_vec(), &self.limits);
            return Some(self.take(match loaded {
                Ok(loaded) => Found::Sound(Box::new(loaded)),
                Err(fault) => Found::Refused {
                    faults: fault.into(),
                    instead: None,
                },
            }));
        }
        if self.paths.is_empty() {
            self.keeper.clear();
            return None;
        }
        self.stamps = load::stamps(&self.paths);
        let kept = self.keeper.kept();
        if let Some(tables) = kept.made_of(&self.paths, &self.limits) {
            self.adopt(tables, "geo tables kept of these files took effect");
            return Some(true);
        }
        let found = self.job().run();
        Some(self.take(found))
    }

    /// Begins to load the files on a thread of its own if any has changed, one load at a time.
    pub(super) fn look(&mut self) {
        if self.paths.is_empty() || self.loading.is_some() {
            // What changes meanwhile is seen when that load is over.
            return;
        }
        let stamps = load::stamps(&self.paths);
        if stamps == self.stamps {
            return;
        }
        match self.job().begin() {
            Ok(loading) => {
                self.stamps = stamps;
                self.loading = Some(loading);
            }
            // They are looked at again with the next change, or by the poll.
            Err(error) => {
                tracing::error!(%error, "geo files cannot be loaded, no thread can be started");
            }
        }
    }

    /// Takes over what a load came to, once it is over. `Some(true)` when new tables took effect, `Some(false)` when the files are
    /// refused and the old tables stay. Files that have changed since are loaded again: a refusal of what is gone is passed over.
    pub(super) fn take_loaded(&mut self) -> Option<bool> {
        let loading = self.loading.take_if(|loading| loading.is_finished())?;
        let found = loading.join();
        let has_changed = load::stamps(&self.paths) != self.stamps;
        let taken = match found {
            Ok(Found::Refused { .. }) if has_changed => None,
            Ok(found) => Some(self.take(found)),
            Err(_) => {
                self.refuse(vec!["loading the geo files ended in a panic".to_owned()]);
                Some(false)
            }
        };
        self.look();
        taken
    }

    fn job(&self) -> Job {
        Job {
            paths: self.paths.clone(),
            limits: self.limits.clone(),
            in_force: (!self.files.is_empty()).then(|| Arc::clone(&self.ranges)),
            kept: self.keeper.kept().clone(),
        }
    }

    /// Takes over what came of the files; whether all are sound.
    fn take(&mut self, found: Found) -> bool {
        match found {
            Found::Sound(loaded) => {
                let Loaded { ranges, files, .. } = *loaded;
                self.adopt(Tables { ranges, files }, "geo tables took effect");
                if !self.use_example {
                    self.keeper.keep(&self.ranges, &self.files);
                }
                true
            }
            Found::Refused { faults, instead } => {
                match instead.map(|instead| *instead) {
                    Some(Instead::Past(tables)) => {
                        self.adopt(tables, "the last good geo tables took effect");
                        self.age = Age::Past;
                    }
                    Some(Instead::Some(tables)) => {
                        self.adopt(tables, "geo tables of some files took effect");
                    }
                    None => {}
                }
                self.refuse(faults.lines());
                false
            }
        }
    }

    /// Puts tables in force, and says so.
    fn adopt(&mut self, tables: Tables, said: &'static str) {
        self.ranges = Arc::new(tables.ranges);
        self.files = tables.files;
        self.faults.clear();
        self.age = Age::Present;
        let degraded = self.degraded.take();
        let refused_for_ms = degraded.map(|degraded| degraded.lasted_ms(clock::unix_ms()));
        tracing::info!(
            files = self.files.len(),
            cells = self.ranges.cells().len(),
            refused_for_ms,
            "{said}"
        );
        for line in self.faults().iter().chain(&self.warnings()) {
            tracing::warn!("{line}");
        }
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
    }

    /// Notes what is wrong with the files; the tables in force stay.
    fn refuse(&mut self, faults: Vec<String>) {
        self.faults = faults;
        let first = self.faults.first().cloned().unwrap_or_default();
        Degraded::note(&mut self.degraded, clock::unix_ms(), || first);
        let serving = if self.files.is_empty() {
            "no tables"
        } else {
            "the tables in force"
        };
        tracing::error!(serving, faults = self.faults.len(), "geo files are refused");
        for line in &self.faults {
            tracing::error!("{line}");
        }
        if !self.is_ready() {
            tracing::error!("{NO_TABLES}");
        }
    }

    /// What is wrong with the files, and with what was made of them.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        if !self.files.is_empty() && Reach::of(&self.files) == Reach::Nothing {
            faults.push(NO_GEOGRAPHY.to_owned());
        }
        if !self.is_ready() && !self.faults.is_empty() {
            faults.push(NO_TABLES.to_owned());
        }
        faults
    }

    /// What somebody should know of the tables in force, though nothing is wrong.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.files.is_empty() && Reach::of(&self.files) == Reach::Countries {
            warnings.push(COUNTRIES_ONLY.to_owned());
        }
        if self.age == Age::Past {
            warnings.push(KEPT.to_owned());
        }
        warnings
    }

    pub(super) fn status(&self) -> GeoStatus {
        GeoStatus {
            state: match self.state() {
                GeoState::Good => "good",
                GeoState::NotConfigured => "not_configured",
                GeoState::Degraded => "degraded",
            },
            files: self
                .files
                .iter()
                .map(|file| file_status(file, self.use_example))
                .collect(),
            degraded: self.degraded.clone(),
            faults: self.faults(),
            warnings: self.warnings(),
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
        knows: KNOWLEDGE
            .iter()
            .filter(|(_, records)| records(file) > 0)
            .map(|(word, _)| *word)
            .collect(),
    }
}
