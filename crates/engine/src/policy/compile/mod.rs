//! A policy document turned into a [`Policy`], or refused with every reason.

mod addresses;
mod examples;
mod expectations;
mod lints;
mod pools;
mod rules;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::document::{GeoDocument, KIND, PolicyDocument, PolicySpec, RuleDocument};
use super::gates::Gates;
use super::key::KeyRecipe;
use super::limits;
use super::matcher::{Conditions, Matcher};
use super::node_set::{Demands, NodeSet, SetIndex};
use super::overrides::Overrides;
use super::{
    Class, Example, Expectation, Freshness, Known, Operation, Plan, PlanTier, Policy, RateLimit,
    Routing, Rule, conditions, scoring, when,
};
use super::{freshness, rate_limit, rollout};
use crate::document::{Checker, Code, Diagnostics, DurationMs, Limits, Path, Source};
use crate::geo::Location;
use crate::model::{ClassIndex, Digest, NodeIndex};
use crate::request::Reading;
use crate::topology::{API_VERSION, Topology};

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
    compile_with(file, text, Some(topology))
}

/// As [`compile`], where there is no topology to compare with: everything is checked but what the policy says of sites,
/// tiers and nodes.
pub fn check_alone(file: &str, text: &str) -> Diagnostics {
    compile_with(file, text, None).diagnostics
}

fn compile_with(file: &str, text: &str, topology: Option<&Topology>) -> Compiled {
    let (mut source, mut faults) = Source::read(file, text, &Limits::default());
    let decoded = source.decode::<PolicyDocument>();
    faults.append(decoded.faults);
    let mut checker = Checker::new(&source, faults);
    let digest = Digest::of(text.as_bytes());
    let policy = decoded.value.and_then(|document| {
        let compiled = Compiler::new(&mut checker, topology, &document).compile(digest);
        compiled.filter(|_| checker.is_clean())
    });
    Compiled {
        policy,
        diagnostics: checker.finish(),
    }
}

/// Rules, and what each asks of a request.
type Rules = (Vec<Rule>, Vec<Conditions>);

/// The state of one compilation.
struct Compiler<'a, 's> {
    checker: &'a mut Checker<'s>,
    /// `None` where only the policy itself is checked.
    topology: Option<&'a Topology>,
    document: &'a PolicyDocument,
    sets: Vec<NodeSet>,
    /// The set of each pool under each demand met so far.
    known_sets: Vec<(usize, Demands, SetIndex)>,
    /// Members of each pool before demands, by pool; `None` when its `select` is refused.
    pool_members: Vec<Option<Vec<NodeIndex>>>,
    examples: Vec<Example>,
    expectations: Vec<Expectation>,
    /// What expressions may use yet.
    expressions: when::Budget,
}

impl<'a, 's> Compiler<'a, 's> {
    fn new(
        checker: &'a mut Checker<'s>,
        topology: Option<&'a Topology>,
        document: &'a PolicyDocument,
    ) -> Self {
        Self {
            checker,
            topology,
            document,
            sets: Vec::new(),
            known_sets: Vec::new(),
            pool_members: Vec::new(),
            examples: Vec::new(),
            expectations: Vec::new(),
            expressions: when::Budget::default(),
        }
    }

