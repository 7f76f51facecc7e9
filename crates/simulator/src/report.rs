//! What a simulation counts.

use std::collections::BTreeMap;

use super::node::Served;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::evaluate::{Evaluation, Reason, Rung, Verdict};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::Priority;
use tradewind_engine::rank::{self, Top};
use tradewind_engine::signal::observation::CacheResult;
use tradewind_engine::snapshot::Snapshot;

/// Ticks of a window of load.
const WINDOW_TICKS: u32 = 10;

/// Counts over a stretch of time.
#[derive(Debug, Clone)]
pub struct Report {
    capacities: Vec<u16>,
    /// Requests decided.
    pub requests: u64,
    /// Requests by the first node named.
    pub first: Vec<u64>,
    /// Requests that no node of their list answered.
    pub unanswered: u64,
    /// Answers without a node, those that are shed left out.
    pub empty: u64,
    /// What became of requests, by the rank of their priority.
    pub by_priority: [Fates; Priority::ALL.len()],
    /// Hits, of the answers that tell.
    pub hits: u64,
    /// Hits and misses.
    pub cached: u64,
    /// Requests whose first node was not the plain owner though their key was not hot, their owner well and nothing
    /// spilled.
    pub strayed: u64,
    /// Decisions by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Decisions by rung.
    pub rungs: BTreeMap<Rung, u64>,
    /// Times to an answer in microseconds, retries included.
    pub took_us: Vec<u64>,
    /// Largest load over mean load, by weight, of each second.
    pub imbalance: Vec<f64>,
    /// What publications did to the probe keys, together.
    pub disruption: Disruption,
    /// What the control loop did.
    pub events: Vec<Event>,
    /// Hot keys at the last tick.
    pub hot_keys: usize,
    window: Vec<u64>,
    window_ticks: u32,
}

/// What became of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fates {
    /// A node answered them.
    pub answered: u64,
    /// No node of their list did.
    pub unanswered: u64,
    /// They were turned away.
    pub shed: u64,
}

impl Report {
    /// What became of requests of a priority.
    pub fn of(&self, priority: Priority) -> Fates {
        let fates = self.by_priority.get(usize::from(priority.rank()));
        fates.copied().unwrap_or_default()
    }

    pub(super) fn new(capacities: Vec<u16>) -> Self {
        Self {
            requests: 0,
            first: vec![0; capacities.len()],
            unanswered: 0,
            empty: 0,
            by_priority: [Fates::default(); Priority::ALL.len()],
            hits: 0,
            cached: 0,
            strayed: 0,
            reasons: BTreeMap::new(),
            rungs: BTreeMap::new(),
            took_us: Vec::new(),
            imbalance: Vec::new(),
            disruption: Disruption::default(),
            events: Vec::new(),
            hot_keys: 0,
            window: vec![0; capacities.len()],
            window_ticks: 0,
            capacities,
        }
    }

    /// An empty one for the same fleet, whose window of load goes on.
    pub(super) fn fresh(&self) -> Self {
        Self {
            window: self.window.clone(),
            window_ticks: self.window_ticks,
            ..Self::new(self.capacities.clone())
        }
    }

    /// Share of requests for which a node was named first.
    pub fn share_of(&self, node: NodeIndex) -> f64 {
        let own = self.first.get(node.get()).copied().unwrap_or(0);
        from_u64(own) / from_u64(self.requests.max(1))
    }

    /// Hit ratio of first attempts and retries alike.
    pub fn hit_ratio(&self) -> f64 {
        from_u64(self.hits) / from_u64(self.cached.max(1))
    }

    /// Mean of the imbalance over the seconds.
    pub fn mean_imbalance(&self) -> f64 {
        self.imbalance.iter().sum::<f64>() / from_u64(self.imbalance.len() as u64).max(1.0)
    }

    /// The imbalance that 99 of 100 seconds do not exceed.
    pub fn p99_imbalance(&self) -> f64 {
        let mut sorted = self.imbalance.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or(0.0)
    }

    pub(super) fn decided(&mut self, snapshot: &Snapshot, evaluation: &Evaluation) {
        self.requests += 1;
        *self.reasons.entry(evaluation.reason).or_default() += 1;
        *self.rungs.entry(evaluation.rung).or_default() += 1;
        if evaluation.verdict == Verdict::Refuse {
            self.empty += 1;
        }
        let Some(first) = evaluation.picks.first() else {
            return;
        };
        for counts in [&mut self.first, &mut self.window] {
            if let Some(count) = counts.get_mut(first.node.get()) {
                *count += 1;
            }
        }
        if evaluation.reason == Reason::Owner
            && plain_owner(snapshot, evaluation) != Some(first.node)
        {
            self.strayed += 1;
        }
    }

    pub(super) fn attempted(&mut self, served: &Served) {
        match served.cache {
            CacheResult::Hit => {
                self.hits += 1;
                self.cached += 1;
            }
            CacheResult::Miss | CacheResult::Changed => self.cached += 1,
            _ => {}
        }
    }

    /// A request was turned away.
    pub(super) fn shed(&mut self, priority: Priority) {
        if let Some(fates) = self.by_priority.get_mut(usize::from(priority.rank())) {
            fates.shed += 1;
        }
    }

    pub(super) fn answered(&mut self, priority: Priority, is_answered: bool, took_us: u64) {
        if let Some(fates) = self.by_priority.get_mut(usize::from(priority.rank())) {
            fates.answered += u64::from(is_answered);
            fates.unanswered += u64::from(!is_answered);
        }
        self.unanswered += u64::from(!is_answered);
        self.took_us.push(took_us);
    }

    pub(super) fn events(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
    }

    pub(super) fn disrupted(&mut self, disruption: Disruption) {
        self.disruption.add(&disruption);
    }

    pub(super) fn ticked(&mut self, snapshot: &Snapshot) {
        self.hot_keys = snapshot.signals().hot.keys().len();
        self.tick_window();
    }

    /// Ends a second of load, when it has ended.
    pub(super) fn tick_window(&mut self) {
        self.window_ticks += 1;
        if self.window_ticks < WINDOW_TICKS {
            return;
        }
        self.window_ticks = 0;
        let all: u64 = self.window.iter().sum();
        let capacity: u64 = self.capacities.iter().map(|c| u64::from(*c)).sum();
        let mean = from_u64(all) / from_u64(capacity.max(1));
        let loads = self.window.iter().zip(&self.capacities);
        let most = loads
            .map(|(count, capacity)| from_u64(*count) / f64::from(*capacity))
            .fold(0.0, f64::max);
        if all > 0 {
            self.imbalance.push(most / mean);
        }
        self.window.fill(0);
    }
}

/// The owner by hash alone, among the nodes of the best site that may be named.
fn plain_owner(snapshot: &Snapshot, evaluation: &Evaluation) -> Option<NodeIndex> {
    let decision = tradewind_engine::decision::Decision::new(snapshot, evaluation);
    let tier = decision.tier()?;
    let roster = snapshot.lane(evaluation.lane).table(tier.set).ready();
    let segment = roster.segment(evaluation.sites.first()?.position)?;
    let mut top = Top::new(1);
    rank::rank(roster.columns(), segment, evaluation.key, &mut top);
    roster.node_at(top.first()?.position)
}
