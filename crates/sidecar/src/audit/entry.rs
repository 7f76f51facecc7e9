//! Entries: what is recorded, in the bounds that it is kept in, and how entries are chained.
//!
//! A line is sealed: its last field is the SHA-256 of all bytes of the line before that field. So a line is good or not by its
//! bytes alone, whatever a reader of JSON makes of them.

use crate::clock::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use tradewind_engine::model::Digest;

/// What the first entry ever says of the one before it.
pub const NO_PREVIOUS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Said of somebody who gives no name.
pub const UNKNOWN: &str = "unknown";

/// Said of changes of files: who wrote them, the file system knows.
pub const BY_FILE: &str = "file";

/// Said of what a process does by itself: start, go on with what an earlier one kept, end.
pub const BY_PROCESS: &str = "process";

/// Longest text, in characters; what is longer is cut and ends in `…`.
pub const MAX_TEXT: usize = 512;

/// Most values of a list; the last of more says how many are left out.
pub const MAX_LIST: usize = 16;

/// Most fields of a map.
pub const MAX_FIELDS: usize = 32;

/// How deep maps and lists may lie in each other.
const MAX_DEPTH: usize = 4;

/// Longest line without its seal, in bytes: what would be longer keeps who, why and its kind only.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// What stands around the hash at the end of a line.
const SEAL: (&str, &str) = (",\"hash\":\"", "\"}");

/// Digits of a hash.
const HASH_DIGITS: usize = 64;

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The policy.
    Policy,
    /// The topology.
    Topology,
    /// What operators set.
    AdminState,
    /// Where clients are.
    Geo,
    /// What a breaker holds against its node.
    BreakerReset,
    /// What is written to the process's log.
    LogFilter,
    /// What callers are known by.
    Credentials,
    /// A rollout.
    Rollout,
    /// What caches hold and must not serve.
    Purge,
    /// The process, at its start.
    Start,
    /// The process, at its end.
    Stop,
    /// The audit log itself.
    Log,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Policy,
        Self::Topology,
        Self::AdminState,
        Self::Geo,
        Self::BreakerReset,
        Self::LogFilter,
        Self::Credentials,
        Self::Rollout,
        Self::Purge,
        Self::Start,
        Self::Stop,
        Self::Log,
    ];

    /// The word for it in entries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Topology => "topology",
            Self::AdminState => "admin_state",
            Self::Geo => "geo",
            Self::BreakerReset => "breaker_reset",
            Self::Purge => "purge",
            Self::LogFilter => "log_filter",
            Self::Credentials => "credentials",
            Self::Rollout => "rollout",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Log => "log",
        }
    }
}

/// Something to be recorded. Its texts and lists are cut to their bounds when it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    kind: Kind,
    event: &'static str,
    who: String,
    why: String,
    what: Map<String, Value>,
    did: Map<String, Value>,
}

impl Record {
    /// Something that happened, in a word: `applied`, `refused`, `held`.
    pub fn new(kind: Kind, event: &'static str) -> Self {
        Self {
            kind,
            event,
            who: String::new(),
            why: String::new(),
            what: Map::new(),
            did: Map::new(),
        }
    }

    /// Who wanted it, and why; an empty name is recorded as `unknown`.
    #[must_use]
    pub fn by(mut self, who: &str, why: &str) -> Self {
        who.clone_into(&mut self.who);
        why.clone_into(&mut self.why);
        self
    }

    /// What it is about: digests, revisions, targets. What is not known (null) is left out.
    #[must_use]
    pub fn what(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.what, name, value.into());
        self
    }

    /// What it did, as far as that is known: keys moved, nodes changed, verdicts. What is not known (null) is left out.
    #[must_use]
    pub fn did(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.did, name, value.into());
        self
    }
}

fn set(fields: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        fields.insert(name.to_owned(), value);
    }
}

/// An entry of the log. A reader takes kinds and fields that it does not know, as a later version may write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts entries, from 1, over restarts and files.
    pub sequence: u64,
    /// When, as RFC 3339 has it, in UTC.
    pub time: String,
    /// The same in ms since 1970.
    pub unix_ms: u64,
    /// A name of [`Kind`].
    pub kind: String,
    /// What happened, in a word.
    pub event: String,
    /// Who wanted it, as given: nothing proves it. `file` for changes of files, `unknown` where nobody said.
    pub who: String,
    /// Why; empty where nobody said.
    pub why: String,
    /// What it is about.
    #[serde(default)]
    pub what: Map<String, Value>,
    /// What it did.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub did: Map<String, Value>,
    /// Entries right before this one that could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// The hash of the entry before, or [`NO_PREVIOUS`].
    pub previous: String,
    /// The hash of this one: of the line's bytes before this field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where an entry stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

impl Link {
    /// What stands before the first entry.
    pub fn none() -> Self {
        Self {
            sequence: 0,
            hash: NO_PREVIOUS.to_owned(),
        }
    }
}

/// The line of a record, with its end of line, behind `before`; and the link that it is.
pub fn seal(record: Record, (unix_ms, lost): (u64, u64), before: &Link) -> (String, Link) {
    let who = if record.who.is_empty() {
        UNKNOWN
    } else {
        &record.who
    };
    let mut entry = Entry {
        sequence: before.sequence + 1,
        time: rfc3339(unix_ms),
        unix_ms,
        kind: record.kind.name().to_owned(),
        event: record.event.to_owned(),
        who: cut(who),
        why: cut(&record.why),
        what: bounded_map(record.what, MAX_DEPTH),
        did: bounded_map(record.did, MAX_DEPTH),
        lost,
        previous: before.hash.clone(),
        hash: String::new(),
    };
    let mut line = to_json(&entry);
    if line.len() > MAX_LINE_BYTES {
        entry.what = Map::from_iter([("left_out_bytes".to_owned(), line.len().into())]);
        entry.did = Map::new();
        line = to_json(&entry);
    }
    // The object's end; the seal has one of its own.
    line.pop();
    let hash = Digest::of(line.as_bytes()).to_string();
    let (open, close) = SEAL;
    let sequence = entry.sequence;
    let line = format!("{line}{open}{hash}{close}\n");
    (line, Link { sequence, hash })
}

