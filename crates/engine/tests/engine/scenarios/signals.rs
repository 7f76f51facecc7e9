//! The section `[signals]` of a scenario: what is known of the fleet's behaviour, a line a fact.

use std::collections::BTreeMap;

use tradewind_engine::evaluate::{Evaluation, evaluate};
use tradewind_engine::geo::group::Group;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::policy::{ClassNumber, Policy, SetIndex, SetNumber};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::score::{ERROR_PENALTY_MS, PRIOR_ERROR_RATIO};
use tradewind_engine::signal::hot::{HotKey, HotTable};
use tradewind_engine::signal::network::{GroupPaths, Measured, NetworkTable};
use tradewind_engine::signal::trial::{SLICE, Trial, Trials};
use tradewind_engine::signal::{
    Admission, Estimate, Evidence, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{RankTable, Snapshot};
use tradewind_engine::topology::Topology;

/// Pseudo-observations of the priors, as the control loop counts them.
const PRIOR_TIMES: f64 = 20.0;
const PRIOR_HITS: f64 = 200.0;
const PRIOR_ERRORS: f64 = 100.0;

/// Signals in the making, for the fleet, policy and clients of a snapshot that knows nothing.
struct Maker<'a> {
    snapshot: &'a Snapshot,
    signals: Signals,
    hot: Vec<HotKey>,
    measured: BTreeMap<Group, GroupPaths>,
    trials: Vec<Trial>,
}

