//! What is told to the engine: decisions made, how attempts went, how loaded nodes are, what probes found.
//!
//! Every number here is in range: the constructors refuse what is not finite or beyond its bound, with the bound.

use crate::geo::group::Group;
use crate::hash::KeyHash;
use crate::model::{LaneIndex, NodeIndex, SiteIndex};
use crate::policy::{ClassNumber, Priority, SetNumber};
use crate::query::MAX_CANDIDATES;

/// Longest time that is believed, in microseconds: ten minutes.
pub const MAX_TIME_US: u64 = 600_000_000;

/// Most bytes of one answer that are believed: a petabyte.
pub const MAX_BYTES: u64 = 1_000_000_000_000_000;

/// Highest utilisation that is believed: nodes may report more than 1 when work queues up.
pub const MAX_UTILISATION: f64 = 10.0;

/// Highest rate that is believed, per second.
pub const MAX_RATE: f64 = 1e9;

/// Names a decision of this process: the low 48 bits of its id. They hold who numbered it (8 bits for a worker) and a
/// count. Who decides from a copy of the snapshot counts apart: then the count's highest bit is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionNumber(pub u64);

impl DecisionNumber {
    /// Bits of the count.
    pub const COUNT_BITS: u32 = 40;

    /// Set in the numbers of decisions that were made from a copy.
    pub const COPY: u64 = 1 << (Self::COUNT_BITS - 1);

    /// The number within an id; the upper 16 bits name the process.
    pub fn of(id: u64) -> Self {
        Self(id & ((1 << 48) - 1))
    }

    /// Whether it was decided from a copy of the snapshot, which this process was not told of.
    pub fn is_of_copy(self) -> bool {
        self.0 & Self::COPY != 0
    }
}

/// Stands for a node that is gone: no fleet has so many that it could be a position.
const GONE: u16 = u16::MAX;

/// The nodes that a decision named, in order: only of these is its outcome told. Positions of nodes fit in 16 bits, and
/// there are many of these in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    nodes: [u16; MAX_CANDIDATES],
    count: u8,
}

impl Named {
    /// The nodes at these positions; those past the bound of a list, or beyond 16 bits, are left out.
    pub fn new(nodes: impl IntoIterator<Item = NodeIndex>) -> Self {
        let mut named = Self::default();
        let nodes = nodes
            .into_iter()
            .filter_map(|node| u16::try_from(node.0).ok());
        for (place, node) in named.nodes.iter_mut().zip(nodes) {
            *place = node;
            named.count += 1;
        }
        named
    }

    /// The same list with other positions; a node that has none keeps its place in it and is found no more.
    #[must_use]
    pub fn renamed(mut self, to: impl Fn(NodeIndex) -> Option<NodeIndex>) -> Self {
        for place in self.nodes.iter_mut().take(usize::from(self.count)) {
            let now = to(NodeIndex(u32::from(*place)));
            *place = now
                .and_then(|node| u16::try_from(node.0).ok())
                .unwrap_or(GONE);
        }
        self
    }

    /// Where a node stands in the list, from 0.
    pub fn place(&self, node: NodeIndex) -> Option<u8> {
        let mut nodes = (0..self.count).zip(&self.nodes);
        let found = nodes.find(|(_, named)| u32::from(**named) == node.0);
        found.map(|(place, _)| place)
    }

    /// The nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        let named = self.nodes.iter().take(usize::from(self.count));
        named.map(|node| NodeIndex(u32::from(*node)))
    }
}

/// A decision made: what its first node was asked to serve.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they have nothing to do with each other"
)]
pub struct Dispatch {
    /// Which decision.
    pub number: DecisionNumber,
    /// The generation of the snapshot it was decided on.
    pub generation: u64,
    /// The lane that decided it.
    pub lane: LaneIndex,
    /// The key it was ranked by.
    pub key: KeyHash,
    /// The nodes it was ranked among.
    pub set: SetNumber,
    /// The best site.
    pub site: SiteIndex,
    /// The node named first.
    pub node: NodeIndex,
    /// Whom the client shares its way to sites with; `None` where its place is not known well enough.
    pub group: Option<Group>,
    /// The content class.
    pub class: ClassNumber,
    /// Who is served when there is not room for all.
    pub priority: Priority,
    /// Whether the node was chosen among the copies of a hot key.
    pub hot: bool,
    /// All nodes that were named.
    pub named: Named,
    /// Whether the answer may be used for several requests, so that several outcomes are told of it.
    pub is_reusable: bool,
    /// Whether it went to a site on trial.
    pub is_trial: bool,
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

impl AttemptResult {
    /// Every value, in order.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Error,
        Self::Timeout,
        Self::Reset,
        Self::Shed,
    ];

