//! What is known of the fleet's behaviour: observations come in, [`Signals`] are what a snapshot holds of them.
//!
//! Everything here is either an accumulator that the writer owns (windows, counts, the sketch) or a plain number that
//! decisions read. What ties them together is [`control`](super::control).

pub mod hot;
pub mod latency;
pub mod network;
pub mod observation;
pub mod ratio;
pub mod sketch;

use hot::HotTable;
use network::NetworkTable;

use super::model::{ClassIndex, NodeIndex, SiteIndex};
use super::policy::SetIndex;
use super::score::Terms;

/// All that decisions know of the fleet's behaviour. The default knows nothing: every term stands at its prior, every
/// node is admitted with the weight of its capacity.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// By [`NodeIndex`]; nodes past the end are as by default.
    pub nodes: Vec<NodeSignals>,
    /// By [`SiteIndex`]; sites past the end are as by default.
    pub sites: Vec<SiteSignals>,
    /// Terms by class, then site; see [`Signals::standing`].
    pub standing: Vec<Standing>,
    /// By [`SetIndex`]: how far the set's nodes are readmitted.
    pub readmission: Vec<Readmission>,
    /// Round trips measured.
    pub network: NetworkTable,
    /// Keys that several nodes carry.
    pub hot: HotTable,
    /// Whether this sidecar seems cut off: verdicts are frozen.
    pub isolated: bool,
    /// Changes whenever a node's admission or weight does: tables are made anew then.
    pub weights_version: u64,
    /// Changes whenever a term does.
    pub terms_version: u64,
}

/// What decisions know of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeSignals {
    /// Whether it may be named.
    pub admission: Admission,
    /// Its condition times its ramp, above 0 and at most 1.
    pub weight_factor: f32,
    /// How much of the hot keys' traffic it can take, relative to others.
    pub headroom: f32,
    /// Of its keys, so many 256ths go to the next in their order.
    pub spill: u8,
    /// Whether it has more requests in flight than most.
    pub is_hot: bool,
    /// Requests in flight.
    pub in_flight: f32,
    /// Its median service time in ms.
    pub latency_ms: f32,
}

impl Default for NodeSignals {
    fn default() -> Self {
        Self {
            admission: Admission::Admitted,
            weight_factor: 1.0,
            headroom: 1.0,
            spill: 0,
            is_hot: false,
            in_flight: 0.0,
            latency_ms: 0.0,
        }
    }
}

/// Whether a node may be named, beyond what operators said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Admission {
    /// For all of its keys.
    #[default]
    Admitted,
    /// For a slice of its keys, to see whether it has recovered.
    Probing {
        /// Of its own keys, so many 65,536ths.
        slice: u16,
    },
    /// Its load stays too high even with its keys spilling.
    Overloaded,
    /// Probes say it is not well, but their word is old.
    Unknown,
    /// Probes say it is not well.
    Unhealthy,
    /// Its breaker is open.
    BreakerOpen,
}

impl Admission {
    /// The word used in output and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Probing { .. } => "probing",
            Self::Overloaded => "overloaded",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
            Self::BreakerOpen => "breaker_open",
        }
    }
}

/// How far the nodes of a set are readmitted, because too little of its weight is well. Each step includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Readmission {
    /// Not at all.
    #[default]
    None,
    /// Nodes whose bad verdicts are old.
    Unknown,
    /// Nodes with too much load.
    Overloaded,
    /// A share of what open breakers hold back.
    HalfOpen,
    /// Even so too little is left: another tier, or all nodes of it.
    Insufficient,
}

impl Readmission {
    /// Every value, in order.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Unknown,
        Self::Overloaded,
        Self::HalfOpen,
        Self::Insufficient,
    ];

    /// The word used in output and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
            Self::Overloaded => "overloaded",
            Self::HalfOpen => "half_open",
            Self::Insufficient => "insufficient",
        }
    }
}

/// What decisions know of a site beyond its terms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SiteSignals {
    /// Of the groups of clients for which it is best, so many 256ths use the next.
    pub spill: u8,
    /// The mean utilisation of its nodes; 0 when not known.
    pub utilisation: f32,
}

/// The terms of a site that do not depend on the client, and what they rest on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Standing {
    /// Queue, miss, error and bias in ms, the policy's weights included; network and cost are 0.
    pub terms: Terms,
    /// What the queue term rests on.
    pub queue: Evidence,
    /// What the miss term rests on.
    pub miss: Evidence,
    /// What the error term rests on.
    pub error: Evidence,
}

/// What a term rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Observations it was made from.
    pub samples: u32,
    /// Age of the last of them in ms, when the term was made.
    pub age_ms: u32,
    /// How much of it is assumed rather than observed, 0 to 1.
    pub prior_share: f32,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            samples: 0,
            age_ms: 0,
            prior_share: 1.0,
        }
    }
}

/// A value and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// What it rests on.
    pub evidence: Evidence,
}

impl Estimate {
    /// Mixes what was observed with what is assumed: `(n * observed + n0 * prior) / (n + n0)`.
    ///
    /// Older than `max_age_ms`, observations count half, a quarter … with each such time: an estimate fades to its
    /// prior and never jumps.
    pub fn new(
        observed: Option<(f64, u64)>,
        prior: (f64, f64),
        age_ms: u64,
        max_age_ms: u64,
    ) -> Self {
        let (prior_value, prior_samples) = prior;
        let (value, samples) = observed.unwrap_or((prior_value, 0));
        let late_ms = age_ms.saturating_sub(max_age_ms);
        let late = super::number::from_u64(late_ms) / super::number::from_u64(max_age_ms.max(1));
        let counted = super::number::from_u64(samples) * libm::exp2(-late);
        let all = counted + prior_samples;
        let share = if all > 0.0 { prior_samples / all } else { 1.0 };
        Self {
            value: value + (prior_value - value) * share,
            evidence: Evidence {
                samples: u32::try_from(samples).unwrap_or(u32::MAX),
                age_ms: if samples == 0 {
                    0
                } else {
                    u32::try_from(age_ms).unwrap_or(u32::MAX)
                },
                prior_share: super::number::narrow(share),
            },
        }
    }
}

impl Signals {
    /// What is known of a node.
    #[inline]
    pub fn node(&self, node: NodeIndex) -> NodeSignals {
        self.nodes.get(node.get()).copied().unwrap_or_default()
    }

    /// What is known of a site.
    #[inline]
    pub fn site(&self, site: SiteIndex) -> SiteSignals {
        self.sites.get(site.get()).copied().unwrap_or_default()
    }

    /// The terms of a site for a class, of a fleet with `sites` sites; `None` while nothing is known.
    pub fn standing(&self, class: ClassIndex, site: SiteIndex, sites: usize) -> Option<&Standing> {
        self.standing.get(class.get() * sites + site.get())
    }

    /// How far a set's nodes are readmitted.
    pub fn readmission(&self, set: SetIndex) -> Readmission {
        self.readmission.get(set.get()).copied().unwrap_or_default()
    }
}
