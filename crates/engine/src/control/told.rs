//! What the loop is told: decisions, outcomes, load, probes, an operator's reset.

use hdrhistogram::Histogram;

use super::bearing::Bearing;
use super::breakers::{settle, tried};
use super::cohorts::{Cohorts, Decided, Fared};
use super::event::Event;
use super::node::NodeNotes;
use super::on_trial::TrialStep;
use super::recent::{Claim, Recent, RecentDecisions};
use super::unbelieved::Unbelieved;
use super::{Control, Next};
use crate::hash::NodeSeed;
use crate::model::NodeIndex;
use crate::number::to_u64;
use crate::policy::{Affinity, Operation};
use crate::signal::observation::{Dispatch, LoadReport, Outcome, ProbeResult, Reporter, Standing};
use crate::time::Moment;

/// Half of the window that a node's own histograms are merged into, in ms.
const SERVICE_MERGE_MS: u64 = 5_000;

/// Attempts that are kept between two ticks for whoever tells others of them; of more than a million a second the first count.
const MAX_ATTEMPTS: usize = 100_000;

/// An attempt that was believed, and bears on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// The node: it outlives positions.
    pub node: NodeSeed,
    /// Whether it succeeded.
    pub is_good: bool,
    /// Time to the first byte of what needed no fetch, in microseconds; 0 otherwise.
    pub first_byte_us: u32,
}

impl Attempted {
    fn of(node: NodeSeed, outcome: &Outcome, is_good: bool) -> Self {
        let is_hit = outcome.cache.is_hit() == Some(true);
        Self {
            node,
            is_good,
            first_byte_us: if is_hit { outcome.first_byte_us } else { 0 },
        }
    }
}

impl Control {
    /// From now on attempts are kept until they are taken.
    pub fn keep_attempts(&mut self) {
        self.attempts = Some(Vec::new());
    }

    /// The attempts since the last call, where they are kept.
    pub fn take_attempts(&mut self) -> Vec<Attempted> {
        let attempts = self.attempts.as_mut();
        attempts.map_or_else(Vec::new, std::mem::take)
    }

    /// A decision was made.
    pub fn dispatched(&mut self, dispatch: &Dispatch, affinity: Affinity) {
        self.recent.insert(self.last_tick, dispatch);
        self.ballast.dispatched(dispatch, affinity);
        self.trying.dispatched(dispatch.is_trial);
        self.retrying.dispatched();
        if let Some(notes) = self.nodes.get_mut(dispatch.node.get()) {
            notes.dispatched += 1;
            if let Some(sent) = notes.sent.get_mut(usize::from(dispatch.priority.rank())) {
                *sent += 1;
            }
            notes.breaker.dispatched(dispatch.generation);
        }
    }

    /// An attempt at a node ended. Whether it was about a node there is.
    pub fn outcome(&mut self, now: Moment, outcome: &Outcome, next: Next<'_>) -> bool {
        let Some(notes) = self.nodes.get_mut(outcome.node.get()) else {
            return false;
        };
        let recent = match believe(now, &mut self.recent, notes, outcome) {
            Ok(recent) => recent,
            Err(why) => {
                self.heard.disbelieved(now, outcome.reporter, why);
                return true;
            }
        };
        if let Some(recent) = recent {
            let is_further = outcome.attempt > 1;
            let word = (recent.is_first_word(is_further), is_further);
            self.retrying.told(now, outcome.reporter, word);
        }
        let bearing = self.bearing(now, outcome, recent, next);
        if let (Some(cohorts), Some(recent)) = (&mut self.cohorts, recent) {
            cohorts.outcome(now, &recent, (outcome, bearing));
        }
        let is_good = bearing == Bearing::Good;
        self.heard.outcome(now, outcome.reporter, is_good);
        let operation = next.policy.operation();
        let class = recent.map_or(0, |recent| recent.class.get());
        let generation = recent.and_then(|recent| recent.generation);
        if let Some(notes) = self.nodes.get_mut(outcome.node.get()) {
            notes.last_outcome = Some(now);
            notes.totals.attempted(outcome.result);
            if outcome.was_heard() {
                notes.last_answer = Some((now, is_good));
            }
            if is_good {
                notes.answered(now, outcome, (class, generation), operation);
            }
            if matches!(bearing, Bearing::Good | Bearing::Bad) {
                if let Some(attempts) = &mut self.attempts
                    && attempts.len() < MAX_ATTEMPTS
                {
                    let node = next.topology.node(outcome.node).seed;
                    attempts.push(Attempted::of(node, outcome, is_good));
                }
                let counted = (u32::from(is_good), u32::from(!is_good));
                notes.attempted((now, generation), (outcome.reporter, counted), operation);
            }
        }
        if is_good && recent.is_some() {
            self.note_changes(now, class, outcome);
        }
        self.judge(now, outcome, (bearing, generation), next);
        self.note_at_site(now, outcome, (bearing, class), next);
        let site = next.topology.site_of(outcome.node);
        if let Some(group) = recent.and_then(|recent| recent.group)
            && outcome.client_round_trip_us > 0
        {
            let told = (outcome.reporter, outcome.client_round_trip_us);
            self.network.record(now, (group, site), told);
        }
        true
    }

