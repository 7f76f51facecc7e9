//! Loads geographic databases in the `MaxMind` DB format and compiles them for the engine.
//!
//! A file is read whole into memory (never mapped: a file overwritten in place under a mapping kills the process), its
//! digest compared with `<file>.sha256` if there is one, its structure verified, every network decoded, and the result
//! compiled into [`Ranges`]. Before a table replaces another, [`probe`] compares their answers. All of this is meant for
//! a thread of its own, off the request path; nothing here reads a clock.
//!
//! Any bytes are answered with a table or an error, never with a panic. While a file is loaded it takes its own size,
//! usually some 40 bytes for each network, and at worst some 200, when every network has a record and a class of its
//! own; [`Limits`] bound both. A limit on memory is thus best kept by a lower [`Limits::max_file_bytes`].

pub mod error;
pub mod probe;
mod record;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use sha2::{Digest, Sha256};

use self::error::GeoError;
use self::probe::{ProbePolicy, ProbeReport};
use self::record::RawRecord;
use crate::engine::geo::layer::{self, Layer, RecordIndex};
use crate::engine::geo::ranges::Ranges;

/// Most files that are laid over each other.
pub const MAX_FILES: usize = 8;

/// Most bytes read of a `.sha256` file; a sum and a name need a hundred.
const MAX_SUM_BYTES: u64 = 4096;

/// What a load may cost, and what a new table may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Largest file, in bytes. Default 256 MiB; a world-wide city database has some 60 to 130 MB.
    pub max_file_bytes: u64,
    /// Most networks of one file, and most nodes of its tree. Default 12 million; a world-wide city database has some
    /// five million.
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
    /// Type of database as the file states it, such as `GeoLite2-City`, cut to 64 characters.
    pub database_type: String,
    /// When the database was built, in seconds since 1970, as the file states it.
    pub build_epoch_s: u64,
    /// SHA-256 of the whole file.
    pub digest: FileDigest,
    /// Size in bytes.
    pub bytes: usize,
    /// Networks with a record.
    pub network_count: usize,
    /// Ranges left of them after adjacent ones of one class were joined.
    pub range_count: usize,
    /// Distinct classes of clients.
    pub class_count: usize,
    /// Distinct records with a value that cannot be true, such as a latitude of 200 or a place at exactly 0, 0; the value
    /// was left out.
    pub faulty_record_count: usize,
}

/// SHA-256 of a file; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileDigest([u8; 32]);

impl FileDigest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDigest({self})")
    }
}

/// Loads files, the most important first, and lays them over each other (see [`layer`] for what wins).
pub fn load(paths: &[PathBuf], limits: &Limits) -> Result<Loaded, GeoError> {
    if paths.is_empty() || paths.len() > MAX_FILES {
        return Err(GeoError::FileCount { count: paths.len() });
    }
    let mut layers = Vec::with_capacity(paths.len());
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        // One file at a time is held in memory; of the others only what they say.
        let bytes = read_whole(path, limits)?;
        let digest = FileDigest::of(&bytes);
        check_sum_file(path, digest)?;
        let (layer, file) = decode(bytes, digest, path, limits)?;
        layers.push(layer);
        files.push(file);
    }
    Ok(Loaded {
        ranges: layer::compile(layers),
        files,
        probes: None,
    })
}

/// Loads files to replace a table in use: compares both tables, and refuses the new one if the policy says so and too
/// many answers differ.
pub fn reload(
    paths: &[PathBuf],
    limits: &Limits,
    current: &Ranges,
    policy: ProbePolicy,
) -> Result<Loaded, GeoError> {
    let mut loaded = load(paths, limits)?;
    loaded.probes = Some(probe::check(current, &loaded.ranges, limits, policy)?);
    Ok(loaded)
}

/// Compiles a database that is already in memory. Errors name it `<memory>`.
pub fn decode_and_compile(bytes: Vec<u8>, limits: &Limits) -> Result<Loaded, GeoError> {
    let digest = FileDigest::of(&bytes);
    let (layer, file) = decode(bytes, digest, Path::new("<memory>"), limits)?;
    Ok(Loaded {
        ranges: layer::compile(vec![layer]),
        files: vec![file],
        probes: None,
    })
}