fn to_json(entry: &Entry) -> String {
    // Maps with texts for names and numbers that are finite: there is nothing that cannot be written.
    serde_json::to_string(entry).unwrap_or_default()
}

/// A line as it is found.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// As it was written.
    Sound(Box<Entry>),
    /// Not as it was written: what it says of itself, as far as it says something.
    Broken {
        /// The number that it has for itself.
        sequence: Option<u64>,
        /// The hash that it has for itself.
        hash: Option<String>,
    },
}

/// Reads a line, given without its end.
pub fn open(line: &[u8]) -> Line {
    let (open, close) = SEAL;
    let sealed = line.strip_suffix(close.as_bytes());
    let parts = sealed.and_then(|rest| {
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_DIGITS)?)?;
        let hash = std::str::from_utf8(hash).ok()?;
        Some((rest.strip_suffix(open.as_bytes())?, hash))
    });
    let Some((body, hash)) = parts else {
        return Line::Broken {
            sequence: stated_sequence(line),
            hash: None,
        };
    };
    let entry = (Digest::of(body).to_string() == hash).then(|| serde_json::from_slice(line).ok());
    entry.flatten().map_or_else(
        || Line::Broken {
            sequence: stated_sequence(line),
            hash: Some(hash.to_owned()),
        },
        Line::Sound,
    )
}

/// The number that a broken line has for itself.
fn stated_sequence(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"sequence\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// A text within its bound.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

fn bounded_map(fields: Map<String, Value>, depth: usize) -> Map<String, Value> {
    let fields = fields.into_iter().take(MAX_FIELDS);
    let bounded = fields.map(|(name, value)| (cut(&name), bounded(value, depth)));
    bounded.collect()
}

/// A value within its bounds.
fn bounded(value: Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(cut(&text)),
        Value::Array(_) | Value::Object(_) if depth == 0 => Value::String("…".to_owned()),
        Value::Array(values) => {
            let more = values.len().saturating_sub(MAX_LIST);
            let mut kept: Vec<Value> = values
                .into_iter()
                .take(MAX_LIST)
                .map(|value| bounded(value, depth - 1))
                .collect();
            if more > 0 {
                kept.push(format!("{more} more").into());
            }
            Value::Array(kept)
        }
        Value::Object(fields) => Value::Object(bounded_map(fields, depth - 1)),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new(Kind::Policy, "applied")
            .by("ada", "a \"better\" day")
            .what("revision", 7)
            .what("nothing", Value::Null)
            .did("moved_ratio", 0.25)
    }

    #[test]
    fn a_line_says_all_of_it_and_opens_again() {
        let (line, sealed) = seal(record(), (1_798_761_599_123, 2), &Link::none());
        let Line::Sound(entry) = open(line.trim_end().as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(entry.time, "2026-12-31T23:59:59.123Z");
        assert_eq!((entry.sequence, entry.lost), (1, 2));
        assert_eq!((&*entry.who, &*entry.kind), ("ada", "policy"));
        assert_eq!(entry.what, Map::from_iter([("revision".into(), 7.into())]));
        assert_eq!(entry.previous, NO_PREVIOUS);
        assert_eq!(
            sealed,
            Link {
                sequence: 1,
                hash: entry.hash
            }
        );
    }

    #[test]
    fn who_gives_no_name_is_unknown() {
        let (line, _) = seal(Record::new(Kind::Geo, "applied"), (0, 0), &Link::none());
        assert!(line.contains("\"who\":\"unknown\",\"why\":\"\""), "{line}");
        assert!(line.starts_with(r#"{"sequence":1,"time":"1970-01-01T00:00:00Z""#));
    }

    #[test]
    fn whatever_is_recorded_a_line_stays_within_its_bound() {
        let long = "x\n".repeat(5_000);
        let list: Vec<&str> = vec![&long; 100];
        let map = |value: Value| Value::Object(Map::from_iter([("inner".to_owned(), value)]));
        let deep = (0..10).fold(Value::from(1), |value, _| map(value));
        let mut large = record().by(&long, &long).what("deep", deep);
        for field in 0..100 {
            large = large.what(&format!("field {field}"), list.clone());
        }
        let (line, _) = seal(large, (1, 0), &Link::none());
        assert!(line.len() < MAX_LINE_BYTES, "{}", line.len());
        let Line::Sound(entry) = open(line.trim_end().as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(entry.who.chars().count(), MAX_TEXT + 1);
        assert!(entry.what.contains_key("left_out_bytes"));
        let (line, _) = seal(record().what("list", list), (1, 0), &Link::none());
        assert!(line.contains("84 more"));
    }

    #[test]
    fn every_byte_of_a_line_counts() {
        let (line, _) = seal(record(), (1, 0), &Link::none());
        let line = line.trim_end().as_bytes();
        for at in 0..line.len() {
            for with in [0_u8, b'0', b'1', b' ', b'"', b'}', 0xff] {
                let mut changed = line.to_vec();
                if changed[at] == with {
                    continue;
                }
                changed[at] = with;
                assert!(matches!(open(&changed), Line::Broken { .. }), "byte {at}");
            }
            assert!(matches!(open(&line[..at]), Line::Broken { .. }));
        }
    }

    #[test]
    fn all_kinds_have_a_name_of_their_own() {
        let names: std::collections::BTreeSet<&str> =
            Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
