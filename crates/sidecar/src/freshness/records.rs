//! What is known of purges, for people and for those who follow them.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use crate::clock::rfc3339;
use crate::wire::proto::Purged;
use crate::wire::purge::{self, AS_WRITTEN, version_text};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::freshness::selector::Selector;
use tradewind_engine::hash::KeyHash;

/// The purges that are held in memory, in bytes of their messages: of URLs some two hundred thousand.
const MAX_BYTES: usize = 16 << 20;

/// Most purges that are held, however short.
const MAX_RECORDS: usize = 65_536;

/// Most nodes that say what they have done.
pub const MAX_NODES: usize = 16_384;

/// What sequences count from: 2025 began then, in ms of Unix time.
pub const EPOCH_UNIX_MS: u64 = 1_735_689_600_000;

/// How old a purge is at a time of the clock on the wall, in ms. A time before there were purges is that of a clock that was not
/// set yet: then nothing is known of its age.
pub fn age_ms(purged: &Purged, unix_ms: u64) -> u64 {
    match purged.submitted_unix_ms {
        0..EPOCH_UNIX_MS => 0,
        made => unix_ms.saturating_sub(made),
    }
}

/// A purge that is in force.
#[derive(Debug, Clone)]
pub struct Record {
    /// As it is told.
    pub purged: Purged,
    /// From the call until decisions saw it; `None` of purges of an earlier run.
    pub in_force_after: Option<Duration>,
}

/// `at 2026-11-28T05:00:00Z by alice (INC-7)`.
fn told(purged: &Purged) -> String {
    let at = rfc3339(purged.submitted_unix_ms);
    let by = if purged.who.is_empty() {
        String::new()
    } else {
        format!(" by {}", purged.who)
    };
    let why = if purged.why.is_empty() {
        String::new()
    } else {
        format!(" ({})", purged.why)
    };
    format!("at {at}{by}{why}")
}

/// Too many nodes say what they have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_NODES} nodes say already what they have done")]
pub struct TooManyNodes;

/// Why an object is as fresh as it is.
#[derive(Debug)]
pub struct Cause {
    /// The purge.
    pub record: Arc<Record>,
    /// What of it covers the object; `None` where only something wider does that it was made into.
    pub covers: Option<Selector>,
}

impl Cause {
    fn new(record: &Arc<Record>, covering: &[KeyHash]) -> Self {
        let purged = &record.purged;
        let selectors = purged.selectors.iter();
        let mut selectors =
            selectors.filter_map(|selector| purge::selector(selector, AS_WRITTEN)?.ok());
        Self {
            record: Arc::clone(record),
            covers: selectors.find(|it| covering.contains(&it.hash(&purged.namespace))),
        }
    }
}

/// What is known of purges.
#[derive(Debug, Default)]
pub struct Records {
    /// The last ones in their order.
    last: VecDeque<Arc<Record>>,
    bytes: usize,
    /// The first purge that the log still has; 0 where it has none.
    pub oldest: u64,
    /// Where the log is; `None` where nothing is kept.
    pub log: Option<PathBuf>,
    /// The last purge that could not be written to it.
    unkept: u64,
    /// The last purge in force that is neither held nor in the log any more.
    lost: u64,
    /// The last purge that came into force behind one with a larger sequence: nobody is told of it in its order.
    passed_by: u64,
    /// Most entries of the ledger.
    pub max_entries: usize,
    /// Purges that come into force slice by slice: the sequence of each, and the share that is in force.
    pub paced: Vec<(u64, f64)>,
    /// What nodes have done.
    nodes: BTreeMap<String, u64>,
}

impl Records {
    /// Adds one, which is in the log or not: to those that are held, if it is newer than all of them.
    pub fn add(&mut self, record: Record, is_kept: bool) {
        let sequence = record.purged.sequence;
        if !is_kept {
            self.unkept = self.unkept.max(sequence);
        }
        if self.is_newer(sequence) {
            self.push(record);
        } else if self.find(sequence).is_none() {
            self.passed_by = self.passed_by.max(sequence);
        }
    }

    /// Adds the newest.
    fn push(&mut self, record: Record) {
        self.bytes += record.purged.encoded_len();
        if self.oldest == 0 {
            self.oldest = record.purged.sequence;
        }
        self.last.push_back(Arc::new(record));
        while self.last.len() > MAX_RECORDS || self.bytes > MAX_BYTES {
            let Some(gone) = self.last.pop_front() else {
                return;
            };
            self.bytes -= gone.purged.encoded_len();
            if self.log.is_none() || gone.purged.sequence <= self.unkept {
                self.lost = self.lost.max(gone.purged.sequence);
            }
        }
        if self.log.is_none() {
            self.oldest = self.first_held();
        }
    }

