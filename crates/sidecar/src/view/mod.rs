//! What the control loop knows, for people and metrics: made once a second by the writer, read by the debug door.

pub mod events;
pub mod guards;
pub mod hearing;
pub mod history;
pub mod home;
pub mod in_use;
pub mod journal;
pub mod lasting;
mod node;
pub mod rule_hits;
pub mod standing;
mod sums;
pub mod troubles;
pub mod unasked;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::view::hearing::Hearing;
use crate::view::troubles::{DoubtView, ReadmissionView};
use in_use::{Counted, Use};
pub use node::NodeView;
use node::node_view;
use tradewind_engine::control::ballast::hot_key_nodes;
use tradewind_engine::control::heard::Topic;
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::control::totals::SiteTotals;
use tradewind_engine::control::{Control, NodeReport};
use tradewind_engine::health::blame::Failing;
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::{ClassNumber, SetIndex, SetNumber};
use tradewind_engine::signal::agreed::AgreedCounts;
use tradewind_engine::signal::{Admission, Evidence};
use tradewind_engine::snapshot::{LaneIndex, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;

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
    /// Objects that fail, or are slow, wherever they are asked for.
    pub failing: Vec<FailingView>,
    /// Failures that were known at once to be such an object's, since the start.
    pub object_failures: u64,
    /// Every pool.
    pub pools: BTreeMap<String, PoolView>,
    /// Parts of pools that rules may use, in the policy's order.
    pub parts: Vec<PartView>,
    /// Changes of breakers since the start, by node, new state and cause.
    pub transitions: Transitions,
    /// What the last publication did to the probe keys, and all together.
    pub disruption: (Disruption, Disruption),
    /// Age of the youngest signal of each kind in ms, where there is one.
    pub ages_ms: BTreeMap<&'static str, u64>,
    /// The last publication that moved a share of the probe keys worth telling of, and when.
    pub last_move: Option<(Moment, Disruption)>,
    /// When it was made, as the control loop counts time.
    pub made_at: Moment,
    /// Whether this sidecar seems cut off.
    pub isolated: bool,
    /// Since when it does.
    pub doubt: Option<DoubtView>,
    /// Median and 99th percentile of times at all nodes in ms, where there are any.
    pub times_ms: Option<(f64, f64)>,
    /// Share of the answers of all nodes that came from a cache, where that was told.
    pub hit_ratio: Option<f64>,
    /// Pairs of a cell and a site whose round trips are kept, and how many had to go.
    pub network_pairs: (usize, u64),
    /// What is left of the share of keys that may move without need; `None` before anything is in force.
    pub allowance_left: Option<f64>,
    /// Who tells what, and how much of it is believed.
    pub hearing: Hearing,
}

/// An object that fails, or is slow, wherever it is asked for: no node is blamed for it.
#[derive(Debug, Clone, Serialize)]
pub struct FailingView {
    /// The hash of its key, as explanations show it.
    pub key_hash: String,
    /// `failing`, or `slow` where answers come late or not in time.
    pub how: &'static str,
    /// Nodes it failed at last, four at most.
    pub nodes: Vec<String>,
    /// How often.
    pub failures: u32,
    /// Since when, ms ago.
    pub since_ms: u64,
    /// When it last did, ms ago.
    pub last_ms: u64,
    /// The last status; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A pool, or the part of one that a rule may use.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PoolView {
    /// How far its nodes are readmitted.
    #[serde(flatten)]
    pub readmission: ReadmissionView,
    /// How many of them decisions use.
    #[serde(flatten)]
    pub used: Counted,
    /// Mean share of its nodes' keys that spill, 0 to 1.
    pub spill_ratio: f64,
    /// Its hot keys.
    pub hot_keys: usize,
}

/// The part of a pool that a rule's `require` and `geofence` leave.
#[derive(Debug, Clone, Serialize)]
pub struct PartView {
    /// The pool.
    pub pool: String,
    /// The first rule that may use only this part of it.
    pub rule: String,
    /// How it fares.
    #[serde(flatten)]
    pub view: PoolView,
}

/// A site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteView {
    /// Its terms by class, those that do not depend on the client; the first is of requests without a class.
    pub classes: Vec<TermsView>,
    /// Share of its groups of clients that use the next site.
    pub spill_ratio: f64,
    /// Requests per second sent there by this sidecar.
    pub requests_per_second: f64,
    /// Mean utilisation of its nodes, as far as they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f64>,
    /// Share of its answers that came from a cache, where that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
    /// How long nothing has been sent there, in ms; absent while something is, and where nothing ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unasked_ms: Option<u64>,
    /// Since when none of its nodes is ready, ms ago; absent while one is, or when it never was otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_since_ms: Option<u64>,
    /// That it was left, and how it is tried; absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
    /// What came of it since it joined, for metrics.
    #[serde(skip)]
    pub totals: SiteTotals,
}

