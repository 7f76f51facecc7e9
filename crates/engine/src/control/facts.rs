//! The first half of a tick: what is concluded of the fleet, from what was told.
//!
//! Facts say how nodes, sites and ways *are*; what this process does about that ([`settle`](Control::settle)) is another
//! question, with an answer of its own: how much may be ejected at once, how far nodes are readmitted, whether it is this
//! process that is cut off. So Facts that somebody else concluded may stand for them, and the bounds hold all the same.

use std::sync::Arc;

use super::judgement::{Judgement, judgement};
use super::loads::utilisation_of;
use super::{Control, Next, SLOW_TICK_MS};
use crate::model::{NodeIndex, SiteIndex};
use crate::number::{from_u64, narrow};
use crate::signal::hot::HotTable;
use crate::signal::network::NetworkTable;
use crate::signal::trial::Trials;
use crate::signal::{Admission, SiteSignals, Standing};
use crate::snapshot::Snapshot;
use crate::time::Moment;

/// What is concluded of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// By [`NodeIndex`]; nodes past the end are as by default.
    pub nodes: Vec<NodeFacts>,
    /// By [`SiteIndex`].
    pub sites: Vec<SiteSignals>,
    /// Terms by class, then site, as in [`Signals`](crate::signal::Signals).
    pub standing: Vec<Standing>,
    /// Round trips measured.
    pub network: NetworkTable,
    /// Sites that are tried with a slice of keys.
    pub trials: Trials,
    /// Keys that several nodes carry.
    pub hot: HotTable,
    /// Changes whenever a term does that sites are chosen by.
    pub terms_version: u64,
    /// Changes whenever a path or a trial does.
    pub ways_version: u64,
}

/// What is concluded of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeFacts {
    /// What its record says of whether it may be named.
    pub verdict: Admission,
    /// Since when it has not been well.
    pub unwell_since: Option<Moment>,
    /// Where it stands among the nodes that breakers hold back, the first to go being 0; `None` where none does.
    pub place: Option<u32>,
    /// Its condition: 0 is the best, [`LEVELS`](super::condition::LEVELS) the worst.
    pub level: u8,
    /// How far its weight has grown since it began, in eighths, 1 to 8.
    pub ramp: u8,
    /// How much of the hot keys' traffic it can take, relative to others.
    pub headroom: f32,
    /// Of its keys, so many 256ths go to the next in their order.
    pub spill: u8,
    /// Of the keys that would come to it so, so many 256ths stay where they are.
    pub full: u8,
    /// What it sheds: its level, see [`overload`](crate::balance::overload).
    pub shed: u16,
}

impl Default for NodeFacts {
    fn default() -> Self {
        Self {
            verdict: Admission::Admitted,
            unwell_since: None,
            place: None,
            level: 0,
            ramp: 8,
            headroom: 1.0,
            spill: 0,
            full: 0,
            shed: 0,
        }
    }
}

impl Control {
    /// Lets time pass to `now`, and answers what is concluded of the fleet. `snapshot` is what decisions were made on.
    pub fn assess(&mut self, now: Moment, snapshot: &Snapshot) -> Arc<Facts> {
        let next = Next::after(snapshot);
        let passed_ms = from_u64(now.since(self.last_tick).max(1));
        let slow_passed_ms = now.since(self.last_slow_tick);
        self.last_tick = now;
        self.take_back(now, next);
        self.pardon(now, next);
        if self.meter.is_behind() {
            self.published(now, snapshot);
        }
        self.tick_breakers(now, next);
        self.leave_shedding(now, next);
        self.count_rates(passed_ms, next.topology);
        let hot = self.ballast.tick(passed_ms, snapshot);
        if slow_passed_ms >= SLOW_TICK_MS {
            self.last_slow_tick = now;
            self.learn_and_spill(now, next);
            let budget = next.policy.operation().retry_budget;
            self.retrying.step(now, budget);
            self.follow_conditions(now, next);
            self.compare_reporters(now);
            self.follow_changes();
            let terms_changed = self.follow_terms(now, next);
            let mut ways_changed = self.follow_network(now, snapshot);
            ways_changed |= self.follow_trials((now, slow_passed_ms), next);
            let facts = self.facts_mut();
            facts.terms_version += u64::from(terms_changed);
            facts.ways_version += u64::from(ways_changed);
        }
        let nodes = self.node_facts(now, next);
        let sites = self.site_facts(now, next);
        let facts = self.facts_mut();
        (facts.nodes, facts.sites, facts.hot) = (nodes, sites, hot);
        Arc::clone(&self.facts)
    }

    /// The facts of the last look, to be brought up to date. They are copied only where somebody still holds them.
    pub(super) fn facts_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    /// What is concluded of every node.
    fn node_facts(&mut self, now: Moment, next: Next<'_>) -> Vec<NodeFacts> {
        let operation = next.policy.operation();
        let judgements: Vec<Judgement> = (self.nodes.iter())
            .map(|notes| judgement(now, notes, operation))
            .collect();
        let seen = (&*self.nodes, &*judgements);
        self.unwell.observe(now, seen, operation, &mut self.events);
        let denied = |node| self.admission.denied().contains(&node);
        let places = self.unwell.places(&judgements, denied);
        let nodes = self.nodes.iter().zip(judgements).zip(places).zip(0_u32..);
        nodes
            .map(|(((notes, judgement), place), at)| {
                let node = NodeIndex(at);
                NodeFacts {
                    verdict: judgement.admission,
                    unwell_since: self.unwell.since(node),
                    place,
                    level: notes.condition.level(),
                    ramp: notes.ramp_eighths(now, operation.slow_start_ms),
                    headroom: narrow(self.ballast.headroom_of(node)),
                    spill: notes.spill,
                    full: notes.full,
                    shed: notes.overload.level(),
                }
            })
            .collect()
    }

    /// What is concluded of every site beyond its terms.
    pub(super) fn site_facts(&self, now: Moment, next: Next<'_>) -> Vec<SiteSignals> {
        let sites = self.sites.iter().zip(0_u16..);
        sites
            .map(|(site, at)| SiteSignals {
                spill: site.spill,
                full: site.full,
                utilisation: if site.spill > 0 {
                    let mean = utilisation_of(now, &self.nodes, (SiteIndex(at), next));
                    narrow(mean.unwrap_or(0.0))
                } else {
                    0.0
                },
            })
            .collect()
    }
}
