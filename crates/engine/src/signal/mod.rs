//! What is known of the fleet's behaviour: observations come in, [`Signals`] are what a snapshot holds of them.
//!
//! Everything here is either an accumulator that the writer owns (windows, counts, the sketch) or a plain number that
//! decisions read. What ties them together is [`control`](super::control).

pub mod agreed;
pub mod centre;
pub mod hot;
pub mod latency;
pub mod load;
pub mod network;
pub mod observation;
pub mod ratio;
pub mod sketch;
pub mod trial;
pub mod voices;

use std::sync::Arc;

use hot::HotTable;
use network::NetworkTable;
use trial::Trials;

use super::freshness::lifetime::Pace;
use super::model::{NodeIndex, SiteIndex};
use super::number::{from_u64, narrow};
use super::policy::{ClassNumber, Numbers, SetNumber};
use super::score::Terms;

/// All that decisions know of the fleet's behaviour. The default knows nothing: every term stands at its prior, every
/// node is admitted with the weight of its capacity.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// By [`NodeIndex`]; nodes past the end are as by default.
    pub nodes: Vec<NodeSignals>,
    /// By [`SiteIndex`]; sites past the end are as by default.
    pub sites: Vec<SiteSignals>,
    /// What sets and classes are called here. What has no number in it gets one behind all others, so that of a fleet
    /// nothing is known of yet positions are numbers.
    pub numbers: Arc<Numbers>,
    /// Terms by [`ClassNumber`], then site; see [`Signals::standing`].
    pub standing: Vec<Standing>,
    /// By [`SetNumber`]: how far the set's nodes are readmitted.
    pub readmission: Vec<Readmission>,
    /// Round trips measured.
    pub network: NetworkTable,
    /// Keys that several nodes carry.
    pub hot: HotTable,
    /// Sites that are tried with a slice of keys.
    pub trials: Trials,
    /// How often what is asked for changes, by [`ClassNumber`]; classes past the end are as by default.
    pub paces: Vec<Pace>,
    /// Of all requests, so many 256ths may be tried once only.
    pub retries_withheld: u8,
    /// Which turn it is, of those in which the same requests are shed, or may be tried once only; 0 while none are.
    pub turn: u32,
    /// Whether this sidecar seems cut off: verdicts are frozen.
    pub isolated: bool,
    /// Changes whenever a node's admission or weight does: tables are made anew then.
    pub weights_version: u64,
    /// Changes whenever a term does.
    pub terms_version: u64,
    /// Changes whenever a path or a trial does.
    pub ways_version: u64,
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
    /// Of the keys that would come to it so, so many 256ths stay where they are, for it has no room; 255 is all.
    pub full: u8,
    /// What it sheds: its level, see [`overload`](crate::balance::overload).
    pub shed: u16,
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
            full: 0,
            shed: 0,
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
    /// Of the groups of clients that would come to it so, so many 256ths stay where they are, for it has no room; 255 is
    /// all.
    pub full: u8,
    /// The mean utilisation of its nodes; 0 when not known.
    pub utilisation: f32,
}

/// The terms of a site that do not depend on the client, and what they rest on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Standing {
    /// Service, queue, miss, error and bias in ms, the policy's weights included; network and cost are 0. The best estimates
    /// there are.
    pub terms: Terms,
    /// What is added to them for choosing among sites, so that a choice holds still while its terms tremble, in ms.
    pub held_ms: f32,
    /// What the service term rests on.
    pub service: Evidence,
    /// What the queue term rests on.
    pub queue: Evidence,
    /// What the miss term rests on.
    pub miss: Evidence,
    /// What the error term rests on.
    pub error: Evidence,
}

impl Standing {
    /// What sites are chosen by, in ms: the terms, held still.
    pub fn choice_ms(&self) -> f32 {
        self.terms.standing_ms() + self.held_ms
    }
}

/// What a term rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Observations it was made from; of several kinds those of the one with fewest.
    pub samples: u32,
    /// Age of the last of them in ms, when the term was made; of several kinds that of the oldest.
    pub age_ms: u32,
    /// How much of it is assumed rather than observed, 0 to 1.
    pub prior_share: f32,
}

impl Evidence {
    /// What a product of two numbers rests on: as old, as thin and as much assumed as the worse of its parts.
    #[must_use]
    pub fn of_product(self, other: Self) -> Self {
        Self {
            samples: self.samples.min(other.samples),
            age_ms: self.age_ms.max(other.age_ms),
            prior_share: self.prior_share.max(other.prior_share),
        }
    }
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
    /// Mixes what was observed with what is assumed: `prior + (observed - prior) * share`, where `share` is
    /// `n / (n + n0) * 2^(-late / max_age)`, and `late` how far the age is beyond `max_age_ms`.
    ///
    /// So an estimate fades to its prior and never jumps; what fades is how far it is from the prior, and not the count: a
    /// site that was seen a hundred times as often would else be shunned for seven more times its `max_age`.
    pub fn new(
        observed: Option<(f64, u64)>,
        prior: (f64, f64),
        age_ms: u64,
        max_age_ms: u64,
    ) -> Self {
        let (prior_value, prior_samples) = prior;
        let Some((value, samples)) = observed.filter(|(_, samples)| *samples > 0) else {
            return Self {
                value: prior_value,
                evidence: Evidence::default(),
            };
        };
        let counted = from_u64(samples);
        let share = counted / (counted + prior_samples) * fade(age_ms, max_age_ms);
        Self {
            value: prior_value + (value - prior_value) * share,
            evidence: Evidence {
                samples: u32::try_from(samples).unwrap_or(u32::MAX),
                age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
                prior_share: narrow(1.0 - share),
            },
        }
    }
}

/// What is left of an observation of this age: all of it up to `max_age_ms`, then half with each such time.
pub fn fade(age_ms: u64, max_age_ms: u64) -> f64 {
    let late = from_u64(age_ms.saturating_sub(max_age_ms)) / from_u64(max_age_ms.max(1));
    libm::exp2(-late)
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
    pub fn standing(&self, class: ClassNumber, site: SiteIndex, sites: usize) -> Option<&Standing> {
        self.standing.get(class.get() * sites + site.get())
    }

    /// How often what is asked for of a class changes.
    pub fn pace(&self, class: ClassNumber) -> Pace {
        self.paces.get(class.get()).copied().unwrap_or_default()
    }

    /// How far a set's nodes are readmitted.
    pub fn readmission(&self, set: SetNumber) -> Readmission {
        self.readmission.get(set.get()).copied().unwrap_or_default()
    }
}
