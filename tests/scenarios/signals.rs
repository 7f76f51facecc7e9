//! The section `[signals]` of a scenario: what is known of the fleet's behaviour, a line a fact.

use tradewind::engine::evaluate::{Evaluation, evaluate};
use tradewind::engine::hash::KeyHash;
use tradewind::engine::model::{ClassIndex, NodeIndex, SiteIndex};
use tradewind::engine::policy::{Policy, SetIndex};
use tradewind::engine::query::{Client, Query};
use tradewind::engine::score::{ERROR_PENALTY_MS, PRIOR_ERROR_RATIO};
use tradewind::engine::signal::hot::{HotKey, HotTable};
use tradewind::engine::signal::network::{Measured, NetworkTable};
use tradewind::engine::signal::{
    Admission, Estimate, Evidence, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind::engine::snapshot::{RankTable, Snapshot};
use tradewind::engine::topology::Topology;

/// Pseudo-observations of the priors, as the control loop counts them.
const PRIOR_HITS: f64 = 200.0;
const PRIOR_ERRORS: f64 = 100.0;
const PRIOR_ROUND_TRIPS: f64 = 50.0;

/// Signals in the making, for the fleet, policy and clients of a snapshot that knows nothing.
struct Maker<'a> {
    snapshot: &'a Snapshot,
    signals: Signals,
    hot: Vec<HotKey>,
    measured: Vec<(u32, Measured)>,
}

/// Reads a section.
pub(crate) fn read(name: &str, text: &str, snapshot: &Snapshot) -> Signals {
    let (topology, policy) = (snapshot.topology(), snapshot.policy());
    let model = policy.score();
    let sites = (0_u16..).map(SiteIndex).take(topology.sites().len());
    let untold = |site| Standing {
        terms: model.standing_terms(site, &model.prior()),
        ..Standing::default()
    };
    let classes = policy.classes().len() + 1;
    let mut maker = Maker {
        snapshot,
        signals: Signals {
            nodes: vec![NodeSignals::default(); topology.nodes().len()],
            sites: vec![SiteSignals::default(); topology.sites().len()],
            standing: (0..classes)
                .flat_map(|_| sites.clone().map(untold))
                .collect(),
            readmission: vec![Readmission::None; policy.node_sets().len()],
            ..Signals::default()
        },
        hot: Vec::new(),
        measured: Vec::new(),
    };
    let lines = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        maker
            .line(line)
            .unwrap_or_else(|| panic!("{name}: `{line}` is no signal"));
    }
    maker.measured.sort_by_key(|(cell, row)| (*cell, row.site));
    Signals {
        network: NetworkTable::new(maker.measured),
        hot: HotTable::new(maker.hot),
        ..maker.signals
    }
}

