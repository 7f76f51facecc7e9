//! A policy document turned into a [`Policy`], or refused with every reason.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::document::{
    Action, Affinity, GeoDocument, KIND, PolicyDocument, PolicySpec, PoolDocument, RuleDocument,
};
use super::key::KeyRecipe;
use super::matcher::{Conditions, Matcher};
use super::node_set::{self, Demands, NodeSet, SetIndex};
use super::overrides::Overrides;
use super::{Class, Known, Plan, PlanTier, Policy, Pool, Rule, conditions, scoring};
use crate::engine::document::{Checker, Diagnostics, DurationMs, Limits, Path, Source};
use crate::engine::geo::Location;
use crate::engine::geo::place::Country;
use crate::engine::model::{Digest, NodeIndex, PoolIndex};
use crate::engine::query::MAX_CANDIDATES;
use crate::engine::topology::{API_VERSION, AddressPattern, Topology};

/// Most rules in one policy.
pub const MAX_RULES: usize = 10_000;

/// Most pools in one policy.
pub const MAX_POOLS: usize = 256;

/// Most content classes in one policy.
pub const MAX_CLASSES: usize = 64;

/// Most network overrides in one policy.
const MAX_OVERRIDES: usize = 100_000;

/// Most distinct node sets; each rule's pool, capability and geofence makes one unless another rule has the same.
const MAX_NODE_SETS: usize = 1_024;

/// Most entries of the address lists.
const MAX_ADDRESS_PATTERNS: usize = 1_024;

/// The outcome: a policy when nothing refuses it, and all that was found either way.
#[derive(Debug)]
pub struct Compiled {
    /// The policy, if the document can be used with this topology.
    pub policy: Option<Policy>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// Reads and checks the text of a policy file against a topology. `file` is its name in faults.
pub fn compile(file: &str, text: &str, topology: &Topology) -> Compiled {
    let (mut source, mut faults) = Source::read(file, text, &Limits::default());
    let decoded = source.decode::<PolicyDocument>();
    faults.append(decoded.faults);
    let mut checker = Checker::new(&source, faults);
    let Some(document) = decoded.value else {
        return Compiled {
            policy: None,
            diagnostics: checker.finish(),
        };
    };
    let policy =
        Compiler::new(&mut checker, topology, &document).compile(Digest::of(text.as_bytes()));
    let policy = policy.filter(|_| checker.is_clean());
    Compiled {
        policy,
        diagnostics: checker.finish(),
    }
}

/// The state of one compilation.
struct Compiler<'a, 's> {
    checker: &'a mut Checker<'s>,
    topology: &'a Topology,
    document: &'a PolicyDocument,
    sets: Vec<NodeSet>,
    /// Members of each pool before demands, by pool.
    pool_members: Vec<Vec<NodeIndex>>,
}

impl<'a, 's> Compiler<'a, 's> {
    fn new(
        checker: &'a mut Checker<'s>,
        topology: &'a Topology,
        document: &'a PolicyDocument,
    ) -> Self {
        Self {
            checker,
            topology,
            document,
            sets: Vec::new(),
            pool_members: Vec::new(),
        }
    }

    fn compile(mut self, digest: Digest) -> Option<Policy> {
        let document = self.document;
        let spec = &document.spec;
        let spec_path = Path::Root.field("spec");
        self.checker
            .envelope((&document.api_version, &document.kind), (API_VERSION, KIND));
        self.addresses(&spec_path.field("addresses"));
        let classes = self.classes(&spec_path.field("classes"));
        let score = scoring::model(
            self.checker,
            &spec_path.field("score"),
            &spec.score,
            self.topology,
        );
        scoring::check_panic(self.checker, &spec_path.field("panic"), &spec.panic);
        let log_path = spec_path.field("decision_log");
        self.checker.in_range(
            "P006",
            &log_path.field("sample_ratio"),
            spec.decision_log.sample_ratio,
            &(0.0..=1.0),
        );
        let overrides = self.overrides(&spec_path.field("geo"));
        let fallback_place = self.fallback_place(&spec_path.field("geo"), &spec.geo);
        let pools = self.pools(&spec_path.field("pools"));
        let (rules, conditions) = self.rules(&spec_path.field("rules"), &classes);
        if !self.checker.is_clean() {
            return None;
        }
        let mut nodes_by_id = HashMap::with_hasher(FixedState::default());
        nodes_by_id.extend(
            self.topology
                .indexed_nodes()
                .map(|(index, node)| (node.id.clone(), index)),
        );
        Some(Policy {
            digest,
            name: document.metadata.name.clone(),
            score,
            panic_mode: spec.panic.mode,
            sample_ratio: spec.decision_log.sample_ratio,
            pools,
            classes,
            rules,
            matcher: Matcher::new(conditions),
            node_sets: self.sets,
            overrides,
            fallback_place: fallback_place?,
            nodes_by_id,
        })
    }