    fn compile(mut self, digest: Digest) -> Option<Policy> {
        let document = self.document;
        let spec = &document.spec;
        let spec_path = Path::Root.field("spec");
        self.checker
            .envelope((&document.api_version, &document.kind), (API_VERSION, KIND));
        self.checker.end(document.end);
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
        let gates = Gates::new(self.checker, &spec_path, spec);
        rollout::check(self.checker, &spec_path, spec);
        freshness::check(self.checker, &spec_path.field("freshness"), &spec.freshness);
        scoring::check_panic(self.checker, &spec_path.field("panic"), &spec.panic);
        self.check_sample(&spec_path.field("decision_log"));
        let overrides = self.overrides(&spec_path.field("geo"));
        let default_place = self.default_place(&spec_path.field("geo"), &spec.geo);
        let pools = self.pools(&spec_path.field("pools"));
        let ((rules, conditions), limits) = self.limited_rules(&spec_path, &classes);
        self.lint(&spec_path);
        let topology = self.topology.filter(|_| self.checker.is_clean())?;
        self.check_default_place(&spec_path.field("geo"), (default_place, topology));
        let mut nodes_by_id = HashMap::with_hasher(FixedState::default());
        nodes_by_id.extend(
            topology
                .indexed_nodes()
                .map(|(index, node)| (node.id.clone(), index)),
        );
        let routing = Routing {
            digest,
            score,
            panic_mode: spec.panic.mode,
            pools,
            classes,
            reading: Reading {
                header_names: header_names(&rules, &conditions),
                paths: spec.paths,
            },
            rules,
            limits,
            matcher: Matcher::new(conditions),
            max_copies: self.max_copies(),
            node_sets: self.sets,
            overrides,
            default_place,
            nodes_by_id,
        };
        examples::keep_headers(&mut self.examples, &routing.reading);
        Some(Policy {
            name: document.metadata.name.clone(),
            routing: Arc::new(routing),
            operation,
            examples: self.examples,
            expectations: self.expectations,
            gates,
            rollout: spec.rollout.clone(),
            sample_ratio: spec.decision_log.sample_ratio,
        })
    }

    fn check_sample(&mut self, decision_log: &Path<'_>) {
        let path = decision_log.field("sample_ratio");
        let ratio = self.document.spec.decision_log.sample_ratio;
        self.checker
            .in_range(Code::P006, &path, ratio, &(0.0..=1.0));
    }

    /// The rules, what each asks of a request, and the limits that their plans name.
    fn limited_rules(&mut self, spec: &Path<'_>, classes: &[Class]) -> (Rules, Vec<RateLimit>) {
        let (mut rules, conditions) = self.rules(spec, classes);
        let (limits, of_rules) = rate_limit::compile(self.checker, spec, &self.document.spec);
        for (rule, limits) in rules.iter_mut().zip(of_rules) {
            rule.plan.limits = limits.into();
        }
        ((rules, conditions), limits)
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
            let bytes = crate::number::from_u64(class.expected_bytes);
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
    fn check_default_place(
        &mut self,
        path: &Path<'_>,
        (default, topology): (Option<Known>, &Topology),
    ) {
        let sites = sites_of_first_tier(topology);
        if default.is_some() || sites < 2 {
            return;
        }
        let message = format!(
            "no `default` for clients whom nobody can place, and {sites} sites to choose from"
        );
        let help = "they are spread over all by capacity; write spec.geo.default, or use serve --here SITE";
        self.checker.warning(Code::P024, path, message, help);
    }
}

/// How many sites of the tier nearest to clients have nodes.
fn sites_of_first_tier(topology: &Topology) -> usize {
    let nodes = topology.nodes().iter();
    let mut homes: Vec<_> = nodes
        .map(|node| (topology.site(node.site).tier, node.site))
        .collect();
    homes.sort_unstable();
    homes.dedup();
    let first = homes.first().map(|home| home.0);
    homes.iter().filter(|home| Some(home.0) == first).count()
}

/// The headers that any rule looks at, each once.
fn header_names(rules: &[Rule], conditions: &[Conditions]) -> Vec<Box<str>> {
    let matched = conditions.iter().flat_map(|conditions| &conditions.headers);
    let matched = matched.map(|(name, _)| name);
    let looked_at = conditions.iter().filter_map(|rule| rule.when.as_ref());
    let looked_at = looked_at.flat_map(|when| when.headers());
    let keyed = rules.iter().flat_map(|rule| rule.plan.key.headers());
    let names: BTreeSet<&Box<str>> = matched.chain(looked_at).chain(keyed).collect();
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
    let ms = |d: DurationMs| crate::number::ms_f32(d.as_ms());
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
        freshness: Freshness::new(&rule.freshness),
        priority: rule.priority,
        limits: Box::default(),
        demands,
    }
}
