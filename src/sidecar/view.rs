//! What the control loop knows, for people and metrics: made once a second by the writer, read by the debug door.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::control::meter::Disruption;
use crate::engine::control::{Control, NodeReport};
use crate::engine::health::breaker::State as BreakerState;
use crate::engine::model::{ClassIndex, NodeIndex, SiteIndex};
use crate::engine::number::{from_u64, to_u64, us_to_ms};
use crate::engine::signal::ratio::Counts;
use crate::engine::signal::{Evidence, Readmission};
use crate::engine::snapshot::Snapshot;
use crate::engine::time::Moment;
use crate::engine::topology::Topology;

/// How often it is made, in ms.
pub const EVERY_MS: u64 = 1_000;

/// Hot keys listed.
const MAX_HOT_LISTED: usize = 200;

/// How often breakers changed: by node, new state and cause.
pub type Transitions = BTreeMap<Transition, u64>;

/// A kind of change of a breaker: the node, its new state, why.
pub type Transition = (Box<str>, &'static str, &'static str);

/// What the control loop knows; see the module.
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    /// The fleet that positions refer to; `None` before the first.
    pub topology: Option<Arc<Topology>>,
    /// By node.
    pub nodes: Vec<NodeView>,
    /// By site.
    pub sites: Vec<SiteView>,
    /// Hot keys, hottest first.
    pub hot: Vec<HotView>,
    /// Hot keys in all, by pool name.
    pub hot_keys: BTreeMap<String, usize>,
    /// How far each pool is readmitted, and the mean share of its keys that spills.
    pub pools: BTreeMap<String, PoolView>,
    /// Changes of breakers since the start, by node, new state and cause.
    pub transitions: Transitions,
    /// What the last publication did to the probe keys, and all together.
    pub disruption: (Disruption, Disruption),
    /// Age of the youngest signal of each kind in ms, where there is one.
    pub ages_ms: BTreeMap<&'static str, u64>,
    /// Whether this sidecar seems cut off.
    pub isolated: bool,
    /// Pairs of a cell and a site whose round trips are kept, and how many had to go.
    pub network_pairs: (usize, u64),
    /// What is left of the share of keys that may move without need.
    pub allowance_left: Option<f64>,
}

/// A pool, as far as it is not well.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PoolView {
    /// `none` in good times.
    pub readmission: &'static str,
    /// The same as a number, 0 to 4.
    pub step: u8,
    /// Mean share of its nodes' keys that spill, 0 to 1.
    pub spill_ratio: f64,
}

/// A node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// What it may be named for.
    pub admission: &'static str,
    /// What says so.
    pub source: &'static str,
    /// Since when, ms ago.
    pub since_ms: u64,
    /// When that was last observed, ms ago; absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ms: Option<u64>,
    /// It stays in use only because its pools have lost too much already.
    pub ejection_denied: bool,
    /// Its breaker.
    pub breaker: BreakerView,
    /// What probes find; absent when it is not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_healthy: Option<bool>,
    /// Share of its capacity that it races with: condition times ramp.
    pub weight_ratio: f32,
    /// Its condition, 0 the best to 8.
    pub condition: u8,
    /// How much of the hot keys' traffic it takes, relative to others.
    pub headroom: f32,
    /// Share of its keys that spill, 0 to 1.
    pub spill_ratio: f64,
    /// Requests per second sent to it by this sidecar.
    pub requests_per_second: f64,
    /// Median service time in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_p50_ms: Option<f32>,
    /// 99th percentile in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_p99_ms: Option<f32>,
    /// Service times those are made from.
    pub service_samples: u64,
    /// Its usual median in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_p50_ms: Option<f32>,
    /// What it said of its utilisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f32>,
    /// How long ago, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_age_ms: Option<u64>,
    /// Hit ratio over all classes, where hits and misses were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
    /// What it said of its hit ratio, 0 to 1; for people only, because it does not say of which class or how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_hit_ratio: Option<f32>,
}

/// A breaker.
#[derive(Debug, Clone, Serialize)]
pub struct BreakerView {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// 0, 2 or 1.
    #[serde(skip)]
    pub number: u8,
    /// Why.
    pub cause: &'static str,
    /// Since when, ms ago.
    pub since_ms: u64,
    /// For how long it stays open still, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for_ms: Option<u64>,
}

