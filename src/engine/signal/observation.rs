//! What is told to the engine: decisions made, how attempts went, how loaded nodes are, what probes found.
//!
//! Every number here is in range: the constructors refuse what is not finite or beyond its bound, with the bound.

use crate::engine::hash::KeyHash;
use crate::engine::model::{ClassIndex, NodeIndex, SiteIndex};
use crate::engine::policy::SetIndex;

/// Longest time that is believed, in microseconds: ten minutes.
pub const MAX_TIME_US: u64 = 600_000_000;

/// Most bytes of one answer that are believed: a petabyte.
pub const MAX_BYTES: u64 = 1_000_000_000_000_000;

/// Highest utilisation that is believed: nodes may report more than 1 when work queues up.
pub const MAX_UTILISATION: f64 = 10.0;

/// Highest rate that is believed, per second.
pub const MAX_RATE: f64 = 1e9;

/// Names a decision of this process: the low 48 bits of its id, which hold the worker and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionNumber(pub u64);

impl DecisionNumber {
    /// The number within an id; the upper 16 bits name the process.
    pub fn of(id: u64) -> Self {
        Self(id & ((1 << 48) - 1))
    }
}

/// A decision made: what its first node was asked to serve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispatch {
    /// Which decision.
    pub number: DecisionNumber,
    /// The generation of the snapshot it was decided on.
    pub generation: u64,
    /// The key it was ranked by.
    pub key: KeyHash,
    /// The nodes it was ranked among.
    pub set: SetIndex,
    /// The best site.
    pub site: SiteIndex,
    /// The node named first.
    pub node: NodeIndex,
    /// The client's cell, by its position in the geo tables; `None` where no file names it.
    pub cell: Option<u32>,
    /// The content class.
    pub class: ClassIndex,
    /// Whether the node was chosen among the copies of a hot key.
    pub hot: bool,
}

/// How an attempt at a node went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptResult {
    /// Answered; the status says whether the node did its work.
    Ok,
    /// Could not be reached, or failed.
    Error,
    /// Did not answer in time.
    Timeout,
    /// Broke off.
    Reset,
    /// The node said it has too much to do.
    Shed,
}

/// What the node's cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CacheResult {
    /// Not told.
    #[default]
    Unknown,
    /// From the cache.
    Hit,
    /// Fetched.
    Miss,
    /// From the cache, past its time.
    Stale,
    /// From the cache, after asking whether it is current.
    Revalidated,
    /// Not meant for the cache.
    Bypass,
}

impl CacheResult {
    /// Whether the object came from the cache; `None` where the cache had no say.
    pub fn is_hit(self) -> Option<bool> {
        match self {
            Self::Hit | Self::Stale | Self::Revalidated => Some(true),
            Self::Miss => Some(false),
            Self::Unknown | Self::Bypass => None,
        }
    }
}

/// One attempt at one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The decision that named the node, if known.
    pub decision: Option<DecisionNumber>,
    /// Who tells, as a small number given by the shell.
    pub reporter: Reporter,
    /// The node.
    pub node: NodeIndex,
    /// How it went.
    pub result: AttemptResult,
    /// The HTTP status, 0 when there was none.
    pub status: u16,
    /// Time to the first byte in microseconds, 0 when unknown; at most [`MAX_TIME_US`].
    pub first_byte_us: u32,
    /// What the cache did.
    pub cache: CacheResult,
    /// Bytes sent; at most [`MAX_BYTES`].
    pub bytes: u64,
    /// Round trip between client and site in microseconds, 0 when unknown; at most [`MAX_TIME_US`].
    pub client_round_trip_us: u32,
}

/// Who reports, as far as verdicts must be agreed on among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reporter(pub u16);

impl Outcome {
    /// Whether the node did its work: it answered, and not with a failure of its own (5xx but 501, 505, 507 and 511,
    /// which blame the request).
    pub fn succeeded(&self) -> bool {
        let own_failure = matches!(self.status, 500 | 502..=504 | 506 | 508..=510 | 512..=599);
        self.result == AttemptResult::Ok && !own_failure
    }
}

/// What a node says of its load, in ORCA's terms. Absent numbers are not known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LoadReport {
    /// The larger of application and processor utilisation, 0 to [`MAX_UTILISATION`].
    pub utilisation: Option<f32>,
    /// Requests per second, 0 to [`MAX_RATE`].
    pub requests_per_second: Option<f32>,
    /// Failed requests per second.
    pub errors_per_second: Option<f32>,
    /// Hit ratio over all classes, 0 to 1.
    pub hit_ratio: Option<f32>,
    /// Requests being worked on.
    pub in_flight: Option<f32>,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeResult {
    /// The node.
    pub node: NodeIndex,
    /// Whether it answered as it should.
    pub healthy: bool,
    /// How long the answer took, in microseconds.
    pub took_us: u32,
}