    /// The word used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Shed => "shed",
        }
    }
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
    /// Fetched, because what the cache had is not current any more.
    Changed,
}

impl CacheResult {
    /// Whether the object came from the cache; `None` where the cache had no say.
    pub fn is_hit(self) -> Option<bool> {
        match self {
            Self::Hit | Self::Stale | Self::Revalidated => Some(true),
            Self::Miss | Self::Changed => Some(false),
            Self::Unknown | Self::Bypass => None,
        }
    }

    /// Whether the cache had to fetch the object.
    pub fn is_fetch(self) -> bool {
        matches!(self, Self::Miss | Self::Changed)
    }
}

/// One attempt at one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The decision that named the node, if its id is a receipt of this process.
    pub decision: Option<DecisionNumber>,
    /// Which attempt of its request it was, from 1; 0 when unknown.
    pub attempt: u8,
    /// Who tells, as a small number that the shell gave to the peer's identity.
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
    /// The key that nodes were ranked by, as its teller has it; looked at only where the decision is one that this process did not
    /// make.
    pub key: Option<KeyHash>,
}

/// Who reports, as far as verdicts must be agreed on among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reporter(pub u16);

impl Reporter {
    /// This sidecar's own probes.
    pub const PROBES: Self = Self(u16::MAX);
}

/// How somebody stands to a node of whose load or times they tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It is the node itself.
    Own,
    /// A proxy that counts what it sends to the node, or somebody whom the operator trusts.
    Proxy,
    /// Anybody else.
    Other,
}

impl Outcome {
    /// What it says of the node. A status outranks the word `error`, which proxies use for every 5xx; what broke off or
    /// came too late failed whatever its status said.
    pub fn finding(&self) -> Finding {
        // Of the 5xx, 501, 505, 507 and 511 blame the request.
        let own_failure = matches!(self.status, 500 | 502..=504 | 506 | 508..=510 | 512..=599);
        match self.result {
            AttemptResult::Shed => Finding::Busy,
            AttemptResult::Ok | AttemptResult::Error if self.status == 429 => Finding::Busy,
            AttemptResult::Ok if !own_failure => Finding::Good,
            AttemptResult::Error if self.status == 0 => Finding::Unreached,
            AttemptResult::Error if self.status >= 400 && !own_failure => Finding::Good,
            AttemptResult::Ok | AttemptResult::Error | AttemptResult::Reset => Finding::Failed,
            AttemptResult::Timeout => Finding::Late,
        }
    }

    /// Whether it shows that the way to the node is open: the node said something. A 5xx by itself may be the proxy's own
    /// word for a node it could not reach, so it takes a first byte or a word of the node's cache beside it.
    pub fn was_heard(&self) -> bool {
        let said = self.first_byte_us > 0 || self.cache != CacheResult::Unknown;
        match self.finding() {
            Finding::Good | Finding::Busy => true,
            Finding::Failed => self.status > 0 && said,
            Finding::Unreached | Finding::Late => false,
        }
    }

    /// Whether the node had to fetch the object and that took long: see [`SLOW_FETCH_US`].
    pub fn is_slow_fetch(&self) -> bool {
        self.cache.is_fetch() && self.first_byte_us >= SLOW_FETCH_US
    }
}

/// From here on a fetch is slow, in microseconds: half of the default `attempt_timeout`, so that an object that may run into
/// the timeout is known before it does, and three times what a fetch from another continent takes.
pub const SLOW_FETCH_US: u32 = 500_000;

/// What an outcome says of the node, whoever is to blame for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It did its work.
    Good,
    /// It had too much to do, or the client had asked too much: `shed`, or 429.
    Busy,
    /// It could not be reached: no answer, and not for want of time.
    Unreached,
    /// It answered with a failure of its own, or its answer broke off.
    Failed,
    /// It did not answer in time.
    Late,
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