fn read_whole(path: &Path, limits: &Limits) -> Result<Vec<u8>, GeoError> {
    let read_error = |source| GeoError::Read {
        path: path.to_owned(),
        source,
    };
    // Before it is opened: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(read_error)?;
    if !metadata.is_file() {
        return Err(GeoError::NotAFile {
            path: path.to_owned(),
        });
    }
    let too_large = |bytes| GeoError::TooLarge {
        path: path.to_owned(),
        bytes,
        limit: limits.max_file_bytes,
    };
    if metadata.len() > limits.max_file_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // One more than allowed, to notice a file that grows while it is read.
    let file = File::open(path).map_err(read_error)?;
    let count = file
        .take(limits.max_file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(read_error)? as u64;
    if count > limits.max_file_bytes {
        Err(too_large(count))
    } else {
        Ok(bytes)
    }
}

/// Compares with `<file>.sha256`, in the form of the tool `sha256sum` or just the digits; nothing to do without one.
fn check_sum_file(path: &Path, digest: FileDigest) -> Result<(), GeoError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    let sum_path = PathBuf::from(name);
    match fs::metadata(&sum_path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(GeoError::Read {
                path: sum_path,
                source,
            });
        }
        Ok(metadata) if !metadata.is_file() => return Err(GeoError::NotAFile { path: sum_path }),
        Ok(_) => {}
    }
    let mut text = Vec::new();
    let read =
        File::open(&sum_path).and_then(|file| file.take(MAX_SUM_BYTES).read_to_end(&mut text));
    if let Err(source) = read {
        return Err(GeoError::Read {
            path: sum_path,
            source,
        });
    }
    let text = String::from_utf8_lossy(&text);
    let expected = text.split_whitespace().next().unwrap_or_default();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(GeoError::SumMalformed {
            path: sum_path,
            value: expected.chars().take(80).collect(),
        });
    }
    let actual = digest.to_string();
    if actual.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(GeoError::SumDiffers {
            path: path.to_owned(),
            actual,
            expected: expected.to_ascii_lowercase(),
        })
    }
}

/// Decodes every network of a database into a layer.
fn decode(
    bytes: Vec<u8>,
    digest: FileDigest,
    path: &Path,
    limits: &Limits,
) -> Result<(Layer, FileInfo), GeoError> {
    let size = bytes.len();
    let malformed = |source| GeoError::Malformed {
        path: path.to_owned(),
        source,
    };
    let reader = Reader::from_source(bytes).map_err(malformed)?;
    check_size(&reader, path, limits)?;
    reader.verify().map_err(malformed)?;

    let mut walk = Walk::default();
    for found in reader
        .networks(WithinOptions::default())
        .map_err(malformed)?
    {
        let found = found.map_err(malformed)?;
        let Some(offset) = found.offset() else {
            continue;
        };
        let record = match walk.records.get(&offset) {
            Some(record) => *record,
            None => walk.note(
                offset,
                found
                    .decode::<RawRecord>()
                    .map_err(malformed)?
                    .unwrap_or_default(),
            ),
        };
        let network = found.network().map_err(malformed)?;
        // The prefix is within its family's bounds, since the reader made it: a failure would be a bad tree.
        let Ok(network) = IpNet::new(network.ip(), network.prefix()) else {
            continue;
        };
        walk.add(network, record)
            .map_err(|source| GeoError::Disorder {
                path: path.to_owned(),
                source,
            })?;
    }
    let metadata = reader.metadata();
    let file = FileInfo {
        path: path.to_owned(),
        database_type: metadata.database_type.chars().take(64).collect(),
        build_epoch_s: metadata.build_epoch,
        digest,
        bytes: size,
        network_count: walk.network_count,
        range_count: walk.layer.range_count(),
        class_count: walk.layer.class_count(),
        faulty_record_count: walk.faulty_record_count,
    };
    if file.class_count == 0 {
        return Err(GeoError::NothingKnown {
            path: file.path,
            database_type: file.database_type,
        });
    }
    Ok((walk.layer, file))
}

/// Refuses a tree that is too large before anything is kept of it. Counting also ends a tree that reaches the same
/// nodes on many ways, which can have far more networks than nodes.
fn check_size(reader: &Reader<Vec<u8>>, path: &Path, limits: &Limits) -> Result<(), GeoError> {
    let malformed = |source: MaxMindDbError| GeoError::Malformed {
        path: path.to_owned(),
        source,
    };
    let limit = limits.max_networks;
    let too_many = || GeoError::TooManyNetworks {
        path: path.to_owned(),
        limit,
    };
    if reader.metadata().node_count as usize > limit {
        return Err(too_many());
    }
    let everything = WithinOptions::default().include_networks_without_data();
    // A leaf for every node and one more is all a true tree has, with or without data.
    for (count, found) in reader.networks(everything).map_err(malformed)?.enumerate() {
        found.map_err(malformed)?;
        if count > limit {
            return Err(too_many());
        }
    }
    Ok(())
}

/// A walk over the networks of a file.
#[derive(Default)]
struct Walk {
    layer: Layer,
    /// Records by their offset in the file: many networks share one, and decoding costs more than finding it here.
    records: HashMap<usize, RecordIndex>,
    network_count: usize,
    faulty_record_count: usize,
}

impl Walk {
    fn note(&mut self, offset: usize, raw: RawRecord) -> RecordIndex {
        let (record, is_faulty) = raw.into_record();
        self.faulty_record_count += usize::from(is_faulty);
        let index = self.layer.intern(&record);
        self.records.insert(offset, index);
        index
    }

    fn add(&mut self, network: IpNet, record: RecordIndex) -> Result<(), layer::OutOfOrder> {
        self.network_count += 1;
        // A file for IPv6 with one record for all of `::/96` or more means IPv4 by it as well: its tree ends before
        // IPv4 would begin.
        if let IpNet::V6(net) = network
            && net.network() == Ipv6Addr::UNSPECIFIED
            && net.prefix_len() <= 96
        {
            self.layer.add(IpNet::V4(Ipv4Net::default()), record)?;
        }
        self.layer.add(network, record)
    }
}