    fn addresses(&mut self, path: &Path<'_>) {
        let document = &self.document.spec.addresses;
        let allow = self.patterns(&path.field("allow"), &document.allow);
        let only = self.patterns(&path.field("only"), &document.only);
        for node in self.topology.nodes() {
            let listed =
                |list: &[AddressPattern]| list.iter().any(|pattern| pattern.matches(&node.address));
            if let Some(range) = node.address.refused_range().filter(|_| !listed(&allow)) {
                let message = format!(
                    "node `{}` has the {} address {}",
                    node.id,
                    range.name(),
                    node.address
                );
                let help = "such an address is refused unless spec.addresses.allow lists it";
                self.checker.unknown_name("P013", path, message, help);
            }
            if !only.is_empty() && !listed(&only) {
                let message = format!("node `{}` has the address {}", node.id, node.address);
                self.checker.unknown_name(
                    "P013",
                    path,
                    message,
                    "every address must be in spec.addresses.only",
                );
            }
        }
    }

    fn patterns(&mut self, path: &Path<'_>, texts: &[String]) -> Vec<AddressPattern> {
        self.checker
            .at_most("P001", path, texts.len(), MAX_ADDRESS_PATTERNS);
        let mut patterns = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            if let Some(pattern) = AddressPattern::parse(text) {
                patterns.push(pattern);
            } else {
                let help = "write a network, an address, a host name or a .suffix";
                self.checker.error(
                    "P007",
                    &path.index(index),
                    "not an address pattern".to_owned(),
                    help,
                );
            }
        }
        patterns
    }

