//! What the chair concluded, as all members know it: named by meaning, in whole numbers.
//!
//! Nodes go by the seed of their id, sites by a hash of theirs, so that members on two topologies understand each other.
//! Conditions are levels, ramps eighths, headrooms sixteenths of an octave: equal Facts are equal to the bit. Only nodes
//! that are not plainly well are in them.

use std::collections::BTreeMap;

use crate::control::facts::{Facts as Concluded, NodeFacts};
use crate::hash::{self, NodeSeed};
use crate::number::narrow;
use crate::signal::{Admission, SiteSignals};
use crate::topology::Topology;

/// Sixteenths of an octave below 1 that a headroom can say: down to 2^-10.
const HEADROOM_ONE: u8 = 160;

/// A site: a hash of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(pub u64);

impl SiteName {
    /// The site of this id.
    pub fn of_id(id: &str) -> Self {
        Self(hash::key(&[b"site", id.as_bytes()]).0)
    }
}

/// All that the chair concluded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Nodes that are not plainly well.
    pub nodes: BTreeMap<NodeSeed, NodeFact>,
    /// Sites that give some of their clients to others, or can take none of theirs.
    pub sites: BTreeMap<SiteName, SiteFact>,
}

/// What was concluded of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeFact {
    /// Whether it may be named, the slice included. Whatever else than admitted or probing it says counts as an open breaker,
    /// so that the ejection budget bounds it.
    pub verdict: Admission,
    /// Counts its changes of verdict: answers tell the term that they are about. 0 where no breaker ever held it back.
    pub term: u64,
    /// Where it stands among the nodes that breakers hold back: of two the one that failed first has the lower. The
    /// ejection budget must take them in the same order everywhere.
    pub place: Option<u32>,
    /// Its condition: 0 is the best, 8 the worst.
    pub level: u8,
    /// What half of its hits take usually, as [a quarter octave](super::octaves); 0 where that is not known. It goes from
    /// chair to chair, so that what is slow is not taken for usual.
    pub usual: u8,
    /// How far its weight has grown, in eighths, 1 to 8.
    pub ramp: u8,
    /// Its headroom in sixteenths of an octave; 160 is 1.
    pub headroom: u8,
    /// Of its keys, so many 256ths go to the next in their order.
    pub spill: u8,
    /// Of the keys that would come to it so, so many 256ths stay where they are.
    pub full: u8,
    /// What it sheds: its level.
    pub shed: u16,
}

/// What was concluded of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SiteFact {
    /// Of its groups of clients, so many 256ths use the next site.
    pub spill: u8,
    /// Of the groups that others would give to it so, so many 256ths stay where they are.
    pub full: u8,
}

impl Default for NodeFact {
    fn default() -> Self {
        Self {
            verdict: Admission::Admitted,
            term: 0,
            place: None,
            level: 0,
            usual: 0,
            ramp: 8,
            headroom: HEADROOM_ONE,
            spill: 0,
            full: 0,
            shed: 0,
        }
    }
}

impl NodeFact {
    /// Whether it says no more than that the node is well, whatever its term and its usual time.
    pub fn is_plain(&self) -> bool {
        let plain = Self {
            term: self.term,
            usual: self.usual,
            ..Self::default()
        };
        *self == plain
    }

    /// About how many bytes it takes on the way.
    pub const SIZE: usize = 12;

    fn of(facts: &NodeFacts) -> Self {
        Self {
            verdict: facts.verdict,
            term: 0,
            place: facts.place,
            level: facts.level,
            usual: 0,
            ramp: facts.ramp,
            headroom: sixteenths(facts.headroom),
            spill: facts.spill,
            full: facts.full,
            shed: facts.shed,
        }
    }

    /// The same for [`settle`](crate::control::Control::settle), of a node that has not been well since `own` says so.
    pub fn to_control(self, own: &NodeFacts) -> NodeFacts {
        let verdict = match self.verdict {
            Admission::Admitted => Admission::Admitted,
            Admission::Probing { slice } => Admission::Probing { slice },
            _ => Admission::BreakerOpen,
        };
        NodeFacts {
            verdict,
            unwell_since: own.unwell_since,
            place: self.place,
            level: self.level,
            ramp: self.ramp,
            headroom: headroom(self.headroom),
            spill: self.spill,
            full: self.full,
            shed: self.shed,
        }
    }
}

impl Facts {
    /// What one control loop concluded, of the nodes and sites of its `topology`.
    pub fn of(concluded: &Concluded, topology: &Topology) -> Self {
        let nodes = topology.nodes().iter().zip(&concluded.nodes);
        let nodes = nodes.map(|(node, facts)| (node.seed, NodeFact::of(facts)));
        let sites = topology.sites().iter().zip(&concluded.sites);
        let sites = sites.map(|(site, facts)| {
            let fact = SiteFact {
                spill: facts.spill,
                full: facts.full,
            };
            (SiteName::of_id(&site.id), fact)
        });
        Self {
            nodes: nodes.filter(|(_, fact)| !fact.is_plain()).collect(),
            sites: sites
                .filter(|(_, fact)| *fact != SiteFact::default())
                .collect(),
        }
    }

    /// What is said of a node.
    pub fn node(&self, node: NodeSeed) -> NodeFact {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    /// What is said of a site, with what this process saw of its utilisation.
    pub(super) fn site(&self, id: &str, own: SiteSignals) -> SiteSignals {
        let fact = self.sites.get(&SiteName::of_id(id)).copied();
        let fact = fact.unwrap_or_default();
        SiteSignals {
            spill: fact.spill.max(own.spill),
            full: fact.full.max(own.full),
            utilisation: own.utilisation,
        }
    }

    /// What of them is still so after a while in which nobody followed them: what is usual, and which terms there were. Which nodes
    /// fail must be found out anew.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let lasting = |fact: &NodeFact| NodeFact {
            term: fact.term,
            usual: fact.usual,
            ..NodeFact::default()
        };
        let nodes = self.nodes.iter();
        Self {
            nodes: nodes.map(|(node, fact)| (*node, lasting(fact))).collect(),
            sites: BTreeMap::new(),
        }
    }

    /// Places from here on are free.
    pub fn next_place(&self) -> u32 {
        let places = self.nodes.values().filter_map(|fact| fact.place);
        places.max().map_or(0, |last| last.saturating_add(1))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte"
)]
fn sixteenths(headroom: f32) -> u8 {
    let octaves = libm::log2(f64::from(headroom).max(1e-9));
    (octaves * 16.0 + f64::from(HEADROOM_ONE) + 0.5).clamp(0.0, 255.0) as u8
}

fn headroom(sixteenths: u8) -> f32 {
    let octaves = (f64::from(sixteenths) - f64::from(HEADROOM_ONE)) / 16.0;
    narrow(libm::exp2(octaves))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headrooms_keep_to_three_percent_over_their_whole_range() {
        for room in [0.001_f32, 0.02, 0.5, 1.0, 1.5, 7.0, 50.0] {
            let told = headroom(sixteenths(room)) / room;
            assert!((0.97..1.03).contains(&told), "{room}: {told}");
        }
        for all in 0..=255 {
            assert_eq!(sixteenths(headroom(all)), all, "told again it is the same");
        }
        assert_eq!(headroom(HEADROOM_ONE).to_bits(), 1.0_f32.to_bits());
    }
}
