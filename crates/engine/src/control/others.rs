//! Where others than this process judge nodes: what it leaves to them, and how it goes on when they fall silent.

use super::breakers::settle;
use super::facts::Facts;
use super::{Control, Next};
use crate::health::breaker::{Cause, State};
use crate::model::NodeIndex;
use crate::signal::Admission;
use crate::time::Moment;

impl Control {
    /// Others judge a node from now on: what its own breaker held against it is forgotten.
    pub fn leave_to_others(&mut self, now: Moment, node: NodeIndex, next: Next<'_>) {
        if let Some(notes) = self.nodes.get_mut(node.get()) {
            let step = next.step(self.salt, notes, now);
            notes.breaker.reset(now, &step);
        }
    }

    /// Nobody else judges any more. This goes on from what was `acted_on` last, of the same fleet: a node that others had left is
    /// left, and tried again as after a failure of one's own; levels and ramps are as they were. Else all that others had found
    /// out would be forgotten at once, and found out anew by failures.
    pub fn go_on_from(&mut self, now: Moment, acted_on: &Facts, next: Next<'_>) {
        let operation = next.policy.operation();
        let mut left: Vec<(u32, NodeIndex)> = Vec::new();
        for ((notes, facts), at) in self.nodes.iter_mut().zip(&acted_on.nodes).zip(0_u32..) {
            if notes.breaker.state() != State::Closed {
                continue;
            }
            let is_held = matches!(
                facts.verdict,
                Admission::BreakerOpen | Admission::Probing { .. }
            );
            if let Some(place) = facts.place.filter(|_| is_held) {
                left.push((place, NodeIndex(at)));
                continue;
            }
            if notes.condition.level() != facts.level {
                notes.condition.set(facts.level);
                let since = notes.worse_since.unwrap_or(now);
                notes.worse_since = (facts.level > 0).then_some(since);
            }
            if facts.ramp < notes.ramp_eighths(now, operation.slow_start_ms) {
                let grown = u64::from(facts.ramp.saturating_sub(1));
                let passed_ms = grown * operation.slow_start_ms / 8;
                notes.ramp_since = Some(now.minus(passed_ms));
            }
        }
        // In the order in which they failed, a millisecond apart, for whoever is to be readmitted first.
        left.sort_unstable();
        for (ago, (_, node)) in (1..=left.len() as u64).rev().zip(left) {
            let Some(notes) = self.nodes.get_mut(node.get()) else {
                continue;
            };
            let then = now.minus(ago);
            let salt = self.salt ^ u64::from(node.0) << 32;
            let step = next.step(salt, notes, then);
            let cause = Cause::ConsecutiveFailures;
            let transition = notes.breaker.trip(then, cause, &step);
            settle(then, notes, (transition, operation));
            self.note(node, transition);
        }
    }
}