/// A site that was left, and is tried with a slice of keys.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TrialView {
    /// The term it was left for.
    pub blame: &'static str,
    /// Since when, ms ago.
    pub since_ms: u64,
    /// Answers of the present round.
    pub answers: u32,
    /// Those of them that failed.
    pub failures: u32,
    /// Answers that a round needs.
    pub needed: u32,
}

/// The terms of a site for a class, in ms.
#[derive(Debug, Clone, Serialize)]
pub struct TermsView {
    /// The class; empty of requests without one.
    pub class: String,
    /// Each with its name: the best estimates.
    pub terms_ms: BTreeMap<&'static str, f32>,
    /// What the site is chosen by besides the way there: their sum, held still.
    pub choice_ms: f32,
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
    /// The pool whose requests ask for it.
    pub pool: String,
    /// The rule, where that may use a part of the pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The site whose nodes carry it.
    pub site: String,
    /// Its share of that site's requests.
    pub share: f32,
    /// How many nodes carry it.
    pub copies: u8,
    /// Those of them that there are, in its own order.
    pub nodes: Vec<String>,
    /// Its requests a second, by this sidecar, as far as the site's are known.
    pub rate: f64,
    /// How long it has been one, in ms.
    pub since_ms: u64,
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
            made_at: now,
            isolated: snapshot.signals().isolated,
            doubt: control.doubt().map(|doubt| DoubtView::new(now, doubt)),
            network_pairs: control.network_pairs(),
            // Whoever has not paid anything has all of it.
            allowance_left: (control.allowance_left())
                .or(Some(policy.operation().moved_ratio_per_minute)),
            ..Self::default()
        };
        let used = in_use::of_nodes(snapshot);
        for (index, _) in topology.indexed_nodes() {
            if let Some(report) = control.node_report(now, index, policy.operation()) {
                view.note_ages(now, &report);
                let how = used.get(index.get()).copied().unwrap_or_default();
                view.nodes
                    .push(node_view(now, &report, (how, policy.operation())));
            }
        }
        let lane = snapshot.lane(LaneIndex::First);
        let sites = topology.sites().iter().zip((0_u16..).map(SiteIndex));
        view.sites = sites
            .map(|(_, site)| SiteView {
                classes: (lane.numbered().classes().iter())
                    .map(|class| terms_view(snapshot, *class, site))
                    .collect(),
                spill_ratio: f64::from(snapshot.signals().site(site).spill) / 256.0,
                requests_per_second: 0.0,
                utilisation: None,
                hit_ratio: None,
                unasked_ms: None,
                not_ready_since_ms: None,
                trial: control.trial_report(site).map(|trial| TrialView {
                    blame: trial.blame.name(),
                    since_ms: now.since(trial.since),
                    answers: trial.answers.0,
                    failures: trial.answers.1,
                    needed: trial.needed,
                }),
                totals: control.site_totals(site).copied().unwrap_or_default(),
            })
            .collect();
        sums::note(&mut view, topology);
        view.note_sites_not_ready(snapshot, &used);
        view.note_pools((now, control), snapshot, &used);
        view.object_failures = control.blame().excused();
        view.failing = control
            .blame()
            .failing()
            .into_iter()
            .filter(|object| !is_told_by_disbelieved(control, object))
            .map(|object| failing_view(now, &object, topology))
            .collect();
        view.note_hot_keys(snapshot);
        view
    }

    fn note_hot_keys(&mut self, snapshot: &Snapshot) {
        let (topology, lane) = (snapshot.topology(), snapshot.lane(LaneIndex::First));
        let names = lane.routing().set_names();
        let name = |set: SetNumber| names.get(lane.numbered().position_of(set)?.get());
        let rate_at = |site: SiteIndex| {
            let site = self.sites.get(site.get());
            site.map_or(0.0, |site| site.requests_per_second)
        };
        let nodes_of = |key| hot_key_nodes(snapshot, key).into_iter();
        let keys = snapshot.signals().hot.keys().iter().take(MAX_HOT_LISTED);
        let hot = keys.map(|key| HotView {
            key_hash: format!("{:016x}", key.key.0),
            pool: name(key.set).map_or_else(String::new, |name| name.pool.to_owned()),
            rule: name(key.set).and_then(|name| name.rule.map(str::to_owned)),
            site: topology.site(key.site).id.to_string(),
            share: key.share,
            copies: key.copies,
            nodes: nodes_of(key)
                .map(|node| topology.node(node).id.to_string())
                .collect(),
            rate: f64::from(key.share) * rate_at(key.site),
            since_ms: 0,
        });
        self.hot = hot.collect();
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
        youngest("hit", hits.map(AgreedCounts::last).max());
        let probed = notes.probe.verdict().is_some();
        youngest("health", probed.then(|| notes.probe.observed_at()));
    }

    /// A site has not been ready since the last of its nodes was.
    fn note_sites_not_ready(&mut self, snapshot: &Snapshot, used: &[Use]) {
        let mut youngest: Vec<Option<u64>> = vec![None; self.sites.len()];
        let nodes = snapshot.topology().nodes().iter().zip(&self.nodes);
        for (node, view) in nodes.filter(|(_, view)| view.admission != Admission::Admitted) {
            if let Some(known) = youngest.get_mut(node.site.get()) {
                *known = Some(known.map_or(view.since_ms, |known| known.min(view.since_ms)));
            }
        }
        let counted = Counted::by_site(snapshot, used);
        for ((site, counted), youngest) in self.sites.iter_mut().zip(counted).zip(youngest) {
            site.not_ready_since_ms = youngest.filter(|_| !counted.ready);
        }
    }

    fn note_pools(
        &mut self,
        (now, control): (Moment, &Control),
        snapshot: &Snapshot,
        used: &[Use],
    ) {
        let (routing, signals) = (snapshot.routing(), snapshot.signals());
        let mut hot_keys = vec![0; snapshot.numbers().sets()];
        for key in signals.hot.keys() {
            if let Some(count) = hot_keys.get_mut(key.set.get()) {
                *count += 1;
            }
        }
        let view = |set: SetIndex| {
            let members = routing.node_set(set).members();
            let number = snapshot.table(set).number();
            let spill: u64 = members
                .iter()
                .map(|node| u64::from(signals.node(*node).spill))
                .sum();
            let step = signals.readmission(number);
            PoolView {
                readmission: ReadmissionView::new(now, step, &control.set_report(number)),
                used: Counted::in_set(snapshot, set, used),
                spill_ratio: from_u64(spill) / 256.0 / from_u64(members.len() as u64).max(1.0),
                hot_keys: hot_keys.get(number.get()).copied().unwrap_or(0),
            }
        };
        for pool in routing.pools() {
            self.pools.insert(pool.name.to_string(), view(pool.set()));
        }
        let names = routing.set_names().into_iter().zip(0_u16..);
        let parts = names.filter_map(|(name, at)| {
            Some(PartView {
                pool: name.pool.to_owned(),
                rule: name.rule?.to_owned(),
                view: view(SetIndex::new(at)),
            })
        });
        self.parts = parts.collect();
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

/// Whether nobody says so but one whose failures nobody else sees.
fn is_told_by_disbelieved(control: &Control, object: &Failing) -> bool {
    let mut reporters = control.heard().reporters();
    let teller = reporters.find(|(reporter, _)| Some(*reporter) == object.only_by);
    teller.is_some_and(|(_, notes)| notes.lasting().any(|(topic, _)| topic == Topic::Failures))
}

fn failing_view(now: Moment, object: &Failing, topology: &Topology) -> FailingView {
    FailingView {
        key_hash: format!("{:016x}", object.key.0),
        how: if object.is_late { "slow" } else { "failing" },
        nodes: object
            .nodes
            .iter()
            .map(|node| topology.node(*node).id.to_string())
            .collect(),
        failures: object.failures,
        since_ms: now.since(object.since),
        last_ms: now.since(object.last),
        status: Some(object.status).filter(|status| *status > 0),
    }
}

fn terms_view(snapshot: &Snapshot, class: ClassNumber, site: SiteIndex) -> TermsView {
    let sites = snapshot.topology().sites().len();
    let standing = snapshot.signals().standing(class, site, sites);
    let standing = standing.copied().unwrap_or_default();
    let named = standing.terms.named().into_iter();
    let shown = named.filter(|(name, _)| !matches!(*name, "network" | "cost"));
    let evidence = [
        ("service", standing.service),
        ("queue", standing.queue),
        ("miss", standing.miss),
        ("error", standing.error),
    ];
    TermsView {
        class: snapshot
            .numbers()
            .class_name(class)
            .unwrap_or_default()
            .to_owned(),
        terms_ms: shown.collect(),
        choice_ms: standing.choice_ms(),
        evidence: evidence
            .into_iter()
            .map(|(name, evidence)| (name, evidence.into()))
            .collect(),
    }
}