    fn classes(&mut self, path: &Path<'_>) -> Vec<Class> {
        let documents = &self.document.spec.classes;
        self.checker
            .at_most("P001", path, documents.len(), MAX_CLASSES);
        for (index, class) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker.id("P004", &path.field("name"), &class.name);
            if documents
                .iter()
                .take(index)
                .any(|other| other.name == class.name)
            {
                self.twice(&path.field("name"), "class", &class.name);
            }
            let bytes = crate::engine::number::from_u64(class.expected_bytes);
            self.checker
                .in_range("P006", &path.field("expected_bytes"), bytes, &(0.0..=1e15));
        }
        documents
            .iter()
            .map(|class| Class {
                name: class.name.as_str().into(),
                expected_bytes: class.expected_bytes,
            })
            .collect()
    }

    fn twice(&mut self, path: &Path<'_>, what: &str, name: &str) {
        self.checker.error(
            "P005",
            path,
            format!("the {what} `{name}` stands twice"),
            "give each a name of its own",
        );
    }

    fn overrides(&mut self, path: &Path<'_>) -> Overrides {
        let path = path.field("overrides");
        let documents = &self.document.spec.geo.overrides;
        self.checker
            .at_most("P001", &path, documents.len(), MAX_OVERRIDES);
        let mut overrides = Overrides::default();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            let place = (document.lat, document.lon);
            let known = self.known(&path, place, document.country.as_deref());
            let cidr_path = path.field("cidr");
            let net = conditions::network(self.checker, &cidr_path, &document.cidr);
            let twice = net
                .zip(known)
                .is_some_and(|(net, known)| overrides.insert(net, known));
            if twice {
                self.twice(&cidr_path, "network", &document.cidr);
            }
        }
        overrides
    }

    fn known(
        &mut self,
        path: &Path<'_>,
        (lat, lon): (f64, f64),
        country: Option<&str>,
    ) -> Option<Known> {
        self.checker
            .in_range("P006", &path.field("lat"), lat, &(-90.0..=90.0));
        self.checker
            .in_range("P006", &path.field("lon"), lon, &(-180.0..=180.0));
        let country =
            country.map(|code| conditions::country(self.checker, &path.field("country"), code));
        Some(Known {
            location: Location::new(lat, lon)?,
            country: country.flatten(),
        })
    }

    /// Where unknown clients are: as the policy says, else at the site with the most capacity (ties by id).
    fn fallback_place(&mut self, path: &Path<'_>, document: &GeoDocument) -> Option<Known> {
        let stated = document.fallback.as_ref().and_then(|place| {
            self.known(
                &path.field("default"),
                (place.lat, place.lon),
                place.country.as_deref(),
            )
        });
        let mut capacity: BTreeMap<_, u64> = BTreeMap::new();
        for node in self.topology.nodes() {
            *capacity.entry(node.site).or_default() += u64::from(node.capacity);
        }
        let largest = capacity
            .into_iter()
            .max_by_key(|(site, sum)| (*sum, std::cmp::Reverse(*site)));
        let built_in = largest.map(|(site, _)| Known {
            location: self.topology.site(site).location,
            country: None,
        });
        stated.or(built_in)
    }

    fn pools(&mut self, path: &Path<'_>) -> Vec<Pool> {
        let documents = &self.document.spec.pools;
        self.checker
            .at_most("P001", path, documents.len(), MAX_POOLS);
        if documents.is_empty() {
            self.checker.unknown_name(
                "P002",
                path,
                "no pool".to_owned(),
                "name at least one set of nodes",
            );
        }
        let mut pools = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker.id("P004", &path.field("name"), &document.name);
            if documents
                .iter()
                .take(index)
                .any(|other| other.name == document.name)
            {
                self.twice(&path.field("name"), "pool", &document.name);
            }
            let members = self.select(&path.field("select"), document);
            self.pool_members.push(members);
            let demands = Demands::default();
            let tier = self.tier(&path, (index, document.affinity), &demands);
            let defaults = RuleDocument::default();
            let plan = plan(
                &self.document.spec,
                &defaults,
                (tier.into_iter().collect(), demands),
                &[],
            );
            pools.push(Pool {
                name: document.name.as_str().into(),
                plan,
            });
        }
        pools
    }

    fn select(&mut self, path: &Path<'_>, document: &PoolDocument) -> Vec<NodeIndex> {
        let select = &document.select;
        let tier = select.tier.as_ref();
        if let Some(tier) = tier.filter(|tier| !self.topology.tiers().contains(tier)) {
            let help = format!(
                "the topology's tiers are {}",
                self.topology.tiers().join(", ")
            );
            self.checker.unknown_name(
                "P008",
                &path.field("tier"),
                format!("no tier is called `{tier}`"),
                &help,
            );
        }
        let mut sites = Vec::new();
        for (k, name) in select.sites.iter().enumerate() {
            if let Some(site) = self.topology.find_site(name) {
                sites.push(site);
            } else {
                let message = format!("no site is called `{name}`");
                self.checker.unknown_name(
                    "P008",
                    &path.field("sites").index(k),
                    message,
                    "see the topology file",
                );
            }
        }
        let members: Vec<NodeIndex> = self
            .topology
            .indexed_nodes()
            .filter(|(_, node)| {
                let site = self.topology.site(node.site);
                tier.is_none_or(|tier| self.topology.tier_name(site.tier) == tier)
                    && (select.sites.is_empty() || sites.contains(&node.site))
                    && node_set::has_labels(&node.labels, &select.labels)
            })
            .map(|(index, _)| index)
            .collect();
        if members.is_empty() {
            let help = "a pool without nodes could never answer; check tier, sites and labels against the topology";
            self.checker.unknown_name(
                "P009",
                path,
                format!("the pool `{}` selects no node", document.name),
                help,
            );
        }
        members
    }

    /// The node set of a pool under demands, shared with every other plan that asks for the same.
    fn tier(
        &mut self,
        path: &Path<'_>,
        (pool, affinity): (usize, Affinity),
        demands: &Demands,
    ) -> Option<PlanTier> {
        let members = self.pool_members.get(pool)?;
        if members.is_empty() {
            return None;
        }
        let admitted: Vec<NodeIndex> = members
            .iter()
            .copied()
            .filter(|node| {
                let node = self.topology.node(*node);
                demands.capable(node) && demands.inside_fence(node, self.topology)
            })
            .collect();
        if admitted.is_empty() {
            let help = "its `require` and `geofence` leave no node of this pool";
            self.checker.unknown_name(
                "P009",
                path,
                "a pool of this rule is left without nodes".to_owned(),
                help,
            );
            return None;
        }
        let set = NodeSet::new(admitted, self.topology);
        let position = self
            .sets
            .iter()
            .position(|other| *other == set)
            .unwrap_or_else(|| {
                self.sets.push(set);
                self.sets.len() - 1
            });
        if position >= MAX_NODE_SETS {
            let help = "let rules share pools, `require` and `geofence`";
            let message = format!("more than {MAX_NODE_SETS} distinct sets of nodes");
            self.checker.error("P001", path, message, help);
            return None;
        }
        let (pool, set) = (u16::try_from(pool).ok()?, u16::try_from(position).ok()?);
        Some(PlanTier {
            pool: PoolIndex(pool),
            set: SetIndex(set),
            affinity,
        })
    }

    fn rules(&mut self, path: &Path<'_>, classes: &[Class]) -> (Vec<Rule>, Vec<Conditions>) {
        let documents = &self.document.spec.rules;
        self.checker
            .at_most("P001", path, documents.len(), MAX_RULES);
        if documents.is_empty() {
            self.checker.unknown_name(
                "P002",
                path,
                "no rule".to_owned(),
                "add at least one rule; an empty match is all",
            );
        }
        let mut names = BTreeMap::new();
        let mut catch_all: Option<&str> = None;
        let (mut rules, mut all_conditions) = (Vec::new(), Vec::new());
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker.id("P004", &path.field("name"), &document.name);
            if names.insert(document.name.as_str(), index).is_some() {
                self.twice(&path.field("name"), "rule", &document.name);
            }
            if let Some(earlier) = catch_all {
                let message = format!("the rule `{}` is never reached", document.name);
                let help =
                    format!("`{earlier}` before it matches every request; move it to the end");
                self.checker.warning("P020", &path, message, &help);
            }
            let conditions =
                conditions::compile(self.checker, &path.field("match"), &document.matches);
            if conditions.is_empty() {
                catch_all = catch_all.or(Some(&document.name));
            }
            rules.push(self.rule(&path, document, classes));
            all_conditions.push(conditions);
        }
        if catch_all.is_none() && !documents.is_empty() {
            let help = "requests that match no rule are refused; end with a rule without `match` to route them all";
            self.checker.warning(
                "P021",
                path,
                "no rule matches every request".to_owned(),
                help,
            );
        }
        (rules, all_conditions)
    }

    fn rule(&mut self, path: &Path<'_>, document: &RuleDocument, classes: &[Class]) -> Rule {
        self.check_words(path, document);
        self.check_bounds(path, document);
        if let Some(class) = document
            .class
            .as_ref()
            .filter(|name| !classes.iter().any(|c| *c.name == ***name))
        {
            let message = format!("no class is called `{class}`");
            self.checker.unknown_name(
                "P008",
                &path.field("class"),
                message,
                "name one of spec.classes",
            );
        }
        let countries = document
            .geofence
            .iter()
            .enumerate()
            .filter_map(|(k, code)| {
                conditions::country(self.checker, &path.field("geofence").index(k), code)
            });
        let countries: Vec<Country> = countries.collect();
        let demands = Demands {
            labels: document.require.clone(),
            countries,
        };
        let pools_path = path.field("pools");
        self.checker
            .at_most("P001", &pools_path, document.pools.len(), 8);
        if document.pools.is_empty() && document.action == Action::Route {
            let message = format!("the rule `{}` names no pool", document.name);
            self.checker.error(
                "P010",
                path,
                message,
                "add `pools: [...]`, nearest tier first",
            );
        }
        let mut tiers = Vec::new();
        for (k, name) in document.pools.iter().enumerate() {
            let pools = &self.document.spec.pools;
            let found = pools.iter().position(|pool| pool.name == *name);
            if let Some((index, pool)) = found.and_then(|at| Some((at, pools.get(at)?))) {
                let tier = self.tier(&pools_path.index(k), (index, pool.affinity), &demands);
                tiers.extend(tier);
            } else {
                let message = format!("no pool is called `{name}`");
                self.checker.unknown_name(
                    "P008",
                    &pools_path.index(k),
                    message,
                    "name one of spec.pools",
                );
            }
        }
        Rule {
            name: document.name.as_str().into(),
            owner: document.owner.as_str().into(),
            intent: document.intent.as_str().into(),
            rollback: document.rollback.as_str().into(),
            expires: document.expires.as_deref().map(Into::into),
            action: document.action,
            plan: plan(&self.document.spec, document, (tiers, demands), classes),
        }
    }

    fn check_words(&mut self, path: &Path<'_>, document: &RuleDocument) {
        for (field, text) in [("owner", &document.owner), ("rollback", &document.rollback)] {
            if text.trim().is_empty() {
                let help = "whoever is on call needs to know whom to ask and how to undo the rule";
                self.checker.error(
                    "P011",
                    &path.field(field),
                    format!("`{field}` is empty"),
                    help,
                );
            }
        }
        if let Some(day) = document.expires.as_ref().filter(|day| !is_day(day)) {
            let help = "write a day like 2027-01-31";
            self.checker.error(
                "P012",
                &path.field("expires"),
                format!("`{day}` is not a day"),
                help,
            );
        }
    }

    fn check_bounds(&mut self, path: &Path<'_>, document: &RuleDocument) {
        if let Some(candidates) = document.candidates {
            let most = f64::from(u8::try_from(MAX_CANDIDATES).unwrap_or(u8::MAX));
            self.checker.in_range(
                "P006",
                &path.field("candidates"),
                f64::from(candidates),
                &(1.0..=most),
            );
        }
        let durations = [
            ("max_detour", document.max_detour, 0, 60_000),
            ("spread", document.spread, 0, 60_000),
            ("attempt_timeout", document.attempt_timeout, 1, 600_000),
            ("ttl", document.ttl, 0, 3_600_000),
        ];
        for (field, value, least, most) in durations {
            let Some(value) = value.map(DurationMs::as_ms) else {
                continue;
            };
            if !(least..=most).contains(&value) {
                let (least, most) = (DurationMs::from_ms(least), DurationMs::from_ms(most));
                let message = format!("{} is out of range", DurationMs::from_ms(value));
                self.checker.error(
                    "P006",
                    &path.field(field),
                    message,
                    &format!("allowed are {least} to {most}"),
                );
            }
        }
    }
}

