//! The `MaxMind` DB format, version 2, after its specification (<https://maxmind.github.io/MaxMind-DB/>).
//!
//! A reader of our own, because a sidecar must take every sound file and survive every other. The `maxminddb` crate
//! refuses files without a `description`, which the format calls optional and many published files leave empty; and its
//! thorough check, meant for publishers, cannot be had without that. Here one pass checks all that can be reached and
//! decodes it, within a number of steps in proportion to the file. Tests compare it with the crate.
//!
//! A file is a search tree, 16 zero bytes, a section of values that its leaves point into, a mark, and the metadata.

mod check;
mod decode;
pub mod flaw;
pub mod kind;
mod tree;
mod value;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use ipnet::IpNet;
use serde::Deserialize;

use check::Checker;
use decode::Decoder;
use flaw::{Flaw, place};
use tree::{IpVersion, RecordSize, Tree};
use value::{Section, Work};

/// What stands before the metadata.
const MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Most bytes that mark and metadata take, by the specification.
const MAX_METADATA_BYTES: usize = 128 << 10;

/// Zero bytes between tree and data.
const SEPARATOR_BYTES: usize = 16;

/// Steps that decoding records may take for each byte of the file. Published files take one or two: a record some 60,
/// for 20 to 80 bytes and its share of the tree.
const DECODING_STEPS_A_BYTE: usize = 8;

/// A file whose metadata and layout are sound; the tree and the data are checked on the way through them.
#[derive(Debug)]
pub(super) struct Database<'a> {
    tree: Tree<'a>,
    data: Section<'a>,
    /// Bytes of the whole file.
    length: usize,
    /// Type as the file states it; empty if it does not.
    pub(super) type_name: String,
    /// When the file says it was built, in seconds since 1970; 0 if it does not.
    pub(super) build_epoch_s: u64,
}

/// The metadata that matter. What only describes the file may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    binary_format_major_version: Option<u64>,
    node_count: Option<u64>,
    record_size: Option<u64>,
    ip_version: Option<u64>,
    database_type: Option<String>,
    build_epoch: Option<u64>,
}

impl<'a> Database<'a> {
    /// Reads the metadata and finds the parts of a file.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (before, metadata) = find_metadata(bytes)?;
        let metadata = read_metadata(metadata)?;
        let field = |field, value: Option<u64>| value.ok_or(Flaw::FieldMissing { field });
        let major = field(
            "binary_format_major_version",
            metadata.binary_format_major_version,
        )?;
        if major != 2 {
            return Err(wrong("binary_format_major_version", major, "2"));
        }
        let record_bits = field("record_size", metadata.record_size)?;
        let record_size = RecordSize::of(record_bits)
            .ok_or_else(|| wrong("record_size", record_bits, "24, 28 or 32"))?;
        let version = field("ip_version", metadata.ip_version)?;
        let ip_version = match version {
            4 => IpVersion::V4,
            6 => IpVersion::V6,
            _ => return Err(wrong("ip_version", version, "4 or 6")),
        };
        let nodes = field("node_count", metadata.node_count)?;
        let node_count = u32::try_from(nodes)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| wrong("node_count", nodes, "1 to 4294967295"))?;
        let (tree, data) = split_tree(before, node_count, record_size)?;
        Ok(Self {
            data: Section {
                bytes: data,
                base: tree.len() + SEPARATOR_BYTES,
            },
            tree: Tree {
                bytes: tree,
                node_count,
                record_size,
                ip_version,
                data_length: data.len(),
            },
            length: bytes.len(),
            type_name: metadata.database_type.unwrap_or_default(),
            build_epoch_s: metadata.build_epoch.unwrap_or_default(),
        })
    }

    /// Nodes of the tree.
    pub(super) fn node_count(&self) -> u32 {
        self.tree.node_count
    }

    /// Shows a visitor every network with a record, in ascending order. A record that several networks share is checked,
    /// decoded and noted once.
    pub(super) fn visit<'de, V: Visit<'de>>(&'de self, visitor: &mut V) -> Result<(), V::Stop> {
        let mut checker = Checker::new(self.data);
        let mut work = Work::new(self.length.saturating_mul(DECODING_STEPS_A_BYTE));
        // Seeded by chance: a file must not choose offsets that collide.
        let mut noted: HashMap<usize, V::Noted, RandomState> = HashMap::default();
        self.tree.walk(|network, offset| {
            if let Some(known) = noted.get(&offset) {
                return visitor.network(network, *known);
            }
            checker.check(offset)?;
            let mut decoder = Decoder {
                section: self.data,
                at: offset,
                work: &mut work,
            };
            let known = visitor.record(V::Record::deserialize(&mut decoder)?);
            noted.insert(offset, known);
            visitor.network(network, known)
        })
    }
}

/// Who is shown what is in a file.
pub(super) trait Visit<'de> {
    /// What a record is decoded as.
    type Record: Deserialize<'de>;
    /// What stands for a record from then on.
    type Noted: Copy;
    /// Why the visit ends early.
    type Stop: From<Flaw>;

    /// A record that was not shown before.
    fn record(&mut self, record: Self::Record) -> Self::Noted;

    /// A network, and the record it has.
    fn network(&mut self, network: IpNet, record: Self::Noted) -> Result<(), Self::Stop>;
}

/// Bytes, and what follows them.
type Parts<'a, T> = (&'a [u8], T);

fn wrong(field: &'static str, value: u64, allowed: &'static str) -> Flaw {
    Flaw::FieldWrong {
        field,
        value,
        allowed,
    }
}

/// What lies before the last mark, and the metadata behind it.
fn find_metadata(bytes: &[u8]) -> Result<Parts<'_, Section<'_>>, Flaw> {
    let from = bytes.len().saturating_sub(MAX_METADATA_BYTES);
    let end = bytes.get(from..).unwrap_or_default();
    let found = end
        .windows(MARK.len())
        .rposition(|window| window == MARK)
        .and_then(|at| bytes.split_at_checked(from + at));
    let (before, marked) = found.ok_or(Flaw::NoMetadata { within: end.len() })?;
    let section = Section {
        bytes: marked.get(MARK.len()..).unwrap_or_default(),
        base: before.len() + MARK.len(),
    };
    Ok((before, section))
}

fn read_metadata(section: Section<'_>) -> Result<Metadata, Flaw> {
    Checker::new(section).check(0)?;
    let mut work = Work::new(section.bytes.len().saturating_mul(DECODING_STEPS_A_BYTE));
    let mut decoder = Decoder {
        section,
        at: 0,
        work: &mut work,
    };
    Metadata::deserialize(&mut decoder).map_err(|flaw| match flaw {
        Flaw::Told(message) => Flaw::Told(format!("its metadata cannot be used: {message}")),
        other => other,
    })
}

/// The tree and the data of what lies before the metadata.
fn split_tree(before: &[u8], node_count: u32, size: RecordSize) -> Result<Parts<'_, &[u8]>, Flaw> {
    let too_long = || Flaw::TreeTooLong {
        node_count: node_count.into(),
        needed: u64::from(node_count) * place(size.node_bytes()) + place(SEPARATOR_BYTES),
        there: place(before.len()),
    };
    let length = (node_count as usize)
        .checked_mul(size.node_bytes())
        .ok_or_else(too_long)?;
    let (tree, rest) = before.split_at_checked(length).ok_or_else(too_long)?;
    let (separator, data) = rest
        .split_at_checked(SEPARATOR_BYTES)
        .ok_or_else(too_long)?;
    if separator.iter().any(|byte| *byte != 0) {
        return Err(Flaw::Separator {
            offset: place(length),
        });
    }
    Ok((tree, data))
}
