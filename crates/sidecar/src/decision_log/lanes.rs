//! What decisions of one lane are made from, as if there were no other: so a state tells of one routing, and a replay needs no
//! lanes.
//!
//! A lane decides as its policy does alone (`crates/engine/tests/engine/lanes.rs`), but for what was learned, which is weighed by
//! the score of the policy in force. A candidate with another score may so decide otherwise alone; such a decision is found by
//! deciding it again, and logged as one that cannot be made again.

use std::sync::Arc;

use super::Logged;
use crate::state::{Published, PublishedCandidate};
use tradewind_engine::edition::Texts;
use tradewind_engine::policy::Policy;
use tradewind_engine::snapshot::{LaneIndex, Parts, Snapshot};

/// What decisions of a lane are made from.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The lane alone.
    pub(super) snapshot: Arc<Snapshot>,
    /// 0 for the policy in force, 1 for a candidate.
    pub(super) lane: u8,
    /// The revision in force.
    pub(super) revision: u64,
    /// The texts of the lane.
    pub(super) texts: Texts,
}

/// The last ground of each lane: states change ten times a second at most, and decisions come more often.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    grounds: [Option<Ground>; 2],
}

impl Lanes {
    /// The ground of a decision.
    pub(super) fn ground(&mut self, logged: &Logged) -> Ground {
        let published = &logged.published;
        let candidate = published.candidate.as_ref();
        let tried = candidate.filter(|_| logged.evaluation.lane == LaneIndex::Second);
        let [first, second] = &mut self.grounds;
        let place = if tried.is_some() { second } else { first };
        let is_same = |known: &Ground| {
            let generation = published.snapshot.generation();
            known.revision == published.revision && known.snapshot.generation() == generation
        };
        if let Some(known) = place.as_ref().filter(|known| is_same(known)) {
            return known.clone();
        }
        let ground = Ground::new(published, tried);
        *place = Some(ground.clone());
        ground
    }
}

impl Ground {
    fn new(published: &Published, tried: Option<&PublishedCandidate>) -> Self {
        let snapshot = &published.snapshot;
        let in_force = &snapshot.parts().policy;
        let policy: &Arc<Policy> = tried.map_or(in_force, |it| &it.policy);
        let parts = Parts {
            policy: Arc::clone(policy),
            candidate: None,
            ..snapshot.parts().clone()
        };
        let mut texts = published.texts.clone();
        if let Some(tried) = tried {
            texts.policy = Arc::clone(&tried.text);
        }
        Self {
            snapshot: Arc::new(Snapshot::build(
                snapshot.generation(),
                parts,
                Some(snapshot),
            )),
            lane: u8::from(tried.is_some()),
            revision: published.revision,
            texts,
        }
    }
}