    /// Whether a sequence is behind all that are held.
    fn is_newer(&self, sequence: u64) -> bool {
        self.last
            .back()
            .is_none_or(|it| it.purged.sequence < sequence)
    }

    /// The first purge that is held in memory; 0 where there is none.
    pub fn first_held(&self) -> u64 {
        self.last.front().map_or(0, |it| it.purged.sequence)
    }

    /// The version that everything must be taken to have by somebody who was told of all purges up to `told`, because nobody can be
    /// told of the purge that it is of; 0 for none.
    pub fn untold_after(&self, told: u64) -> u64 {
        let lost = if self.lost > told { self.lost } else { 0 };
        lost.max(self.passed_by)
    }

    /// The purge of this sequence, if it is held.
    pub fn find(&self, sequence: u64) -> Option<&Arc<Record>> {
        let at = self
            .last
            .binary_search_by_key(&sequence, |it| it.purged.sequence);
        self.last.get(at.ok()?)
    }

    /// The purges after a sequence that are held, at most `most`.
    pub fn after(&self, sequence: u64, most: usize) -> Vec<Arc<Record>> {
        let from = self
            .last
            .partition_point(|it| it.purged.sequence <= sequence);
        self.last.range(from..).take(most).cloned().collect()
    }

    /// The purge that an object's version is of, and what of it covers the object; `None` where it is not held any more.
    /// `covering` are the hashes of what covers the object.
    pub fn versioned(&self, fresh: Fresh, covering: &[KeyHash]) -> Option<Cause> {
        let record = self.find(fresh.version)?;
        Some(Cause::new(record, covering))
    }

    /// The newest soft purge that asks for what `fresh` has; `None` where it is not held any more.
    pub fn softened(&self, fresh: Fresh, covering: &[KeyHash]) -> Option<Cause> {
        let asks = |it: &&Arc<Record>| {
            it.purged.not_older_than_unix_ms.div_ceil(1_000) == fresh.not_older_than_s
        };
        let is_soft = fresh.not_older_than_s > 0;
        let record = self.newest().filter(|_| is_soft).find(asks)?;
        Some(Cause::new(record, covering))
    }

    /// Why an object is as fresh as it is, in words. `covering` are the hashes of what covers it.
    pub fn sentences(&self, fresh: Fresh, covering: &[KeyHash]) -> Vec<String> {
        let mut sentences = Vec::new();
        if fresh.version > 0 {
            let version = version_text(fresh.version);
            let words = self.versioned(fresh, covering).map(|cause| {
                let told = told(&cause.record.purged);
                match cause.covers {
                    Some(selector) => format!("{selector} was purged {told}"),
                    None => format!(
                        "more than was asked for was purged {told}, because too many objects were"
                    ),
                }
            });
            sentences.push(words.map_or_else(
                || format!("version {version}, by a purge that is not held in memory any more"),
                |words| format!("version {version}: {words}"),
            ));
        }
        if fresh.not_older_than_s > 0 {
            let since = rfc3339(fresh.not_older_than_s * 1_000);
            let soft = self.softened(fresh, covering);
            let by = soft.map_or_else(String::new, |it| {
                format!(": purged softly {}", told(&it.record.purged))
            });
            sentences.push(format!(
                "what was stored before {since} is revalidated first{by}"
            ));
        }
        sentences
    }

    /// The newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.last.iter().rev()
    }

    /// For what share of what it covers a purge is in force, 0 to 1.
    pub fn in_force_ratio(&self, sequence: u64) -> f64 {
        let paced = self.paced.iter().find(|(paced, _)| *paced == sequence);
        paced.map_or(1.0, |(_, ratio)| *ratio)
    }

    /// Up to which purge a node says that it has done all.
    pub fn acknowledged(&self, node: &str) -> Option<u64> {
        self.nodes.get(node).copied()
    }

    /// What nodes have done, those behind first.
    pub fn nodes(&self) -> Vec<(&str, u64)> {
        let nodes = self.nodes.iter();
        let mut nodes: Vec<_> = nodes.map(|(node, at)| (node.as_str(), *at)).collect();
        nodes.sort_by_key(|(_, sequence)| *sequence);
        nodes
    }

    pub(super) fn acknowledge(&mut self, node: &str, sequence: u64) -> Result<(), TooManyNodes> {
        if let Some(done) = self.nodes.get_mut(node) {
            *done = sequence.max(*done);
            return Ok(());
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(TooManyNodes);
        }
        self.nodes.insert(node.to_owned(), sequence);
        Ok(())
    }
}