/// A site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteView {
    /// Its terms by class, those that do not depend on the client; the first is of requests without a class.
    pub classes: Vec<TermsView>,
    /// Share of its groups of clients that use the next site.
    pub spill_ratio: f64,
}

/// The terms of a site for a class, in ms.
#[derive(Debug, Clone, Serialize)]
pub struct TermsView {
    /// Each with its name.
    pub terms_ms: BTreeMap<&'static str, f32>,
    /// What they rest on.
    pub evidence: BTreeMap<&'static str, EvidenceView>,
}

/// What a term rests on.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EvidenceView {
    /// Observations.
    pub samples: u32,
    /// Age of the last, in ms.
    pub age_ms: u32,
    /// How much of it is assumed, 0 to 1.
    pub prior_share: f32,
}

/// A hot key.
#[derive(Debug, Clone, Serialize)]
pub struct HotView {
    /// The hash of the key, 16 hexadecimal digits.
    pub key_hash: String,
    /// The site whose nodes carry it.
    pub site: String,
    /// Its share of that site's requests.
    pub share: f32,
    /// How many nodes carry it.
    pub copies: u8,
}

impl From<Evidence> for EvidenceView {
    fn from(evidence: Evidence) -> Self {
        let Evidence {
            samples,
            age_ms,
            prior_share,
        } = evidence;
        Self {
            samples,
            age_ms,
            prior_share,
        }
    }
}

impl FleetView {
    /// What `control` knows of the fleet of `snapshot`. Counts of changes are the caller's.
    pub fn new(now: Moment, control: &Control, snapshot: &Snapshot) -> Self {
        let (topology, policy) = (snapshot.topology(), snapshot.policy());
        let mut view = Self {
            topology: Some(Arc::clone(&snapshot.parts().topology)),
            disruption: control.disruption(),
            isolated: snapshot.signals().isolated,
            network_pairs: control.network_pairs(),
            allowance_left: control.allowance_left(),
            ..Self::default()
        };
        for (index, _) in topology.indexed_nodes() {
            if let Some(report) = control.node_report(now, index, policy.operation()) {
                view.note_ages(now, &report);
                view.nodes.push(node_view(now, &report));
            }
        }
        let classes = policy.classes().len() + 1;
        let sites = topology.sites().iter().zip((0_u16..).map(SiteIndex));
        view.sites = sites
            .map(|(_, site)| SiteView {
                classes: (0_u8..)
                    .map(ClassIndex)
                    .take(classes)
                    .map(|class| terms_view(snapshot, class, site))
                    .collect(),
                spill_ratio: f64::from(snapshot.signals().site(site).spill) / 256.0,
            })
            .collect();
        view.note_pools(snapshot);
        let hot = snapshot.signals().hot.keys();
        view.hot = hot
            .iter()
            .take(MAX_HOT_LISTED)
            .map(|key| HotView {
                key_hash: format!("{:016x}", key.key.0),
                site: topology.site(key.site).id.to_string(),
                share: key.share,
                copies: key.copies,
            })
            .collect();
        view
    }

    fn note_ages(&mut self, now: Moment, report: &NodeReport<'_>) {
        let notes = report.notes;
        let mut youngest = |signal, at: Option<Moment>| {
            if let Some(at) = at {
                let age = self.ages_ms.entry(signal).or_insert(u64::MAX);
                *age = now.since(at).min(*age);
            }
        };
        youngest("load", notes.load.map(|(_, at)| at));
        let timed = notes.service.count() > 0;
        youngest("latency", timed.then(|| notes.service.last()));
        let hits = notes.hits.iter().filter(|counts| counts.known() != (0, 0));
        youngest("hit", hits.map(Counts::last).max());
        let probed = notes.probe.verdict().is_some();
        youngest("health", probed.then(|| notes.probe.observed_at()));
    }

