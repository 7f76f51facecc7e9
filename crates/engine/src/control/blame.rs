//! What an outcome counts as, once it is known whose fault it was; and what follows for breakers.

use super::bearing::Bearing;
use super::breakers::{settle, tried};
use super::event::Event;
use super::recent::Recent;
use super::{Control, Next};
use crate::hash::KeyHash;
use crate::health::blame::{Blame, Blamed, Case};
use crate::health::breaker::State;
use crate::health::isolation::ANSWER_MS;
use crate::model::NodeIndex;
use crate::signal::agreed::AgreedCounts;
use crate::signal::observation::{Finding, Outcome, Reporter};
use crate::time::Moment;

/// Failures whose decision nobody knows may all be one object's: of a node they count once in this time, in ms. A node that
/// answers nothing well is left after five of them all the same, and one object at one of three requests leaves nobody.
const UNKNOWN_FAILURE_MS: u64 = 1_000;

/// For so long after a node began to shed, requests that are late are laid to the load that it had then, in ms.
const SURGE_MS: u64 = 10_000;

impl Control {
    /// Objects that fail wherever they are asked for, and how many failures were theirs.
    pub fn blame(&self) -> &Blame {
        &self.blame
    }

    /// What an outcome counts as.
    pub(super) fn bearing(
        &mut self,
        now: Moment,
        outcome: &Outcome,
        recent: Option<Recent>,
        next: Next<'_>,
    ) -> Bearing {
        let keyed = recent.and_then(|recent| Some((recent, recent.key?)));
        let case = keyed.map(|(recent, key)| Case {
            now,
            node: outcome.node,
            reporter: outcome.reporter,
            decision: recent.number,
            asked: recent.at,
            key,
            status: outcome.status,
            cache: outcome.cache,
            is_slow: outcome.is_slow_fetch(),
        });
        let finding = outcome.finding();
        if matches!(finding, Finding::Good | Finding::Busy)
            && let Some(notes) = self.nodes.get_mut(outcome.node.get())
        {
            // Of no known decision: all of one key.
            let key = keyed.map_or(KeyHash(0), |(_, key)| key);
            let group = recent
                .and_then(|recent| recent.group)
                .map(|group| group.cell.id());
            let is_shed = finding == Finding::Busy;
            notes.shedding.note(now, (key, group), is_shed);
        }
        match (finding, case) {
            (Finding::Good, None) => Bearing::Good,
            (Finding::Good, Some(case)) => {
                if let Some(failed) = self.blame.answered(&case) {
                    let generation = recent.and_then(|recent| recent.generation);
                    self.count_failure(now, failed, generation, next);
                }
                Bearing::Good
            }
            (Finding::Busy, _) => Bearing::Busy,
            (Finding::Late, _) if self.is_surging(now, outcome.node) => Bearing::Busy,
            (Finding::Unreached, _) => Bearing::Bad,
            // Of a term that is over: it counts nowhere, so there is nothing to lay at another's door.
            (Finding::Failed | Finding::Late, Some(case))
                if !self.is_of_term(case.node, recent.and_then(|recent| recent.generation)) =>
            {
                Bearing::Bad
            }
            (Finding::Failed | Finding::Late, Some(case)) => {
                match self.blame.failed(&case, finding == Finding::Late) {
                    Blamed::Node => Bearing::Bad,
                    Blamed::Repeated => Bearing::Repeated,
                    Blamed::Object => Bearing::Excused,
                }
            }
            (Finding::Late, None) if outcome.cache.is_fetch() => Bearing::Excused,
            (Finding::Failed | Finding::Late, None) => self.unknown_failure(now, outcome.node),
        }
    }

    /// Whether a node has just begun to shed: what is late now waited behind what came before. To leave it for that would give
    /// its keys to others that have no room for them either.
    fn is_surging(&self, now: Moment, node: NodeIndex) -> bool {
        let notes = self.nodes.get(node.get());
        let since = notes.and_then(|notes| notes.sheds_since);
        since.is_some_and(|since| now.since(since) <= SURGE_MS)
    }

    /// Whether a decision on that generation is one that a node's breaker hears of now.
    fn is_of_term(&self, node: NodeIndex, generation: Option<u64>) -> bool {
        let notes = self.nodes.get(node.get());
        notes.is_some_and(|notes| notes.breaker.concerns(generation))
    }

