//! Loads geographic databases in the `MaxMind` DB format and compiles them for the engine.
//!
//! A file is read whole into memory (never mapped: a file overwritten in place under a mapping kills the process), its
//! digest compared with `<file>.sha256` if there is one, its structure checked, every network decoded, and the result
//! compiled into [`Ranges`], which can be kept on disk for the next start ([`kept`]). Before a table replaces another,
//! [`probe`] compares their answers. All of this is meant for a thread of its own, off the request path; nothing here
//! reads a clock.
//!
//! Any bytes are answered with a table or an error, never with a panic. While a file is loaded it takes its own size,
//! usually some 40 bytes for each network, and at worst some 200, when every network has a record and a class of its
//! own; [`Limits`] bound both. A limit on memory is thus best kept by a lower [`Limits::max_file_bytes`].

mod decode;
pub mod error;
pub mod format;
pub mod kept;
pub mod probe;
mod record;
pub mod source;

use std::path::{Path, PathBuf};

use self::error::{GeoError, GeoFaults};
use self::probe::{ProbePolicy, ProbeReport};
use self::source::{ContentDigest, FileDigest};
use tradewind_engine::geo::layer::{self, Layer};
use tradewind_engine::geo::ranges::Ranges;

/// Most files that are laid over each other.
pub const MAX_FILES: usize = 8;

/// What a load may cost, and what a new table may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Largest file, in bytes. Default 256 MiB; a world-wide city database has some 60 to 130 MB.
    pub max_file_bytes: u64,
    /// Most networks of one file, and most nodes of its tree. Default 12 million; a world-wide city database has some
    /// five to ten million.
    pub max_networks: usize,
    /// Number of addresses sampled from each of the two tables compared. Default 512.
    pub probe_count: usize,
    /// Distance in kilometres beyond which a probe counts as changed. Default 500.
    pub probe_moved_km: f32,
    /// Largest share of located probes that may change or vanish, 0..=1. Default 0.5.
    pub max_changed_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 20,
            max_networks: 12_000_000,
            probe_count: 512,
            probe_moved_km: 500.0,
            max_changed_share: 0.5,
        }
    }
}

/// A compiled table and what it was made of.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The table for the engine.
    pub ranges: Ranges,
    /// The files, in the order of precedence.
    pub files: Vec<FileInfo>,
    /// The comparison with the table in use, if there was one.
    pub probes: Option<ProbeReport>,
}

/// What a file says of itself and what was found in it.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInfo {
    /// Path as given.
    pub path: PathBuf,
    /// Type of database as the file states it, such as `GeoLite2-City`, cut to 64 characters; empty if it does not.
    pub database_type: String,
    /// When the database was built, in seconds since 1970, as the file states it; 0 if it does not.
    pub build_epoch_s: u64,
    /// SHA-256 of the whole file.
    pub digest: FileDigest,
    /// A quicker digest of the whole file, to know it again by.
    pub content: ContentDigest,
    /// Size in bytes.
    pub bytes: usize,
    /// Networks with a record.
    pub network_count: usize,
    /// Ranges left of them after adjacent ones of one class were joined.
    pub range_count: usize,
    /// Distinct classes of clients.
    pub class_count: usize,
    /// Distinct records with coordinates.
    pub located_record_count: usize,
    /// Distinct records with a country.
    pub country_record_count: usize,
    /// Distinct records with an operator.
    pub operator_record_count: usize,
    /// Distinct records with a value that cannot be true, such as a latitude of 200 or a place at exactly 0, 0; the value
    /// was left out.
    pub faulty_record_count: usize,
}

/// How closely a set of files can say where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Not at all: no record has coordinates or a country.
    Nothing,
    /// To the country: no record has coordinates.
    Countries,
    /// To coordinates, for some clients at least.
    Coordinates,
}

impl Reach {
    /// Of some files together.
    pub fn of(files: &[FileInfo]) -> Self {
        let any = |count: fn(&FileInfo) -> usize| files.iter().any(|file| count(file) > 0);
        if any(|file| file.located_record_count) {
            Self::Coordinates
        } else if any(|file| file.country_record_count) {
            Self::Countries
        } else {
            Self::Nothing
        }
    }
}

/// Loads files, the most important first, and lays them over each other (see [`layer`] for what wins). All of them, or
/// the faults of all that have one.
pub fn load(paths: &[PathBuf], limits: &Limits) -> Result<Loaded, GeoFaults> {
    let (decoded, faults) = decode_all(paths, limits);
    if faults.is_empty() {
        Ok(compile(decoded))
    } else {
        Err(GeoFaults(faults))
    }
}

/// Loads those files that are sound, and gives the faults of the others; `None` if none is.
pub fn load_sound(paths: &[PathBuf], limits: &Limits) -> (Option<Loaded>, GeoFaults) {
    let (decoded, faults) = decode_all(paths, limits);
    let loaded = (!decoded.is_empty()).then(|| compile(decoded));
    (loaded, GeoFaults(faults))
}

/// Loads files to replace a table in use: compares both tables, and refuses the new one if the policy says so and too
/// many answers differ.
pub fn reload(
    paths: &[PathBuf],
    limits: &Limits,
    current: &Ranges,
    policy: ProbePolicy,
) -> Result<Loaded, GeoFaults> {
    let mut loaded = load(paths, limits)?;
    loaded.probes = Some(probes_agree(current, &loaded.ranges, limits, policy)?);
    Ok(loaded)
}

/// Compiles a database that is already in memory. Errors name it `<memory>`.
pub fn decode_and_compile(bytes: Vec<u8>, limits: &Limits) -> Result<Loaded, GeoError> {
    let digest = FileDigest::of(&bytes);
    let decoded = decode::decode(&bytes, digest, Path::new("<memory>"), limits)?;
    // What was read is not needed while the table is compiled.
    drop(bytes);
    Ok(compile(vec![decoded]))
}

/// What is in each file, or what is wrong with it. One file at a time is held in memory; of the others only what they
/// say.
fn decode_all(paths: &[PathBuf], limits: &Limits) -> (Vec<Decoded>, Vec<GeoError>) {
    if paths.is_empty() || paths.len() > MAX_FILES {
        let count = paths.len();
        return (Vec::new(), vec![GeoError::FileCount { count }]);
    }
    let (mut decoded, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match read_and_decode(path, limits) {
            Ok(found) => decoded.push(found),
            Err(fault) => faults.push(fault),
        }
    }
    (decoded, faults)
}

fn read_and_decode(path: &Path, limits: &Limits) -> Result<Decoded, GeoError> {
    let bytes = source::read_whole(path, limits)?;
    let digest = FileDigest::of(&bytes);
    source::check_sum_file(path, digest)?;
    decode::decode(&bytes, digest, path, limits)
}

/// What is in a file.
type Decoded = (Layer, FileInfo);

fn compile(decoded: Vec<Decoded>) -> Loaded {
    let (layers, files) = decoded.into_iter().unzip();
    Loaded {
        ranges: layer::compile(layers),
        files,
        probes: None,
    }
}

/// Compares, and refuses the new table if the policy is to enforce the limit and it is exceeded.
fn probes_agree(
    current: &Ranges,
    next: &Ranges,
    limits: &Limits,
    policy: ProbePolicy,
) -> Result<ProbeReport, GeoError> {
    let report = probe::compare(current, next, limits);
    if policy == ProbePolicy::Enforce && report.changed_share() > limits.max_changed_share {
        return Err(GeoError::ProbesDiffer {
            report,
            max_changed_share: limits.max_changed_share,
        });
    }
    Ok(report)
}
