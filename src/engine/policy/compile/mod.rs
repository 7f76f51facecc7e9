//! A policy document turned into a [`Policy`], or refused with every reason.

mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use super::document::{
    Affinity, GeoDocument, KIND, PolicyDocument, PolicySpec, PoolDocument, RuleDocument,
};
use super::key::KeyRecipe;
use super::limits::{self, MAX_NODE_SETS};
use super::matcher::{Conditions, Matcher};
use super::node_set::{self, Demands, NodeSet, SetIndex};
use super::overrides::Overrides;
use super::{Class, Known, Operation, Plan, PlanTier, Policy, Pool, Rule, conditions, scoring};
use crate::engine::document::{
    Checker, Code, Diagnostic, Diagnostics, DurationMs, Limits, Path, Source,
};
use crate::engine::geo::Location;
use crate::engine::model::{ClassIndex, Digest, NodeIndex, PoolIndex, printable};
use crate::engine::request::Reading;
use crate::engine::topology::{API_VERSION, AddressPattern, Node, RefusedRange, Topology};

/// Of how many nodes with one fault the names are shown.
const MAX_NODES_NAMED: usize = 4;

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
    /// The set of each pool under each demand met so far.
    known_sets: Vec<(usize, Demands, SetIndex)>,
    /// Members of each pool before demands, by pool; `None` when its `select` is refused.
    pool_members: Vec<Option<Vec<NodeIndex>>>,
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
            known_sets: Vec::new(),
            pool_members: Vec::new(),
        }
    }

    fn compile(mut self, digest: Digest) -> Option<Policy> {
        let document = self.document;
        let spec = &document.spec;
        let spec_path = Path::Root.field("spec");
        self.checker
            .envelope((&document.api_version, &document.kind), (API_VERSION, KIND));
        if !limits::check(self.checker, &spec_path, spec) {
            return None;
        }
        self.addresses(&spec_path.field("addresses"));
        let classes = self.classes(&spec_path.field("classes"));
        let score = scoring::model(
            self.checker,
            &spec_path.field("score"),
            &spec.score,
            self.topology,
        );
        let operation = Operation::new(self.checker, &spec_path, spec);
        scoring::check_panic(self.checker, &spec_path.field("panic"), &spec.panic);
        let log_path = spec_path.field("decision_log");
        self.checker.in_range(
            Code::P006,
            &log_path.field("sample_ratio"),
            spec.decision_log.sample_ratio,
            &(0.0..=1.0),
        );
        let overrides = self.overrides(&spec_path.field("geo"));
        let fallback_place = self.fallback_place(&spec_path.field("geo"), &spec.geo);
        let pools = self.pools(&spec_path.field("pools"));
        let (rules, conditions) = self.rules(&spec_path, &classes);
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
            operation,
            panic_mode: spec.panic.mode,
            sample_ratio: spec.decision_log.sample_ratio,
            pools,
            classes,
            reading: Reading {
                header_names: header_names(&rules, &conditions),
                paths: spec.paths,
            },
            rules,
            matcher: Matcher::new(conditions),
            max_copies: self.max_copies(),
            node_sets: self.sets,
            overrides,
            fallback_place: fallback_place?,
            nodes_by_id,
        })
    }

    /// For each set the least of the bounds of the pools it was made for.
    fn max_copies(&self) -> Vec<u8> {
        let mut bounds = vec![u8::MAX; self.sets.len()];
        for (pool, _, set) in &self.known_sets {
            let document = self.document.spec.pools.get(*pool);
            if let (Some(bound), Some(pool)) = (bounds.get_mut(set.get()), document) {
                *bound = pool.spread.max_copies.min(*bound);
            }
        }
        bounds
    }

    fn addresses(&mut self, path: &Path<'_>) {
        let document = &self.document.spec.addresses;
        conditions::check_not_empty(self.checker, &path.field("only"), document.only.len());
        let allow = self.patterns(&path.field("allow"), &document.allow);
        let only = self.patterns(&path.field("only"), &document.only);
        // What a refused pattern would have allowed nobody knows.
        if let Some(allow) = allow {
            self.check_ranges(&allow);
        }
        if let Some(only) = only.filter(|only| !only.is_empty()) {
            let listed = |node: &Node| only.iter().any(|pattern| pattern.matches(&node.address));
            let outside: Vec<&Node> = self.nodes_with(|node| !listed(node));
            let message = "outside of spec.addresses.only".to_owned();
            let help = "correct the topology, or list the address there";
            self.refuse_nodes(&outside, &message, help);
        }
    }

    /// Nodes whose address could turn a router against its own host, unless the policy lists it.
    fn check_ranges(&mut self, allow: &[AddressPattern]) {
        let listed = |node: &Node| allow.iter().any(|pattern| pattern.matches(&node.address));
        for range in RefusedRange::ALL {
            let inside = self
                .nodes_with(|node| node.address.refused_range() == Some(range) && !listed(node));
            let message = format!("in the {} range, which is refused", range.name());
            let help =
                "correct the topology, or list the range under spec.addresses.allow of the policy";
            self.refuse_nodes(&inside, &message, help);
        }
    }

    fn nodes_with(&self, holds: impl Fn(&Node) -> bool) -> Vec<&'a Node> {
        let nodes = self.topology.nodes().iter();
        nodes.filter(|node| holds(node)).collect()
    }

    /// One finding about all nodes with the same fault, where the first of them stands in the topology file.
    fn refuse_nodes(&mut self, nodes: &[&Node], what: &str, help: &str) {
        let marks = nodes.iter().map(|node| self.topology.address_mark(node));
        let Some((mark, first)) = marks.zip(nodes).min_by_key(|(mark, _)| mark.entry) else {
            return;
        };
        let named: Vec<String> = nodes
            .iter()
            .take(MAX_NODES_NAMED)
            .map(|n| format!("`{}`", n.id))
            .collect();
        let message = match nodes.len() {
            1 => format!(
                "the address {} of node `{}` is {what}",
                first.address, first.id
            ),
            count => {
                let more = if count > named.len() { ", …" } else { "" };
                format!(
                    "the addresses of {count} nodes are {what}: {}{more}; this is {}",
                    named.join(", "),
                    first.address
                )
            }
        };
        let path = format!("spec.nodes[{}].address", mark.entry);
        let place = (self.topology.file(), mark);
        self.checker.add(Diagnostic::elsewhere(
            Code::P013,
            place,
            (path, message),
            help,
        ));
    }

    /// The patterns of an address list; `None` when one of them is refused.
    fn patterns(&mut self, path: &Path<'_>, texts: &[String]) -> Option<Vec<AddressPattern>> {
        let mut patterns = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = path.index(index);
            match AddressPattern::parse(text) {
                Ok(pattern) => {
                    if let AddressPattern::Net(net) = &pattern {
                        conditions::warn_of_mapped(self.checker, &path, net);
                    }
                    patterns.push(pattern);
                }
                Err(error) => {
                    let shown = printable(text, 80);
                    let message = error.message(&shown);
                    self.checker
                        .error(Code::P007, &path, message, &error.help());
                }
            }
        }
        (patterns.len() == texts.len() && self.checker.is_whole(path)).then_some(patterns)
    }

    fn classes(&mut self, path: &Path<'_>) -> Vec<Class> {
        let documents = &self.document.spec.classes;
        for (index, class) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker
                .id(Code::P004, &path.field("name"), &class.name);
            if documents
                .iter()
                .take(index)
                .any(|other| other.name == class.name)
            {
                self.twice(&path.field("name"), "class", &class.name);
            }
            let bytes = crate::engine::number::from_u64(class.expected_bytes);
            self.checker.in_range(
                Code::P006,
                &path.field("expected_bytes"),
                bytes,
                &(0.0..=1e15),
            );
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
            Code::P005,
            path,
            format!("the {what} `{name}` stands twice"),
            "give each a name of its own",
        );
    }

    fn overrides(&mut self, path: &Path<'_>) -> Overrides {
        let path = path.field("overrides");
        let documents = &self.document.spec.geo.overrides;
        let mut overrides = Overrides::default();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            let place = (document.lat, document.lon);
            let known = self.known(&path, place, document.country.as_deref());
            let cidr_path = path.field("cidr");
            let net = conditions::network(self.checker, &cidr_path, &document.cidr);
            if let Some(net) = &net {
                conditions::warn_of_mapped(self.checker, &cidr_path, net);
            }
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
            .in_range(Code::P006, &path.field("lat"), lat, &(-90.0..=90.0));
        self.checker
            .in_range(Code::P006, &path.field("lon"), lon, &(-180.0..=180.0));
        let country =
            country.map(|code| conditions::country(self.checker, &path.field("country"), code));
        Some(Known {
            location: Location::new(lat, lon)?,
            country: country.flatten(),
        })
    }

    /// Where unknown clients are: as the policy says, else at the site of the first tier with the most
    /// capacity (ties by id).
    fn fallback_place(&mut self, path: &Path<'_>, document: &GeoDocument) -> Option<Known> {
        let stated = document.fallback.as_ref().and_then(|place| {
            self.known(
                &path.field("default"),
                (place.lat, place.lon),
                place.country.as_deref(),
            )
        });
        let tier_of = |node: &Node| self.topology.site(node.site).tier;
        let nodes = self.topology.nodes();
        let first_tier = nodes.iter().map(tier_of).min();
        let mut capacity: BTreeMap<_, u64> = BTreeMap::new();
        for node in nodes
            .iter()
            .filter(|node| Some(tier_of(node)) == first_tier)
        {
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
        if documents.is_empty() && self.checker.is_whole(path) {
            let help = "name at least one set of nodes";
            self.checker
                .error(Code::P002, path, "no pool".to_owned(), help);
        }
        let mut pools = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker
                .id(Code::P004, &path.field("name"), &document.name);
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
            let tier = self.tier(&path, (index, document.affinity), Some(&demands));
            let defaults = RuleDocument::default();
            let plan = plan(
                &self.document.spec,
                &defaults,
                (tier.into_iter().collect(), demands),
                &[],
            );
            let copies = f64::from(document.spread.max_copies);
            let copies_path = path.field("spread");
            let copies_path = copies_path.field("max_copies");
            self.checker
                .in_range(Code::P006, &copies_path, copies, &(1.0..=24.0));
            if let Some(factor) = document.hash_balance_factor {
                let path = path.field("hash_balance_factor");
                self.checker
                    .in_range(Code::P006, &path, factor, &(101.0..=1_000.0));
            }
            pools.push(Pool {
                name: document.name.as_str().into(),
                plan,
                balance_factor: document.hash_balance_factor.map(|percent| percent / 100.0),
            });
        }
        pools
    }

    /// The nodes of a pool; `None` when what selects them is refused.
    fn select(&mut self, path: &Path<'_>, document: &PoolDocument) -> Option<Vec<NodeIndex>> {
        let select = &document.select;
        let before = self.checker.errors();
        let tier = select.tier.as_ref();
        let tiers = self.topology.tier_names();
        if let Some(tier) = tier.filter(|tier| !tiers.has(tier)) {
            let path = path.field("tier");
            self.checker.unknown_name(Code::P008, &path, &tiers, tier);
        }
        let sites_path = path.field("sites");
        conditions::check_not_empty(self.checker, &sites_path, select.sites.len());
        let mut sites = Vec::new();
        for (k, name) in select.sites.iter().enumerate() {
            if let Some(site) = self.topology.find_site(name) {
                sites.push(site);
            } else {
                let names = self.topology.site_names();
                self.checker
                    .unknown_name(Code::P008, &sites_path.index(k), &names, name);
            }
        }
        if self.checker.errors() > before || !self.checker.is_whole(path) {
            return None;
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
            let help = format!(
                "a pool without nodes could never answer; compare tier, sites and labels with `{}`",
                self.topology.file()
            );
            let message = format!("the pool `{}` selects no node", document.name);
            self.checker.error(Code::P009, path, message, &help);
        }
        Some(members)
    }

    /// One step of a plan: a pool under demands, if those are known.
    fn tier(
        &mut self,
        path: &Path<'_>,
        (pool, affinity): (usize, Affinity),
        demands: Option<&Demands>,
    ) -> Option<PlanTier> {
        let demands = demands?;
        let same =
            |(known, asked, _): &&(usize, Demands, SetIndex)| *known == pool && asked == demands;
        let known = self.known_sets.iter().find(same).map(|(_, _, set)| *set);
        let set = known.or_else(|| {
            let set = self.new_set(path, pool, demands)?;
            self.known_sets.push((pool, demands.clone(), set));
            Some(set)
        })?;
        Some(PlanTier {
            pool: PoolIndex(u16::try_from(pool).ok()?),
            set,
            affinity,
        })
    }

    /// The nodes of a pool that meet demands; one set for all who ask for the same nodes.
    fn new_set(&mut self, path: &Path<'_>, pool: usize, demands: &Demands) -> Option<SetIndex> {
        let members = self.pool_members.get(pool)?.as_ref()?;
        if members.is_empty() {
            return None;
        }
        let meets = |node: &NodeIndex| {
            let node = self.topology.node(*node);
            demands.capable(node) && demands.inside_fence(node, self.topology)
        };
        let admitted: Vec<NodeIndex> = members.iter().copied().filter(meets).collect();
        if admitted.is_empty() {
            let message = "a pool of this rule is left without nodes".to_owned();
            let help = format!(
                "its `require` and `geofence` leave no node of this pool; compare them with `{}`",
                self.topology.file()
            );
            self.checker.error(Code::P009, path, message, &help);
            return None;
        }
        let set = NodeSet::new(admitted, self.topology);
        let known = self.sets.iter().position(|other| *other == set);
        let position = known.unwrap_or(self.sets.len());
        if position >= MAX_NODE_SETS {
            let message = format!("more than {MAX_NODE_SETS} distinct sets of nodes");
            let help = "let rules share pools, `require` and `geofence`";
            self.checker.error(Code::P001, path, message, help);
            return None;
        }
        if known.is_none() {
            self.sets.push(set);
        }
        u16::try_from(position).ok().map(SetIndex)
    }
}