    /// A failure whose decision nobody knows.
    fn unknown_failure(&mut self, now: Moment, node: NodeIndex) -> Bearing {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return Bearing::Repeated;
        };
        let counted = notes.unknown_failure;
        if counted.is_some_and(|at| now.since(at) < UNKNOWN_FAILURE_MS) {
            return Bearing::Repeated;
        }
        notes.unknown_failure = Some(now);
        Bearing::Bad
    }

    /// What an outcome means for its node's breaker.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        outcome: &Outcome,
        (bearing, generation): (Bearing, Option<u64>),
        next: Next<'_>,
    ) {
        let salt = self.salt ^ u64::from(outcome.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(outcome.node.get()) else {
            return;
        };
        // Where nobody tells with receipts, an outcome while some are awaited is of one of those.
        let is_awaited =
            generation.is_none() && notes.credit.has_no_receipts() && notes.breaker.awaits();
        if !notes.breaker.concerns(generation) && !is_awaited {
            return;
        }
        let operation = next.policy.operation();
        match (notes.breaker.state(), bearing) {
            (State::Closed, Bearing::Good) => {
                let told = (outcome.reporter, true);
                notes.testimony.add(now, told, &operation.breaker);
            }
            (State::Closed, Bearing::Bad) => {
                self.accuse(now, (outcome.node, outcome.reporter), next);
            }
            (State::HalfOpen { .. }, _) => {
                let success = match bearing {
                    // Slow answers do not show that a node has recovered, unless they are slow for want of the object.
                    Bearing::Good => {
                        let fetched = outcome.cache.is_fetch();
                        Some(fetched || !notes.is_slow(outcome.first_byte_us, operation))
                    }
                    Bearing::Bad | Bearing::Repeated => Some(false),
                    Bearing::Busy => notes.left_for_shedding.then_some(false),
                    Bearing::Excused => None,
                };
                let Some(success) = success else {
                    notes.breaker.came_back();
                    return;
                };
                let word = (outcome.reporter, success);
                let transition = tried(now, notes, word, (salt, next));
                self.note(outcome.node, transition);
            }
            (State::Closed | State::Open { .. }, _) => {}
        }
    }

    /// A failure is known late to be a node's own.
    fn count_failure(
        &mut self,
        now: Moment,
        (node, reporter): (NodeIndex, Reporter),
        generation: Option<u64>,
        next: Next<'_>,
    ) {
        let Some(notes) = self.nodes.get(node.get()) else {
            return;
        };
        if notes.breaker.state() == State::Closed && notes.breaker.concerns(generation) {
            self.accuse(now, (node, reporter), next);
        }
        if let Some(notes) = self.nodes.get_mut(node.get()) {
            let operation = next.policy.operation();
            notes.attempted((now, generation), (reporter, (0, 1)), operation);
        }
    }

    /// Counts a failure of a node whose breaker is closed, and opens it if that was one too many.
    fn accuse(&mut self, now: Moment, (node, reporter): (NodeIndex, Reporter), next: Next<'_>) {
        let settings = &next.policy.operation().breaker;
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return;
        };
        notes.testimony.add(now, (reporter, false), settings);
        if notes.testimony.verdict(now, settings).is_none() {
            return;
        }
        // Before it is believed, what is known by now to be the fault of objects is taken back.
        self.take_back(now, next);
        let salt = self.salt ^ u64::from(node.0) << 32;
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return;
        };
        let step = next.step(salt, notes, now);
        let cause = notes.testimony.verdict(now, settings);
        let transition = cause.and_then(|cause| notes.breaker.trip(now, cause, &step));
        settle(now, notes, (transition, next.policy.operation()));
        self.note(node, transition);
    }

    /// Takes back what counted against nodes and was the fault of objects, and tells of objects that fail.
    pub(super) fn take_back(&mut self, now: Moment, next: Next<'_>) {
        let review = self.blame.review(now);
        let operation = next.policy.operation();
        for taken in review.taken_back {
            if let Some(notes) = self.nodes.get_mut(taken.node.get()) {
                let failures = (taken.reporter, taken.count);
                notes.testimony.take_back(now, failures, &operation.breaker);
                let when = (now, operation.hit_max_age_ms);
                notes.attempts.take_back(when, taken.reporter, taken.count);
            }
        }
        let begun = review.begun.into_iter().map(|object| (object, true));
        let ended = review.ended.into_iter().map(|object| (object, false));
        for (object, begins) in begun.chain(ended) {
            self.events.push(Event::Object {
                key: object.key,
                nodes: object.nodes.len(),
                failures: object.failures,
                status: object.status,
                is_late: object.is_late,
                lasted_ms: (!begins).then(|| now.since(object.since)),
            });
        }
    }

    /// When the accused themselves answer while this sidecar seems cut off, it was, and what opened their breakers
    /// meanwhile shows nothing about them.
    pub(super) fn pardon(&mut self, now: Moment, next: Next<'_>) {
        if !self.admission.is_isolated() {
            return;
        }
        let accused: Vec<NodeIndex> = (0..self.nodes.len())
            .filter_map(|at| u32::try_from(at).ok().map(NodeIndex))
            .filter(|node| self.admission.disbelieves(self.unwell.since(*node)))
            .collect();
        let answers = |node: &NodeIndex| {
            let last = self
                .nodes
                .get(node.get())
                .and_then(|notes| notes.last_answer);
            last.is_some_and(|(at, good)| good && now.since(at) <= ANSWER_MS)
        };
        if !accused.iter().any(answers) {
            return;
        }
        // What was asked for until now failed for want of a way: that is no object's fault either.
        self.blame.pardon(now);
        for node in accused {
            let salt = self.salt ^ u64::from(node.0) << 32;
            let Some(notes) = self.nodes.get_mut(node.get()) else {
                continue;
            };
            // Nor do they count for its site.
            notes.attempts = AgreedCounts::default();
            let step = next.step(salt, notes, now);
            let transition = notes.breaker.pardon(now, &step);
            if transition.is_some() {
                // It was in use all the time, so its weight does not begin anew.
                notes.begin_term(now);
            }
            self.note(node, transition);
        }
    }
}
