//! Which nodes are not well, since when, and in which order they came to it.

use super::admission::is_by_breaker;
use super::event::Event;
use super::judgement::{Judgement, Source};
use super::node::NodeNotes;
use super::positions::Mapping;
use super::spell::Spell;
use crate::model::NodeIndex;
use crate::policy::Operation;
use crate::signal::Admission;
use crate::time::Moment;

/// Bad times of nodes, by position.
#[derive(Debug, Default)]
pub(super) struct Unwell {
    /// Since when each node has not been well: a breaker that is tried and opens again has not failed anew.
    since: Vec<Option<Moment>>,
    /// The last bad time of each.
    spells: Vec<Option<Spell>>,
}

impl Unwell {
    /// Since when a node has not been well, as of the last look.
    pub(super) fn since(&self, node: NodeIndex) -> Option<Moment> {
        self.since.get(node.get()).copied().flatten()
    }

    /// A node's last bad time.
    pub(super) fn spell(&self, node: NodeIndex) -> Option<Spell> {
        self.spells.get(node.get()).copied().flatten()
    }

    /// Positions are others now: what is known goes on at its new place.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        self.since = mapping.by_node(std::mem::take(&mut self.since), |_| None);
        self.spells = mapping.by_node(std::mem::take(&mut self.spells), |_| None);
    }

    /// Sees whose bad time begins, goes on or ends.
    pub(super) fn observe(
        &mut self,
        now: Moment,
        (nodes, judgements): (&[NodeNotes], &[Judgement]),
        operation: &Operation,
        events: &mut Vec<Event>,
    ) {
        self.since.resize(judgements.len(), None);
        for (since, judgement) in self.since.iter_mut().zip(judgements) {
            *since = (judgement.admission != Admission::Admitted)
                .then(|| since.unwrap_or(judgement.since));
        }
        self.spells.resize(judgements.len(), None);
        let nodes = nodes.iter().zip(judgements).zip(0_u32..);
        for (slot, ((notes, judgement), at)) in self.spells.iter_mut().zip(nodes) {
            let is_well = judgement.admission == Admission::Admitted;
            let before = slot.filter(Spell::lasts);
            *slot = match before {
                None if is_well => continue,
                None => Some(Spell::begin(judgement, &notes.breaker)),
                Some(mut spell) => {
                    spell.go_on(&notes.breaker);
                    spell.ended = is_well.then_some(now);
                    Some(spell)
                }
            };
            let was = before.is_some_and(|spell| spell.first_source == Source::LoadReports);
            let begins = before.is_none() && judgement.source == Source::LoadReports;
            if let Some(spell) = slot.filter(|_| begins || (was && is_well)) {
                events.push(Event::Overloaded {
                    node: NodeIndex(at),
                    is: begins,
                    utilisation: notes.utilisation(now, operation),
                    lasted_ms: spell.lasted_ms(now),
                });
            }
        }
    }

    /// Where each node whose breaker holds it back stands among those: the longest unwell first, so that no new failure
    /// brings an old one back, and behind them all whom the ejection budget has `denied` so far.
    pub(super) fn places(
        &self,
        judgements: &[Judgement],
        denied: impl Fn(NodeIndex) -> bool,
    ) -> Vec<Option<u32>> {
        let held_back = judgements.iter().zip(0_u32..).map(|(judgement, at)| {
            let node = NodeIndex(at);
            is_by_breaker(judgement.admission).then(|| (denied(node), self.since(node), node))
        });
        let mut order: Vec<_> = held_back.flatten().collect();
        order.sort_unstable();
        let mut places = vec![None; judgements.len()];
        for (place, (_, _, node)) in (0_u32..).zip(order) {
            if let Some(of_node) = places.get_mut(node.get()) {
                *of_node = Some(place);
            }
        }
        places
    }
}