impl Maker<'_> {
    fn line(&mut self, line: &str) -> Option<()> {
        if line == "isolated" {
            self.signals.isolated = true;
            return Some(());
        }
        let (of, what) = line.split_once(':')?;
        let what = what.trim();
        if let Some(pool) = of.strip_prefix("pool ") {
            self.pool(pool, what)
        } else if let Some(of) = of.strip_prefix("key ") {
            let (path, site) = of.split_once(" at ")?;
            self.hot_key(path, self.site(site)?, what)
        } else if let Some(of) = of.strip_prefix("client ") {
            let (ip, site) = of.split_once(" to ")?;
            self.client(ip, self.site(site)?, what)
        } else if let Some(site) = self.site(of) {
            self.at_site(site, what)
        } else {
            let node = self.topology().find_node(of)?;
            self.at_node(node, what)
        }
    }

    fn topology(&self) -> &Topology {
        self.snapshot.topology()
    }

    fn policy(&self) -> &Policy {
        self.snapshot.policy()
    }

    fn site(&self, id: &str) -> Option<SiteIndex> {
        let mut sites = self.topology().sites().iter().zip((0_u16..).map(SiteIndex));
        sites
            .find(|(site, _)| &*site.id == id)
            .map(|(_, index)| index)
    }

    /// `breaker open`, `probing 1%`, `weight 0.25`, `in flight 12` and so on.
    fn at_node(&mut self, node: NodeIndex, what: &str) -> Option<()> {
        let signals = self.signals.nodes.get_mut(node.get())?;
        match what {
            "breaker open" => signals.admission = Admission::BreakerOpen,
            "unhealthy" => signals.admission = Admission::Unhealthy,
            "unknown" => signals.admission = Admission::Unknown,
            "overloaded" => signals.admission = Admission::Overloaded,
            "busier than most" => signals.is_hot = true,
            _ => {
                let (field, value) = what.rsplit_once(' ')?;
                match field {
                    "probing" => {
                        let slice = tradewind::engine::number::share_of_u16(percent(value)?);
                        signals.admission = Admission::Probing { slice };
                    }
                    "spill" => {
                        signals.spill = tradewind::engine::number::share_of_u8(percent(value)?);
                    }
                    "weight" => signals.weight_factor = value.parse().ok()?,
                    "headroom" => signals.headroom = value.parse().ok()?,
                    "in flight" => signals.in_flight = value.parse().ok()?,
                    _ => signals.latency_ms = what.strip_prefix("latency ").and_then(ms)?,
                }
            }
        }
        Some(())
    }

    /// `spill 25%`, or an observed term: `queue 40 ms, 12 samples, 1 s old`.
    fn at_site(&mut self, site: SiteIndex, what: &str) -> Option<()> {
        if let Some(share) = what.strip_prefix("spill ") {
            let spill = tradewind::engine::number::share_of_u8(percent(share)?);
            self.signals.sites.get_mut(site.get())?.spill = spill;
            return Some(());
        }
        let (term, rest) = what.split_once(' ')?;
        let (value_ms, samples, age_ms) = observed(rest)?;
        let operation = self.policy().operation();
        let model = self.policy().score();
        let (load_max_age_ms, hit_max_age_ms) =
            (operation.load_max_age_ms, operation.hit_max_age_ms);
        let prior = model.standing_terms(site, &model.prior());
        let seen = Some((f64::from(value_ms), samples));
        let estimate = |prior, max_age_ms| Estimate::new(seen, prior, age_ms, max_age_ms);
        let (miss, error) = (
            estimate((f64::from(prior.miss), PRIOR_HITS), hit_max_age_ms),
            estimate(
                (
                    f64::from(PRIOR_ERROR_RATIO * ERROR_PENALTY_MS),
                    PRIOR_ERRORS,
                ),
                hit_max_age_ms,
            ),
        );
        // A queue is what nodes say of now: no prior but its fading to 0 past its age.
        let late_ms = age_ms.saturating_sub(load_max_age_ms) as f64;
        let fade = (-late_ms / load_max_age_ms as f64).exp2();
        let sites = self.topology().sites().len();
        for class in (0_u8..)
            .map(ClassIndex)
            .take(self.signals.standing.len() / sites)
        {
            let at = class.get() * sites + site.get();
            let standing = self.signals.standing.get_mut(at)?;
            match term {
                "queue" => {
                    standing.terms.queue = value_ms * fade as f32;
                    standing.queue = Evidence {
                        samples: u32::try_from(samples).ok()?,
                        age_ms: u32::try_from(age_ms).ok()?,
                        prior_share: 1.0 - fade as f32,
                    };
                }
                "miss" => {
                    (standing.terms.miss, standing.miss) = (miss.value as f32, miss.evidence);
                }
                "error" => {
                    (standing.terms.error, standing.error) = (error.value as f32, error.evidence);
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// `network 80 ms, 500 samples`, for the cell that the client is of.
    fn client(&mut self, ip: &str, site: SiteIndex, what: &str) -> Option<()> {
        let (value_ms, samples, age_ms) = observed(what.strip_prefix("network ")?)?;
        let query = Query {
            client: Client {
                ip: Some(ip.parse().ok()?),
                ..Client::default()
            },
            ..Query::default()
        };
        let located = self.ask(&query).located;
        let spot = located.spot?;
        let cell = spot.cell_index?;
        let tables = (0_u16..).map(|set| self.snapshot.table(SetIndex::new(set)));
        let row = tables
            .take(self.policy().node_sets().len())
            .flat_map(RankTable::sites)
            .find(|row| row.site == site)?;
        let chord = tradewind::engine::geo::distance::chord_squared(spot.point, row.point);
        let prior_ms = f64::from(self.policy().score().geographic_ms(chord));
        let estimate = Estimate::new(
            Some((f64::from(value_ms), samples)),
            (prior_ms, PRIOR_ROUND_TRIPS),
            age_ms,
            self.policy().operation().latency_max_age_ms,
        );
        let measured = Measured {
            site,
            network_ms: estimate.value as f32,
            evidence: estimate.evidence,
        };
        self.measured.push((u32::try_from(cell).ok()?, measured));
        Some(())
    }

    /// `hot, 8 copies`, for what a request for the path would be ranked by.
    fn hot_key(&mut self, path: &str, site: SiteIndex, what: &str) -> Option<()> {
        let copies = what.strip_prefix("hot, ")?.strip_suffix(" copies")?;
        let query = Query {
            host: "www.example.com",
            path,
            ..Query::default()
        };
        let key: KeyHash = self.ask(&query).key;
        let sets = self.policy().node_sets().iter().zip(0_u16..);
        let among = sets.filter(|(set, _)| set.sites().iter().any(|known| known.site == site));
        let hot: Vec<HotKey> = among
            .map(|(_, at)| HotKey {
                key,
                set: SetIndex::new(at),
                site,
                share: 0.1,
                copies: copies.parse().unwrap_or(1),
            })
            .collect();
        self.hot.extend(hot);
        Some(())
    }

    /// `readmission half_open`, for every set of nodes that rules make of the pool.
    fn pool(&mut self, pool: &str, what: &str) -> Option<()> {
        let word = what.strip_prefix("readmission ")?;
        let step = Readmission::ALL
            .into_iter()
            .find(|step| step.name() == word)?;
        let policy = self.snapshot.policy();
        let rules = policy.rules().iter().map(|rule| &rule.plan);
        let plans = rules.chain(policy.pools().iter().map(|pool| &pool.plan));
        let tiers = plans.flat_map(|plan| &plan.tiers);
        let mut found = None;
        for tier in tiers.filter(|tier| policy.pool_name(tier.pool) == pool) {
            *self.signals.readmission.get_mut(tier.set.get())? = step;
            found = Some(());
        }
        found
    }

    fn ask(&self, query: &Query<'_>) -> Evaluation {
        evaluate(self.snapshot, query)
    }
}

/// `25%` as a ratio.
fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.parse().ok()?;
    Some(number / 100.0)
}

/// `40 ms`.
fn ms(text: &str) -> Option<f32> {
    text.strip_suffix(" ms")?.parse().ok()
}

/// `40 ms, 12 samples, 1 s old`, the last of it where it matters.
fn observed(text: &str) -> Option<(f32, u64, u64)> {
    let mut parts = text.split(", ");
    let value = ms(parts.next()?)?;
    let samples = parts.next()?.strip_suffix(" samples")?.parse().ok()?;
    let age: u64 = match parts.next() {
        Some(age) => age.strip_suffix(" s old")?.parse().ok()?,
        None => 0,
    };
    Some((value, samples, age * 1_000))
}