    /// What an outcome says of its site, and of how often its node fails.
    fn note_at_site(
        &mut self,
        now: Moment,
        outcome: &Outcome,
        (bearing, class): (Bearing, usize),
        next: Next<'_>,
    ) {
        let operation = next.policy.operation();
        let usual = self
            .nodes
            .get(outcome.node.get())
            .and_then(|notes| notes.usual);
        let site = next.topology.site_of(outcome.node);
        let Some(notes) = self.sites.get_mut(site.get()) else {
            return;
        };
        notes.totals.attempted(outcome);
        let is_good = match bearing {
            Bearing::Good => true,
            Bearing::Bad => false,
            Bearing::Repeated | Bearing::Excused | Bearing::Busy => return,
        };
        if let Some(trial) = &mut notes.on_trial {
            trial.add(now, outcome, is_good);
        }
        if !is_good {
            return;
        }
        let when = (now, operation.hit_max_age_ms);
        if let Some(hit) = outcome.cache.is_hit() {
            notes.count_hit(when, class, (outcome.reporter, hit));
        }
        if outcome.cache.is_fetch() && outcome.first_byte_us > 0 {
            let usual_us = usual.map_or(0.0, |usual| usual.median_us);
            let us = to_u64(f64::from(outcome.first_byte_us) - usual_us);
            let us = u32::try_from(us).unwrap_or(u32::MAX);
            notes.fetched(when, class, (outcome.reporter, us));
        }
    }

    /// From now on it is counted how requests fare that a candidate decides, and the others beside them; with `None` no
    /// longer. What was counted of the same candidate is kept.
    pub fn watch_cohorts(&mut self, now: Moment, candidate: Option<u64>) {
        let Some(id) = candidate else {
            self.cohorts = None;
            return;
        };
        if self.cohorts.as_ref().is_none_or(|known| !known.is_of(id)) {
            self.cohorts = Some(Cohorts::new(now, id));
        }
    }

    /// So many decisions were made in each lane since this was told last.
    pub fn decided(&mut self, now: Moment, decided: [Decided; 2]) {
        if let Some(cohorts) = &mut self.cohorts {
            cohorts.decided(now, decided);
        }
    }

    /// How requests fared in each lane in the last `window_ms`; `None` where there is no candidate.
    pub fn fared(&self, now: Moment, window_ms: u64) -> Option<[Fared; 2]> {
        let cohorts = self.cohorts.as_ref()?;
        Some(cohorts.over(now, window_ms))
    }

    /// A node, or somebody for it, told of its load. Whether there is such a node.
    pub fn load(
        &mut self,
        now: Moment,
        node: NodeIndex,
        (who, report): ((Reporter, Standing), LoadReport),
        operation: &Operation,
    ) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        let when = (now, operation.load_max_age_ms);
        if let Some(agreed) = notes.load_words.hear(when, who, report) {
            notes.load = Some((agreed, now));
            self.heard.told_of_node(now, who.0);
        } else {
            self.heard.disbelieved(now, who.0, Unbelieved::Hearsay);
        }
        true
    }

    /// Somebody told of a node's service times, as a histogram in microseconds. Whether there is such a node.
    pub fn service_times(
        &mut self,
        now: Moment,
        node: NodeIndex,
        ((reporter, standing), times_us): ((Reporter, Standing), &Histogram<u64>),
    ) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        let told = (times_us.len(), standing != Standing::Other);
        match notes.credit.times(now, told, notes.dispatched) {
            Ok(most) => {
                let when = (now, SERVICE_MERGE_MS);
                notes.service.merge(when, reporter, (times_us, most));
                self.heard.told_of_node(now, reporter);
            }
            Err(why) => self.heard.disbelieved(now, reporter, why),
        }
        true
    }

    /// A probe came back. Whether there is such a node.
    pub fn probed(&mut self, now: Moment, result: ProbeResult, next: Next<'_>) -> bool {
        let salt = self.salt ^ u64::from(result.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(result.node.get()) else {
            return false;
        };
        if result.healthy {
            notes.last_answer = Some((now, true));
        }
        let operation = next.policy.operation();
        let was = notes.probe.verdict();
        let was_unhealthy = was == Some(false);
        let lasted_ms = was.map(|_| now.since(notes.probe.since()));
        if notes.probe.observe(now, result.healthy, &operation.probe) {
            if was_unhealthy && result.healthy {
                notes.ramp_since = Some(now);
            }
            self.events.push(Event::Probe {
                node: result.node,
                healthy: result.healthy,
                lasted_ms,
            });
            self.is_unsettled = true;
        }
        let word = (Reporter::PROBES, result.healthy);
        let transition = tried(now, notes, word, (salt, next));
        self.note(result.node, transition);
        true
    }

    /// Closes a node's breaker at an operator's word, and takes its site off trial. Whether there is such a node.
    pub fn reset_breaker(&mut self, now: Moment, node: NodeIndex, next: Next<'_>) -> bool {
        let operation = next.policy.operation();
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        let step = next.step(self.salt, notes, now);
        let transition = notes.breaker.reset(now, &step);
        settle(now, notes, (transition, operation));
        self.note(node, transition);
        self.end_trial(next.topology.site_of(node), TrialStep::Reset);
        true
    }
}

/// Whether an outcome is believed; and its decision, where that is known.
fn believe(
    now: Moment,
    recent: &mut RecentDecisions,
    notes: &mut NodeNotes,
    outcome: &Outcome,
) -> Result<Option<Recent>, Unbelieved> {
    let attempt = (outcome.node, outcome.attempt);
    let claim = outcome.decision.map_or(Claim::Unknown, |number| {
        recent.claim(now, number, attempt, outcome.key)
    });
    match claim {
        Claim::Good(recent) => {
            notes.credit.receipted(now);
            Ok(Some(recent))
        }
        Claim::Unknown => {
            notes.credit.unreceipted(now, notes.dispatched)?;
            Ok(None)
        }
        Claim::Old => Err(Unbelieved::Old),
        Claim::Repeated => Err(Unbelieved::Repeated),
    }
}