/// Bounds and recipes of a rule, with what the policy says where the rule does not.
fn plan(
    spec: &PolicySpec,
    rule: &RuleDocument,
    (tiers, demands): (Vec<PlanTier>, Demands),
    classes: &[Class],
) -> Plan {
    let class = classes
        .iter()
        .find(|class| rule.class.as_deref() == Some(&*class.name));
    let whole_ms = |d: DurationMs| u32::try_from(d.as_ms()).unwrap_or(u32::MAX);
    let ms = |d: DurationMs| crate::engine::number::ms_f32(d.as_ms());
    Plan {
        tiers,
        key: KeyRecipe::new(&rule.key),
        class: class.map(|class| class.name.clone()),
        expected_bytes: class.map_or_else(super::document::default_expected_bytes, |class| {
            class.expected_bytes
        }),
        candidates: rule.candidates.unwrap_or(3),
        max_detour_ms: rule.max_detour.or(spec.score.max_detour).map(ms),
        spread_ms: ms(rule.spread.unwrap_or(spec.score.spread)),
        attempt_timeout_ms: rule.attempt_timeout.map_or(1_000, whole_ms),
        ttl_ms: rule.ttl.map_or(0, whole_ms),
        demands,
    }
}

/// Whether `text` is a calendar day, `YYYY-MM-DD`.
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let digits =
        |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return false;
    }
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    let leap = number(year).is_multiple_of(4)
        && (!number(year).is_multiple_of(100) || number(year).is_multiple_of(400));
    let days = match number(month) {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&number(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_days_of_the_calendar() {
        for good in ["2026-12-31", "2024-02-29", "2000-02-29"] {
            assert!(is_day(good), "{good}");
        }
        for bad in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "26-01-01",
            "2026-1-1",
            "soon",
            "",
        ] {
            assert!(!is_day(bad), "{bad}");
        }
    }
}