    fn note_pools(&mut self, snapshot: &Snapshot) {
        let (policy, signals) = (snapshot.policy(), snapshot.signals());
        for pool in policy.pools() {
            let Some(tier) = pool.plan.tiers.first() else {
                continue;
            };
            let step = signals.readmission(tier.set);
            let members = policy.node_set(tier.set).members();
            let spill: u64 = members
                .iter()
                .map(|node| u64::from(signals.node(*node).spill))
                .sum();
            let number = Readmission::ALL.iter().position(|other| *other == step);
            let view = PoolView {
                readmission: step.name(),
                step: u8::try_from(number.unwrap_or(0)).unwrap_or(0),
                spill_ratio: from_u64(spill) / 256.0 / from_u64(members.len() as u64).max(1.0),
            };
            self.pools.insert(pool.name.to_string(), view);
            let own = |key: &&crate::engine::signal::hot::HotKey| key.set == tier.set;
            let hot = signals.hot.keys().iter().filter(own).count();
            self.hot_keys.insert(pool.name.to_string(), hot);
        }
    }

    /// What is known of a node of the given fleet; `None` when the view is of another.
    pub fn node(&self, topology: &Arc<Topology>, node: NodeIndex) -> Option<&NodeView> {
        self.is_of(topology).then(|| self.nodes.get(node.get()))?
    }

    /// What is known of a site of the given fleet; `None` when the view is of another.
    pub fn site(&self, topology: &Arc<Topology>, site: SiteIndex) -> Option<&SiteView> {
        self.is_of(topology).then(|| self.sites.get(site.get()))?
    }

    fn is_of(&self, topology: &Arc<Topology>) -> bool {
        let own = self.topology.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, topology))
    }
}

fn node_view(now: Moment, report: &NodeReport<'_>) -> NodeView {
    let (notes, verdict) = (report.notes, &report.verdict);
    let breaker = &notes.breaker;
    let sums = notes.hits.iter().map(Counts::known);
    let (hits, misses) = sums.fold((0, 0), |(a, b), (hit, miss)| (a + hit, b + miss));
    NodeView {
        admission: report.signals.admission.name(),
        source: verdict.source.name(),
        since_ms: now.since(verdict.since),
        observed_ms: (verdict.observed_at > Moment::default())
            .then(|| now.since(verdict.observed_at)),
        ejection_denied: report.ejection_denied,
        breaker: BreakerView {
            state: breaker.state().name(),
            number: breaker.state().number(),
            cause: breaker.cause().name(),
            since_ms: now.since(breaker.since()),
            open_for_ms: match breaker.state() {
                BreakerState::Open { until } => Some(until.since(now)),
                BreakerState::Closed | BreakerState::HalfOpen { .. } => None,
            },
        },
        probe_healthy: notes.probe.verdict(),
        weight_ratio: report.signals.weight_factor,
        condition: notes.condition.level(),
        headroom: report.signals.headroom,
        spill_ratio: f64::from(report.signals.spill) / 256.0,
        requests_per_second: notes.rate,
        service_p50_ms: notes.median_ms(),
        service_p99_ms: notes.recent.map(|recent| us_to_ms(to_u64(recent.p99_us))),
        service_samples: notes.service.count(),
        usual_p50_ms: notes.usual.map(|usual| us_to_ms(to_u64(usual.median_us))),
        utilisation: notes.load.and_then(|(load, _)| load.utilisation),
        load_age_ms: notes.load.map(|(_, at)| now.since(at)),
        hit_ratio: (hits + misses > 0).then(|| from_u64(hits) / from_u64(hits + misses)),
        told_hit_ratio: notes.load.and_then(|(load, _)| load.hit_ratio),
    }
}

fn terms_view(snapshot: &Snapshot, class: ClassIndex, site: SiteIndex) -> TermsView {
    let sites = snapshot.topology().sites().len();
    let standing = snapshot.signals().standing(class, site, sites);
    let standing = standing.copied().unwrap_or_default();
    let named = standing.terms.named().into_iter();
    let shown = named.filter(|(name, _)| !matches!(*name, "network" | "cost"));
    let evidence = [
        ("queue", standing.queue),
        ("miss", standing.miss),
        ("error", standing.error),
    ];
    TermsView {
        terms_ms: shown.collect(),
        evidence: evidence
            .into_iter()
            .map(|(name, evidence)| (name, evidence.into()))
            .collect(),
    }
}