/// The headers that any rule looks at, each once.
fn header_names(rules: &[Rule], conditions: &[Conditions]) -> Vec<Box<str>> {
    let matched = conditions.iter().flat_map(|conditions| &conditions.headers);
    let matched = matched.map(|(name, _)| name);
    let keyed = rules.iter().flat_map(|rule| rule.plan.key.headers());
    let names: BTreeSet<&Box<str>> = matched.chain(keyed).collect();
    names.into_iter().cloned().collect()
}

/// Bounds and recipes of a rule, with what the policy says where the rule does not.
fn plan(
    spec: &PolicySpec,
    rule: &RuleDocument,
    (tiers, demands): (Vec<PlanTier>, Demands),
    classes: &[Class],
) -> Plan {
    let class_at = classes
        .iter()
        .position(|class| rule.class.as_deref() == Some(&*class.name));
    let class = class_at.and_then(|at| classes.get(at));
    let class_index = class_at.map_or(0, |at| u8::try_from(at + 1).unwrap_or(0));
    let whole_ms = |d: DurationMs| u32::try_from(d.as_ms()).unwrap_or(u32::MAX);
    let ms = |d: DurationMs| crate::engine::number::ms_f32(d.as_ms());
    Plan {
        tiers,
        key: KeyRecipe::new(&rule.key),
        class: class.map(|class| class.name.clone()),
        class_index: ClassIndex(class_index),
        expected_bytes: class.map_or_else(super::document::default_expected_bytes, |class| {
            class.expected_bytes
        }),
        candidates: rule.candidates.unwrap_or(3),
        max_detour_ms: rule.max_detour.or(spec.score.max_detour).map(ms),
        spread_ms: ms(rule.spread.unwrap_or(spec.score.spread)),
        attempt_timeout_ms: rule.attempt_timeout.map_or(1_000, whole_ms),
        sets_attempt_timeout: rule.attempt_timeout.is_some(),
        ttl_ms: rule.ttl.map_or(0, whole_ms),
        demands,
    }
}
