//! What the loop is told: decisions, outcomes, load, probes, an operator's reset.

use hdrhistogram::Histogram;

use super::event::Event;
use super::node::NodeNotes;
use super::{Control, Next};
use crate::engine::health::breaker::{State, Transition};
use crate::engine::model::NodeIndex;
use crate::engine::policy::Affinity;
use crate::engine::signal::observation::{
    AttemptResult, CacheResult, Dispatch, LoadReport, Outcome, ProbeResult,
};
use crate::engine::time::Moment;

/// Half of the window that a node's own histograms are merged into, in ms.
const SERVICE_MERGE_MS: u64 = 5_000;

impl Control {
    /// A decision was made.
    pub fn dispatched(&mut self, dispatch: &Dispatch, affinity: Affinity) {
        self.recent.insert(dispatch);
        self.ballast.dispatched(dispatch, affinity);
        if let Some(notes) = self.nodes.get_mut(dispatch.node.get()) {
            notes.dispatched += 1;
            notes.breaker.dispatched(dispatch.generation);
        }
    }

    /// An attempt at a node ended. Whether it was about a node there is.
    pub fn outcome(&mut self, now: Moment, outcome: &Outcome, next: Next<'_>) -> bool {
        let recent = outcome.decision.and_then(|number| self.recent.find(number));
        let salt = self.salt ^ u64::from(outcome.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(outcome.node.get()) else {
            return false;
        };
        let operation = next.policy.operation();
        let class = recent.map_or(0, |recent| recent.class.get());
        let generation = recent.map(|recent| recent.generation);
        notes.answered(now, outcome, (class, generation), operation);
        let transition = judge(now, notes, outcome, (generation, salt), next);
        let site = next.topology.site_of(outcome.node);
        let fetch_us = (outcome.cache == CacheResult::Miss && outcome.first_byte_us > 0)
            .then(|| notes.usual.map_or(0.0, |usual| usual.median_us))
            .map(|usual| f64::from(outcome.first_byte_us) - usual);
        if let Some(notes) = self.sites.get_mut(site.get()) {
            let success = outcome.succeeded();
            notes.attempts.add(
                now,
                operation.hit_max_age_ms,
                u32::from(success),
                u32::from(!success),
            );
            if let Some(hit) = outcome.cache.is_hit() {
                notes.count_hit((now, operation.hit_max_age_ms), class, hit);
            }
            if let Some(us) = fetch_us {
                let us = u32::try_from(crate::engine::number::to_u64(us)).unwrap_or(u32::MAX);
                notes.fetch.record(now, operation.hit_max_age_ms / 2, us);
            }
        }
        if let Some(cell) = recent.and_then(|recent| recent.cell)
            && outcome.client_round_trip_us > 0
        {
            self.network
                .record(now, (cell, site), outcome.client_round_trip_us);
        }
        self.note(outcome.node, transition);
        true
    }

    /// A node, or somebody for it, told of its load. Whether there is such a node.
    pub fn load(&mut self, now: Moment, node: NodeIndex, report: LoadReport) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        notes.load = Some((report, now));
        true
    }

    /// A node told of its service times, as a histogram in microseconds. Whether there is such a node.
    pub fn service_times(
        &mut self,
        now: Moment,
        node: NodeIndex,
        times_us: &Histogram<u64>,
    ) -> bool {
        let notes = self.nodes.get_mut(node.get());
        notes.is_some_and(|notes| notes.service.merge(now, SERVICE_MERGE_MS, times_us))
    }

    /// A probe came back. Whether there is such a node.
    pub fn probed(&mut self, now: Moment, result: ProbeResult, next: Next<'_>) -> bool {
        let salt = self.salt ^ u64::from(result.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(result.node.get()) else {
            return false;
        };
        let operation = next.policy.operation();
        let was_unhealthy = notes.probe.verdict() == Some(false);
        if notes.probe.observe(now, result.healthy, &operation.probe) {
            if was_unhealthy && result.healthy {
                notes.ramp_since = Some(now);
            }
            self.events.push(Event::Probe {
                node: result.node,
                healthy: result.healthy,
            });
            self.is_unsettled = true;
        }
        let step = next.step(salt, notes, now);
        let transition = notes.breaker.probed(now, result.healthy, &step);
        settle(now, notes, transition);
        self.note(result.node, transition);
        true
    }

    /// Closes a node's breaker at an operator's word. Whether there is such a node.
    pub fn reset_breaker(&mut self, now: Moment, node: NodeIndex, next: Next<'_>) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        let step = next.step(self.salt, notes, now);
        let transition = notes.breaker.reset(now, &step);
        settle(now, notes, transition);
        self.note(node, transition);
        true
    }

    pub(super) fn note(&mut self, node: NodeIndex, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.is_unsettled = true;
            self.events.push(Event::Breaker {
                node,
                to: transition.to,
                cause: transition.cause,
                flapping: transition.flapping,
            });
        }
    }
}

/// What an outcome means for a node's breaker.
fn judge(
    now: Moment,
    notes: &mut NodeNotes,
    outcome: &Outcome,
    (generation, salt): (Option<u64>, u64),
    next: Next<'_>,
) -> Option<Transition> {
    // A node that sheds is busy, not broken: its load speaks for it.
    if !notes.breaker.concerns(generation) || outcome.result == AttemptResult::Shed {
        return None;
    }
    let operation = next.policy.operation();
    let step = next.step(salt, notes, now);
    let success = outcome.succeeded();
    let transition = match notes.breaker.state() {
        State::Closed => {
            notes
                .testimony
                .add(now, (outcome.reporter, success), &operation.breaker);
            let cause = (!success)
                .then(|| notes.testimony.verdict(now, &operation.breaker))
                .flatten();
            cause.and_then(|cause| notes.breaker.trip(now, cause, &step))
        }
        State::HalfOpen { .. } => {
            // Slow answers do not show that a node has recovered, unless they are slow for want of the object.
            let fetched = outcome.cache == CacheResult::Miss;
            let fast = fetched || !notes.is_slow(outcome.first_byte_us, operation);
            notes.breaker.probed(now, success && fast, &step)
        }
        State::Open { .. } => None,
    };
    settle(now, notes, transition);
    transition
}

/// What a change of the breaker means for the rest of the notes.
pub(super) fn settle(now: Moment, notes: &mut NodeNotes, transition: Option<Transition>) {
    let Some(transition) = transition else { return };
    notes.begin_term();
    if transition.to == State::Closed {
        // It begins with an eighth of its weight; what its condition was is past.
        notes.ramp_since = Some(now);
        notes.condition.set(0);
        notes.service.clear();
        notes.recent = None;
    }
}