/// Reads a section.
pub(crate) fn read(name: &str, text: &str, snapshot: &Snapshot) -> Signals {
    let (topology, policy) = (snapshot.topology(), snapshot.policy());
    let model = policy.routing().score();
    let sites = (0_u16..).map(SiteIndex).take(topology.sites().len());
    let untold = |site| Standing {
        terms: model.standing_terms(site, &model.prior()),
        ..Standing::default()
    };
    let classes = policy.routing().classes().len() + 1;
    let mut maker = Maker {
        snapshot,
        signals: Signals {
            nodes: vec![NodeSignals::default(); topology.nodes().len()],
            sites: vec![SiteSignals::default(); topology.sites().len()],
            standing: (0..classes)
                .flat_map(|_| sites.clone().map(untold))
                .collect(),
            readmission: vec![Readmission::None; policy.routing().node_sets().len()],
            ..Signals::default()
        },
        hot: Vec::new(),
        measured: BTreeMap::new(),
        trials: Vec::new(),
    };
    let lines = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        maker
            .line(line)
            .unwrap_or_else(|| panic!("{name}: `{line}` is no signal"));
    }
    for paths in maker.measured.values_mut() {
        paths.moved.sort_by_key(|path| path.site);
    }
    Signals {
        network: NetworkTable::lending(maker.measured),
        hot: HotTable::new(maker.hot),
        trials: Trials::new(maker.trials),
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

    /// `breaker open`, `probing 1%`, `weight 0.25`, `sheds 384`, `in flight 12` and so on.
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
                        let slice = tradewind_engine::number::share_of_u16(percent(value)?);
                        signals.admission = Admission::Probing { slice };
                    }
                    "spill" => {
                        signals.spill = tradewind_engine::number::share_of_u8(percent(value)?);
                    }
                    "full" => {
                        signals.full = tradewind_engine::number::share_of_u8(percent(value)?);
                    }
                    "sheds" => {
                        signals.shed = value.parse().ok()?;
                        self.signals.turn = 1;
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

    /// `spill 25%`, `held -9 ms`, or an observed term: `queue 40 ms, 12 samples, 1 s old`.
    #[expect(clippy::too_many_lines, reason = "one form of a line after the other")]
    fn at_site(&mut self, site: SiteIndex, what: &str) -> Option<()> {
        if let Some(gain) = what.strip_prefix("tried, ") {
            return self.trial(site, None, gain);
        }
        if let Some(share) = what.strip_prefix("spill ") {
            let spill = tradewind_engine::number::share_of_u8(percent(share)?);
            self.signals.sites.get_mut(site.get())?.spill = spill;
            return Some(());
        }
        if let Some(share) = what.strip_prefix("full ") {
            let full = tradewind_engine::number::share_of_u8(percent(share)?);
            self.signals.sites.get_mut(site.get())?.full = full;
            return Some(());
        }
        if let Some(held) = what.strip_prefix("held ") {
            let held_ms = ms(held)?;
            let sites = self.topology().sites().len();
            let of_site = self.signals.standing.iter_mut().skip(site.get());
            for standing in of_site.step_by(sites) {
                standing.held_ms = held_ms;
            }
            return Some(());
        }
        let (term, rest) = what.split_once(' ')?;
        let (value_ms, samples, age_ms) = observed(rest)?;
        let operation = self.policy().operation();
        let model = self.policy().routing().score();
        let (load_max_age_ms, hit_max_age_ms) =
            (operation.load_max_age_ms, operation.hit_max_age_ms);
        let latency_max_age_ms = operation.latency_max_age_ms;
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
            .map(ClassNumber)
            .take(self.signals.standing.len() / sites)
        {
            let at = class.get() * sites + site.get();
            let standing = self.signals.standing.get_mut(at)?;
            match term {
                "service" => {
                    let service = estimate((0.0, PRIOR_TIMES), latency_max_age_ms);
                    standing.terms.service = service.value as f32;
                    standing.service = service.evidence;
                }
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

    /// `tried, 30 ms may be wrong`.
    fn trial(&mut self, site: SiteIndex, group: Option<Group>, what: &str) -> Option<()> {
        let gain_ms = ms(what.strip_suffix(" may be wrong")?)?;
        self.trials.push(Trial {
            site,
            group,
            gain_ms,
            slice: SLICE,
        });
        Some(())
    }

    /// `network 80 ms, 500 samples`, for the cell that the client is of.
    fn client(&mut self, ip: &str, site: SiteIndex, what: &str) -> Option<()> {
        let query = Query {
            client: Client {
                ip: Some(ip.parse().ok()?),
                ..Client::default()
            },
            ..Query::default()
        };
        let located = self.ask(&query).located;
        if let Some(gain) = what.strip_prefix("tried, ") {
            return self.trial(site, located.group(), gain);
        }
        let (value_ms, samples, age_ms) = observed(what.strip_prefix("network ")?)?;
        let (spot, group) = (located.spot?, located.group()?);
        let tables = (0_u16..).map(|set| self.snapshot.table(SetIndex::new(set)));
        let row = tables
            .take(self.policy().routing().node_sets().len())
            .flat_map(RankTable::sites)
            .find(|row| row.site == site)?;
        let chord = tradewind_engine::geo::distance::chord_squared(spot.point, row.point);
        let prior_ms = f64::from(self.policy().routing().score().geographic_ms(chord));
        // What is special about the path, for a group without a last mile.
        let count = samples.min(200) as f64 * (-(age_ms as f64) / 3_600_000.0).exp2();
        let noise = (5.0 + 0.1 * f64::from(value_ms)).powi(2) / count;
        let spread = (2.0 + 0.15 * prior_ms).powi(2);
        let prior_share = noise / (noise + spread);
        let estimate_ms = f64::from(value_ms) + (prior_ms - f64::from(value_ms)) * prior_share;
        let measured = Measured {
            site,
            network_ms: estimate_ms as f32,
            estimate_ms: estimate_ms as f32,
            evidence: Evidence {
                samples: u32::try_from(samples).ok()?,
                age_ms: u32::try_from(age_ms).ok()?,
                prior_share: prior_share as f32,
            },
        };
        self.measured.entry(group).or_default().moved.push(measured);
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
        let sets = self.policy().routing().node_sets().iter().zip(0_u16..);
        let among = sets.filter(|(set, _)| set.sites().iter().any(|known| known.site == site));
        let hot: Vec<HotKey> = among
            .map(|(_, at)| HotKey {
                key,
                set: SetNumber(at),
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
        let rules = policy.routing().rules().iter().map(|rule| &rule.plan);
        let plans = rules.chain(policy.routing().pools().iter().map(|pool| &pool.plan));
        let tiers = plans.flat_map(|plan| &plan.tiers);
        let mut found = None;
        for tier in tiers.filter(|tier| policy.routing().pool_name(tier.pool) == pool) {
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
