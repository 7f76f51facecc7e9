//! What the chair says, and when: what changed, the whole where somebody missed something, else that it is there.

use std::collections::{BTreeSet, VecDeque};

use super::facts::Facts;
use super::member::{Kind, State};
use super::{Echo, Epoch, Stamp};
use crate::hash::NodeSeed;
use crate::time::Moment;

/// How often the chair speaks at least, and says the whole at most, in ms.
const SPEAKS_MS: u64 = 1_000;

/// When a change is said once more, in ms: of a thousand members one may not have heard it, and would not know before the chair
/// speaks again.
const AGAIN_MS: u64 = 100;

/// Changes that wait to be said once more; of more the oldest are not.
const MAX_AGAIN: usize = 16;

/// What was said, and what is to be.
#[derive(Debug)]
pub struct Speaker {
    began: Moment,
    stamp: Stamp,
    /// Nodes of which something else is concluded than was said.
    changed: BTreeSet<NodeSeed>,
    hearings_changed: bool,
    asked_for_whole: bool,
    last_said: Moment,
    /// When all was said last; `None` before the first time.
    last_whole: Option<Moment>,
    again: VecDeque<(Moment, State)>,
}

impl Speaker {
    /// A chair that begins: it says the whole first.
    pub fn new(now: Moment, epoch: Epoch) -> Self {
        Self {
            began: now,
            stamp: Stamp { epoch, sequence: 0 },
            changed: BTreeSet::new(),
            hearings_changed: false,
            asked_for_whole: true,
            last_said: now,
            last_whole: None,
            again: VecDeque::new(),
        }
    }

    /// What was said last.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What a member heard who hears the chair now.
    pub fn echo(&self, now: Moment) -> Echo {
        Echo {
            epoch: self.stamp.epoch,
            at_ms: now.since(self.began),
        }
    }

    /// Something else is concluded of a node.
    pub fn changed(&mut self, node: NodeSeed) {
        self.changed.insert(node);
    }

    /// Others are accused than were, or nobody is.
    pub fn hearings_changed(&mut self) {
        self.hearings_changed = true;
    }

    /// A member asks for the whole.
    pub fn asked_for_whole(&mut self) {
        self.asked_for_whole = true;
    }

    /// What is to be said now, if anything.
    pub fn say(
        &mut self,
        now: Moment,
        facts: &Facts,
        hearings: &BTreeSet<NodeSeed>,
    ) -> Option<State> {
        let passed = |last: Moment| now.since(last) >= SPEAKS_MS;
        let is_whole = self.asked_for_whole && self.last_whole.is_none_or(passed);
        let is_changed = !self.changed.is_empty();
        let speaks = is_whole || is_changed || self.hearings_changed || passed(self.last_said);
        if !speaks {
            return self.say_again(now, hearings);
        }
        self.last_said = now;
        self.hearings_changed = false;
        // What changes no fact has no stamp of its own: who misses it misses nothing.
        self.stamp.sequence += u64::from(is_changed || self.stamp.sequence == 0);
        let changed = std::mem::take(&mut self.changed);
        let (kind, nodes, well) = if is_whole {
            self.last_whole = Some(now);
            self.asked_for_whole = false;
            self.again.clear();
            let all = facts.nodes.clone().into_iter();
            (Kind::Whole, all.collect(), Vec::new())
        } else {
            let fact = |node: &NodeSeed| Some((*node, facts.nodes.get(node).copied()?));
            let well = changed.iter().copied();
            let well = well.filter(|node| !facts.nodes.contains_key(node));
            let kind = if is_changed { Kind::Change } else { Kind::Same };
            (
                kind,
                changed.iter().filter_map(fact).collect(),
                well.collect(),
            )
        };
        let state = State {
            stamp: self.stamp,
            at_ms: now.since(self.began),
            kind,
            nodes,
            well,
            sites: facts.sites.clone(),
            hearings: hearings.iter().copied().collect(),
        };
        if kind == Kind::Change {
            if self.again.len() >= MAX_AGAIN {
                self.again.pop_front();
            }
            self.again.push_back((now.plus(AGAIN_MS), state.clone()));
        }
        Some(state)
    }

    /// A change that was said a while ago, once more: whoever has it knows by its stamp.
    fn say_again(&mut self, now: Moment, hearings: &BTreeSet<NodeSeed>) -> Option<State> {
        self.again.front().filter(|(due, _)| now >= *due)?;
        let (_, mut state) = self.again.pop_front()?;
        state.at_ms = now.since(self.began);
        state.hearings = hearings.iter().copied().collect();
        Some(state)
    }
}
