//! What a member acts on: what the chair said, only upwards, and what it sees itself.
//!
//! States are applied in the order of their [`Stamp`]s and without a gap; what is old is nothing, and after a gap, or from
//! another chair, only a whole one counts. While the chair is silent its word goes on to count; after a minute the member's
//! own loop does, beginning from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evidence::Standing as Told;
use super::facts::{Facts, NodeFact, SiteFact, SiteName};
use super::{Echo, Stamp};
use crate::control::facts::{Facts as Concluded, NodeFacts};
use crate::hash::NodeSeed;
use crate::time::Moment;
use crate::topology::Topology;

/// A chair that was not heard for so long is silent, in ms.
pub const HELD_MS: u64 = 2_000;

/// Who has not heard one for so long acts alone, in ms.
pub const ALONE_MS: u64 = 60_000;

/// What the chair says to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its place in the order of all that chairs say. One that changes no fact has that of the one before.
    pub stamp: Stamp,
    /// When it was said, in ms since the chair began.
    pub at_ms: u64,
    /// What it is.
    pub kind: Kind,
    /// Nodes of which something else is concluded than before.
    pub nodes: Vec<(NodeSeed, NodeFact)>,
    /// Nodes that are plainly well again.
    pub well: Vec<NodeSeed>,
    /// All sites of which anything is said.
    pub sites: BTreeMap<SiteName, SiteFact>,
    /// Nodes that somebody accuses: whoever uses them tells what it saw.
    pub hearings: Vec<NodeSeed>,
}

impl State {
    /// About how many bytes it takes on the way.
    pub fn size(&self) -> usize {
        let nodes = self.nodes.len() * (8 + NodeFact::SIZE);
        32 + nodes + 8 * (self.well.len() + self.hearings.len()) + 10 * self.sites.len()
    }
}

/// What a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It says all: nodes that it does not name are well.
    Whole,
    /// It says what is otherwise than in the one of the sequence before.
    Change,
    /// It says that the chair is there, and who is accused: the facts are those of its stamp.
    Same,
}

/// What became of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is in force now.
    Applied,
    /// It says that what is in force still is.
    Confirmed,
    /// Something later was heard already.
    Old,
    /// One before it is missing, so it does not count: the whole is asked for.
    Gap,
}

/// How far the chair's word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is heard.
    Following,
    /// It has been silent for two seconds: what it said last counts, and what this member sees beside it.
    Held,
    /// It has been silent for a minute: this member goes on by itself.
    Alone,
}

/// What a member knows of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Member {
    stamp: Stamp,
    facts: Arc<Facts>,
    heard: Echo,
    last: Option<Moment>,
    missed: bool,
    hearings: Vec<NodeSeed>,
}

impl Member {
    /// What is acted on.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What the chair concluded, as far as it was heard.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Nodes that somebody accuses.
    pub fn hearings(&self) -> &[NodeSeed] {
        &self.hearings
    }

    /// What is told of this in evidence.
    pub fn told(&self) -> Told {
        Told {
            acted_on: self.stamp,
            heard: self.heard,
            missed: self.missed,
        }
    }

    /// Hears what a chair says. After a minute of silence whatever a chair says is news: the store may have lost who had the chair
    /// before, and counts anew.
    pub fn hear(&mut self, now: Moment, state: &State) -> Heard {
        if self.last.is_some() && self.standing(now) == Standing::Alone {
            (self.stamp, self.heard) = (Stamp::default(), Echo::default());
        }
        let echo = Echo {
            epoch: state.stamp.epoch,
            at_ms: state.at_ms,
        };
        if state.stamp < self.stamp || echo < self.heard {
            return Heard::Old;
        }
        let is_next = state.stamp.epoch == self.stamp.epoch
            && state.stamp.sequence == self.stamp.sequence + 1;
        let heard = match state.kind {
            _ if state.stamp == self.stamp => Heard::Confirmed,
            Kind::Whole => Heard::Applied,
            Kind::Change if is_next => Heard::Applied,
            // Of another chair nothing is known yet, not even how old its word may be.
            Kind::Change | Kind::Same => {
                // That the chair was heard is told all the same: who asks for the whole must be heard itself.
                (self.heard, self.missed) = (echo, true);
                return Heard::Gap;
            }
        };
        (self.heard, self.last) = (echo, Some(now));
        self.hearings.clone_from(&state.hearings);
        if heard == Heard::Applied {
            self.apply(state);
        }
        heard
    }

    fn apply(&mut self, state: &State) {
        let facts = Arc::make_mut(&mut self.facts);
        if state.kind == Kind::Whole {
            facts.nodes.clear();
        }
        facts.nodes.extend(state.nodes.iter().copied());
        for node in &state.well {
            facts.nodes.remove(node);
        }
        facts.sites.clone_from(&state.sites);
        (self.stamp, self.missed) = (state.stamp, false);
    }

    /// How far the chair's word counts now. Who never heard one is alone.
    pub fn standing(&self, now: Moment) -> Standing {
        match self.last.map(|last| now.since(last)) {
            Some(silent_ms) if silent_ms < HELD_MS => Standing::Following,
            Some(silent_ms) if silent_ms < ALONE_MS => Standing::Held,
            _ => Standing::Alone,
        }
    }

    /// What this member acts on: the chair's Facts, and of its own what is stricter. `own` is what its own loop concludes.
    /// It goes to [`settle`](crate::control::Control::settle), whose bounds hold whatever it says.
    pub fn acts_on(&self, now: Moment, own: &Concluded, topology: &Topology) -> Concluded {
        let standing = self.standing(now);
        let mut acted_on = own.clone();
        if standing == Standing::Alone {
            return acted_on;
        }
        // Behind all whom the fleet has left, in the order in which this member left them.
        let behind = self.facts.next_place();
        for (node, own) in topology.nodes().iter().zip(&mut acted_on.nodes) {
            *own = merged(self.facts.node(node.seed), own, behind);
        }
        for (site, own) in topology.sites().iter().zip(&mut acted_on.sites) {
            *own = self.facts.site(&site.id, *own);
        }
        acted_on
    }
}

/// The fleet's word on a node, or this member's own where that is stricter.
fn merged(fleet: NodeFact, own: &NodeFacts, behind: u32) -> NodeFacts {
    let judged = fleet.to_control(own);
    // Of loads each sees its own share, and the stricter of both counts.
    let mut merged = NodeFacts {
        headroom: judged.headroom.min(own.headroom),
        spill: judged.spill.max(own.spill),
        full: judged.full.max(own.full),
        shed: judged.shed.max(own.shed),
        // A node that has just joined is new to each.
        ramp: judged.ramp.min(own.ramp),
        ..judged
    };
    // Its own breaker, and what nobody compares yet: probes and loads.
    let fleet_left_it = fleet.place.is_some();
    if !fleet_left_it && own.verdict > fleet.verdict {
        merged.verdict = own.verdict;
        merged.place = own.place.map(|place| behind.saturating_add(place));
    }
    merged
}
