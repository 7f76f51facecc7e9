//! A policy document turned into a [`Policy`], or refused with every reason.

mod rules;

use std::collections::{BTreeSet, HashMap};

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
use crate::engine::document::{Checker, Diagnostics, DurationMs, Limits, Path, Source};
use crate::engine::geo::Location;
use crate::engine::model::{ClassIndex, Digest, NodeIndex, PoolIndex};
use crate::engine::request::Reading;
use crate::engine::topology::{API_VERSION, AddressPattern, Topology};

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
            "P006",
            &log_path.field("sample_ratio"),
            spec.decision_log.sample_ratio,
            &(0.0..=1.0),
        );
        let overrides = self.overrides(&spec_path.field("geo"));
        let default_place = self.default_place(&spec_path.field("geo"), &spec.geo);
        let pools = self.pools(&spec_path.field("pools"));
        let (rules, conditions) = self.rules(&spec_path.field("rules"), &classes);
        if !self.checker.is_clean() {
            return None;
        }
        self.check_default_place(&spec_path.field("geo"), default_place);
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
            default_place,
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

    /// Where clients are whom nobody can place, if the policy says so.
    fn default_place(&mut self, path: &Path<'_>, document: &GeoDocument) -> Option<Known> {
        let place = document.fallback.as_ref()?;
        self.known(
            &path.field("default"),
            (place.lat, place.lon),
            place.country.as_deref(),
        )
    }

    /// Tells of a fleet of several sites whose policy does not say where clients are whom nobody can place.
    fn check_default_place(&mut self, path: &Path<'_>, default: Option<Known>) {
        let sites = self.sites_of_first_tier();
        if default.is_some() || sites < 2 {
            return;
        }
        let message = format!(
            "no `default` for clients whom nobody can place, and {sites} sites to choose from"
        );
        let help = "they are spread over all by capacity; write spec.geo.default, or use serve --here SITE";
        self.checker.warning("P024", path, message, help);
    }

    /// How many sites of the tier nearest to clients have nodes.
    fn sites_of_first_tier(&self) -> usize {
        let nodes = self.topology.nodes().iter();
        let mut homes: Vec<_> = nodes
            .map(|node| (self.topology.site(node.site).tier, node.site))
            .collect();
        homes.sort_unstable();
        homes.dedup();
        let first = homes.first().map(|home| home.0);
        homes.iter().filter(|home| Some(home.0) == first).count()
    }

    fn pools(&mut self, path: &Path<'_>) -> Vec<Pool> {
        let documents = &self.document.spec.pools;
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
            let copies = f64::from(document.spread.max_copies);
            let copies_path = path.field("spread");
            let copies_path = copies_path.field("max_copies");
            self.checker
                .in_range("P006", &copies_path, copies, &(1.0..=24.0));
            if let Some(factor) = document.hash_balance_factor {
                let path = path.field("hash_balance_factor");
                self.checker
                    .in_range("P006", &path, factor, &(101.0..=1_000.0));
            }
            pools.push(Pool {
                name: document.name.as_str().into(),
                plan,
                balance_factor: document.hash_balance_factor.map(|percent| percent / 100.0),
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

    /// One step of a plan: a pool under demands.
    fn tier(
        &mut self,
        path: &Path<'_>,
        (pool, affinity): (usize, Affinity),
        demands: &Demands,
    ) -> Option<PlanTier> {
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
        let members = self.pool_members.get(pool)?;
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
            let help = "its `require` and `geofence` leave no node of this pool";
            self.checker.unknown_name("P009", path, message, help);
            return None;
        }
        let set = NodeSet::new(admitted, self.topology);
        let known = self.sets.iter().position(|other| *other == set);
        let position = known.unwrap_or(self.sets.len());
        if position >= MAX_NODE_SETS {
            let message = format!("more than {MAX_NODE_SETS} distinct sets of nodes");
            let help = "let rules share pools, `require` and `geofence`";
            self.checker.error("P001", path, message, help);
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
