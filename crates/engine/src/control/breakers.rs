//! How breakers change, and what follows for the rest of a node's notes.

use super::event::{Event, Seen};
use super::node::NodeNotes;
use super::spell::Spell;
use super::{Control, Next};
use crate::health::breaker::{Cause, State, Transition};
use crate::health::trials::{Finding, Trials};
use crate::model::NodeIndex;
use crate::policy::Operation;
use crate::signal::observation::Reporter;
use crate::time::Moment;

impl Control {
    /// Lets time pass for breakers: those that open for what has gone on long enough, and those that are tried again.
    pub(super) fn tick_breakers(&mut self, now: Moment, next: Next<'_>) {
        let slow = self
            .nodes
            .iter()
            .filter(|notes| notes.is_lastingly_slow(now));
        // When a third of the fleet is slow it is the traffic, not the nodes.
        let slow_is_telling = slow.count() * 3 <= self.nodes.len().max(3);
        let mut changed = Vec::new();
        for (notes, at) in self.nodes.iter_mut().zip(0_u32..) {
            let salt = self.salt ^ u64::from(at) << 32;
            let step = next.step(salt, notes, now);
            let mut transition = notes.breaker.tick(now, &step);
            if step.finding == Finding::Failing {
                notes.trials.restart();
            }
            if notes.breaker.state() == State::Closed {
                let settings = &next.policy.operation().breaker;
                // Nobody need fail again once all who had a say were heard.
                let mut cause = notes.testimony.verdict_in_time(now, settings);
                if slow_is_telling && !notes.site_is_slow && notes.is_lastingly_slow(now) {
                    cause = cause.or(Some(Cause::Slow));
                }
                transition = cause
                    .and_then(|cause| notes.breaker.trip(now, cause, &step))
                    .or(transition);
            }
            settle(now, notes, (transition, next.policy.operation()));
            if transition.is_some() {
                changed.push((NodeIndex(at), transition));
            }
        }
        for (node, transition) in changed {
            self.note(node, transition);
        }
    }

    /// Tells of a breaker's change, which is settled already.
    pub(super) fn note(&mut self, node: NodeIndex, transition: Option<Transition>) {
        let (Some(transition), Some(notes)) = (transition, self.nodes.get(node.get())) else {
            return;
        };
        self.is_unsettled = true;
        if let State::Open { .. } = transition.to {
            self.blame.broke(node);
        }
        self.events.push(Event::Breaker {
            node,
            to: transition.to,
            cause: transition.cause,
            flapping: transition.flapping,
            at: notes.breaker.since(),
            seen: Seen::of(notes, notes.judged),
            spell: self.unwell.spell(node).filter(Spell::lasts),
        });
    }
}

/// A half-open node was tried.
pub(super) fn tried(
    now: Moment,
    notes: &mut NodeNotes,
    (reporter, success): (Reporter, bool),
    (salt, next): (u64, Next<'_>),
) -> Option<Transition> {
    if matches!(notes.breaker.state(), State::HalfOpen { .. }) {
        notes.trials.add(now, (reporter, success));
    }
    let step = next.step(salt, notes, now);
    let transition = notes.breaker.probed(now, success, &step);
    if step.finding == Finding::Failing {
        // Where it stays half open all the same, it must show itself well anew.
        notes.trials.restart();
    }
    settle(now, notes, (transition, next.policy.operation()));
    transition
}

/// What a change of the breaker means for the rest of the notes.
pub(super) fn settle(
    now: Moment,
    notes: &mut NodeNotes,
    (transition, operation): (Option<Transition>, &Operation),
) {
    let Some(transition) = transition else { return };
    notes.judged = notes.testimony.told();
    if transition.from == State::Closed {
        let jury = notes.testimony.jury(now, &operation.breaker);
        notes.trials = Trials::of_jury(jury);
        notes.testimony.dismiss_silent(now, &operation.breaker);
    }
    notes.begin_term(now);
    if transition.to == State::Closed {
        notes.left_for_shedding = false;
        // It begins with an eighth of its weight; what its condition was is past.
        notes.ramp_since = Some(now);
        notes.condition.set(0);
        notes.worse_since = None;
        notes.forget_answers();
    }
}
