//! What the control loop did that an operator may want to know, with the numbers it rests on.

use super::disagreement::{Disagreement, Topic};
use super::meter::Disruption;
use super::node::NodeNotes;
use super::on_trial::{Blame, TrialStep};
use super::spell::Spell;
use crate::hash::KeyHash;
use crate::health::breaker::{Cause, State};
use crate::model::{NodeIndex, SiteIndex};
use crate::policy::{ClassNumber, SetNumber};
use crate::score::Terms;
use crate::signal::Readmission;
use crate::signal::observation::Reporter;
use crate::time::Moment;

/// Something that happened at a tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A breaker changed its state.
    Breaker {
        /// The node.
        node: NodeIndex,
        /// What it is now.
        to: State,
        /// Why.
        cause: Cause,
        /// Whether it has opened too often to be trusted at once.
        flapping: bool,
        /// When.
        at: Moment,
        /// What its answers were like.
        seen: Seen,
        /// The bad time that this is part of, unless it begins with this.
        spell: Option<Spell>,
    },
    /// A breaker is open, but its pool has lost too much weight already: the node stays in use.
    EjectionDenied {
        /// The node.
        node: NodeIndex,
    },
    /// Probes came to another verdict.
    Probe {
        /// The node.
        node: NodeIndex,
        /// What they found.
        healthy: bool,
        /// How long they had found otherwise, in ms; `None` when this is the first verdict.
        lasted_ms: Option<u64>,
    },
    /// A node's load stays too high with all the spill there is, or not any more.
    Overloaded {
        /// The node.
        node: NodeIndex,
        /// Whether it is.
        is: bool,
        /// Its utilisation, where it is known.
        utilisation: Option<f64>,
        /// How long it was, or has been so far, in ms.
        lasted_ms: u64,
    },
    /// A node sheds requests, or none any more.
    Shedding {
        /// The node.
        node: NodeIndex,
        /// Whether it does.
        is: bool,
        /// The share of its requests that it sheds, 0 to 1.
        ratio: f64,
        /// Its utilisation, where it is known.
        utilisation: Option<f64>,
        /// How long it has, in ms; 0 when it begins.
        lasted_ms: u64,
    },
    /// A node's condition went to another level.
    Condition {
        /// The node.
        node: NodeIndex,
        /// 0 is the best.
        level: u8,
        /// What it was.
        from: u8,
        /// What its answers were like.
        seen: Seen,
        /// How long it has been worse than the best, in ms; 0 when that begins with this.
        lasted_ms: u64,
    },
    /// Nodes of a set are readmitted, or not any more.
    Readmission {
        /// The set.
        set: SetNumber,
        /// How far.
        to: Readmission,
        /// How far they were.
        from: Readmission,
        /// Share of the set's weight that is well.
        well_ratio: f64,
        /// How long too little has been well, in ms; 0 when that begins with this.
        lasted_ms: u64,
    },
    /// A site's terms changed for decisions.
    SiteTerms {
        /// The site.
        site: SiteIndex,
        /// For requests of this class.
        class: ClassNumber,
        /// What they were.
        from: Terms,
        /// What they are.
        to: Terms,
    },
    /// A publication gave keys to other nodes.
    KeysMoved(Disruption),
    /// An object fails, or is slow, wherever it is asked for, or does not any more.
    Object {
        /// The key it is ranked by.
        key: KeyHash,
        /// How many nodes it failed at last.
        nodes: usize,
        /// How often it failed.
        failures: u32,
        /// The last status; 0 for none.
        status: u16,
        /// Whether it is late or slow, rather than failing.
        is_late: bool,
        /// How long that lasted, in ms; `None` when it begins.
        lasted_ms: Option<u64>,
    },
    /// A site was left and is tried, or is not any more.
    SiteTrial {
        /// The site.
        site: SiteIndex,
        /// What it was left for.
        blame: Blame,
        /// What became of it.
        to: TrialStep,
    },
    /// This sidecar seems cut off, or not any more.
    Isolated(bool),
    /// A reporter lastingly says otherwise than the others, or does not any more.
    Disagreement {
        /// Who.
        reporter: Reporter,
        /// About what.
        topic: Topic,
        /// What it says and the others agree on, and since when.
        seen: Disagreement,
        /// Whether that is over.
        is_over: bool,
    },
}

/// What a node's answers were like when something was concluded from them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seen {
    /// Answers of the last seconds that were good, as far as they were told.
    pub good: u64,
    /// Those that were not.
    pub bad: u64,
    /// Median time of hits in ms.
    pub median_ms: Option<f32>,
    /// 99th percentile of hits in ms.
    pub p99_ms: Option<f32>,
    /// What is usual for the node.
    pub usual_median_ms: Option<f32>,
    /// What is usual for the node.
    pub usual_p99_ms: Option<f32>,
}

impl Seen {
    /// What is known of a node, with its answers as they were counted.
    pub(super) fn of(notes: &NodeNotes, (good, bad): (u64, u64)) -> Self {
        let ms = |us: f64| crate::number::narrow(us / 1_000.0);
        Self {
            good,
            bad,
            median_ms: notes.recent.map(|times| ms(times.median_us)),
            p99_ms: notes.recent.map(|times| ms(times.p99_us)),
            usual_median_ms: notes.usual.map(|times| ms(times.median_us)),
            usual_p99_ms: notes.usual.map(|times| ms(times.p99_us)),
        }
    }
}
