//! The rules of a policy, checked and compiled one by one.

use std::collections::BTreeSet;

use super::super::conditions::{self, Checked, Ground};
use super::super::document::{Action, PolicySpec, RuleDocument};
use super::super::limits::MAX_RULE_POOLS;
use super::super::matcher::Conditions;
use super::super::node_set::Demands;
use super::super::{Class, PlanTier, Rule, freshness, key, overlap, when};
use super::{Compiler, plan};
use crate::date::Date;
use crate::document::{Code, DurationMs, Names, Path};
use crate::geo::place::Country;
use crate::model::RuleIndex;
use crate::query::MAX_CANDIDATES;

/// What rules may name.
pub(super) struct RuleNames<'d> {
    pub(super) pools: Names<'d>,
    pub(super) classes: Names<'d>,
    pub(super) rules: Names<'d>,
}

impl<'a> Compiler<'a, '_> {
    /// Checks every rule; answers the rules and what each asks of a request. `spec` is the path of the section.
    pub(super) fn rules(
        &mut self,
        spec: &Path<'_>,
        classes: &[Class],
    ) -> (Vec<Rule>, Vec<Conditions>) {
        let path = spec.field("rules");
        let documents = &self.document.spec.rules;
        if documents.is_empty() && self.checker.is_whole(&path) {
            let help = "add at least one rule; an empty match is all";
            self.checker
                .error(Code::P002, &path, "no rule".to_owned(), help);
        }
        let names = self.names(spec);
        let ground = Ground {
            classes: &names.classes,
            paths: self.document.spec.paths,
        };
        let mut known = BTreeSet::new();
        let (mut rules, mut matches) = (Vec::new(), Vec::new());
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker
                .id(Code::P004, &path.field("name"), &document.name);
            if !known.insert(document.name.as_str()) {
                self.twice(&path.field("name"), "rule", &document.name);
            }
            let at = path.field("match");
            let mut checked = conditions::compile(self.checker, &at, &document.matches, ground);
            self.add_when(&path.field("when"), document, &mut checked);
            matches.push(checked);
            rules.push(self.rule(&path, document, &names, classes));
            let rule = RuleIndex(u16::try_from(index).unwrap_or(u16::MAX));
            let examples = self.examples(&path, (rule, document), &names);
            self.examples.extend(examples);
            let expectations = self.expectations(&path, (rule, document), &names);
            self.expectations.extend(expectations);
        }
        self.check_reached(&path, &matches);
        self.check_rest(spec, &matches);
        self.check_used(spec, &names);
        let conditions = matches.into_iter().map(|checked| checked.conditions);
        (rules, conditions.collect())
    }

    /// Adds a rule's expression, if it has one, to what it asks.
    fn add_when(&mut self, path: &Path<'_>, document: &RuleDocument, checked: &mut Checked) {
        checked.is_whole &= self.checker.is_whole(path);
        if let Some(text) = &document.when {
            let when = when::compile(self.checker, path, text, &mut self.expressions);
            checked.is_whole &= when.is_some();
            checked.conditions.when = when.map(Box::new);
        }
    }

    /// What rules may name.
    fn names(&self, spec: &Path<'_>) -> RuleNames<'a> {
        let document: &'a PolicySpec = &self.document.spec;
        let pools = document.pools.iter().map(|pool| pool.name.as_str());
        let classes = document.classes.iter().map(|class| class.name.as_str());
        let rules = document.rules.iter().map(|rule| rule.name.as_str());
        let all_of = |field| self.checker.has_every(&spec.field(field), "name");
        RuleNames {
            pools: Names::new("pool", "spec.pools", pools).complete_if(all_of("pools")),
            classes: Names::new("class", "spec.classes", classes).complete_if(all_of("classes")),
            rules: Names::new("rule", "spec.rules", rules).complete_if(all_of("rules")),
        }
    }

    /// Rules that an earlier one leaves nothing to.
    fn check_reached(&mut self, path: &Path<'_>, matches: &[Checked]) {
        let known: Vec<Option<&Conditions>> = matches
            .iter()
            .map(|checked| checked.is_whole.then_some(&checked.conditions))
            .collect();
        let rules = &self.document.spec.rules;
        for (index, cover) in overlap::covered_by(&known).into_iter().enumerate() {
            let (Some(cover), Some(rule)) = (cover, rules.get(index)) else {
                continue;
            };
            let earlier = rules.get(cover).map_or("", |rule| &rule.name);
            let is_all = known
                .get(cover)
                .is_some_and(|c| c.is_some_and(Conditions::is_empty));
            let help = if is_all {
                format!("`{earlier}` before it matches every request; move it to the end")
            } else if rules
                .get(cover)
                .is_some_and(|other| (&other.matches, &other.when) == (&rule.matches, &rule.when))
            {
                format!("`{earlier}` before it has the same match; delete one of the two")
            } else {
                format!(
                    "`{earlier}` before it matches all that it would; move the narrower rule up"
                )
            };
            let message = format!("the rule `{}` is never reached", rule.name);
            self.checker
                .warning(Code::P020, &path.index(index), message, &help);
        }
    }

    /// Whether it is said what becomes of requests that no rule matches.
    fn check_rest(&mut self, spec: &Path<'_>, matches: &[Checked]) {
        let path = spec.field("rules");
        let is_said = self.document.spec.otherwise.is_some()
            || !self.checker.is_whole(&spec.field("otherwise"));
        // A rule that is refused, or not read at all, may be the one that was to match everything.
        let is_certain = matches.iter().all(|checked| checked.is_whole)
            && !matches.is_empty()
            && self.checker.has_every(&path, "match");
        let catches_all = matches.iter().any(|checked| checked.conditions.is_empty());
        if is_certain && !catches_all && !is_said {
            let help = "end with a rule without `match`, or write `otherwise: refuse` beside `rules` if the rest is to \
                        be refused";
            let message = "no rule matches every request".to_owned();
            self.checker.error(Code::P021, &path, message, help);
        }
    }

    /// Pools and classes that no rule names.
    fn check_used(&mut self, spec: &Path<'_>, names: &RuleNames<'_>) {
        let rules_path = spec.field("rules");
        let document = &self.document.spec;
        if !self.checker.is_whole(&rules_path) {
            return;
        }
        let pools: BTreeSet<&str> = document
            .rules
            .iter()
            .flat_map(|rule| rule.pools.iter().map(String::as_str))
            .collect();
        // A name that nothing bears may be one of these, misspelt.
        let misspelt = |used: &BTreeSet<&str>, known: &Names<'_>| {
            !known.is_complete() || used.iter().any(|name| !known.has(name))
        };
        let list = spec.field("pools");
        let unsure = misspelt(&pools, &names.pools);
        for (index, pool) in document.pools.iter().enumerate() {
            if !unsure && !pools.contains(pool.name.as_str()) {
                let message = format!("no rule names the pool `{}`", pool.name);
                let help =
                    "delete it, unless callers name it themselves or Envoy takes it as a cluster";
                self.checker
                    .warning(Code::P031, &list.index(index), message, help);
            }
        }
        let classes: BTreeSet<&str> = document
            .rules
            .iter()
            .flat_map(|rule| rule.class.iter().chain(&rule.matches.classes))
            .map(String::as_str)
            .collect();
        let list = spec.field("classes");
        let unsure = misspelt(&classes, &names.classes);
        for (index, class) in document.classes.iter().enumerate() {
            if !unsure && !classes.contains(class.name.as_str()) {
                let message = format!("no rule names the class `{}`", class.name);
                let help = "delete it, or give it to the rules whose content it is";
                self.checker
                    .warning(Code::P032, &list.index(index), message, help);
            }
        }
    }

    fn rule(
        &mut self,
        path: &Path<'_>,
        document: &RuleDocument,
        names: &RuleNames<'_>,
        classes: &[Class],
    ) -> Rule {
        self.check_words(path, document);
        self.check_bounds(path, document);
        if let Some(class) = document
            .class
            .as_ref()
            .filter(|name| !names.classes.has(name))
        {
            let path = path.field("class");
            self.checker
                .unknown_name(Code::P008, &path, &names.classes, class);
        }
        let demands = self.demands(path, document);
        let tiers = self.tiers(path, document, (&names.pools, demands.as_ref()));
        let demands = demands.unwrap_or_default();
        Rule {
            name: document.name.as_str().into(),
            owner: document.owner.as_str().into(),
            intent: document.intent.as_str().into(),
            rollback: document.rollback.as_str().into(),
            expires: document.expires.as_deref().and_then(|day| day.parse().ok()),
            when: document.when.as_deref().map(Into::into),
            action: document.action,
            plan: plan(&self.document.spec, document, (tiers, demands), classes),
        }
    }

    /// What a rule demands of nodes; `None` when part of it is refused.
    fn demands(&mut self, path: &Path<'_>, document: &RuleDocument) -> Option<Demands> {
        let fence = path.field("geofence");
        conditions::check_not_empty(self.checker, &fence, document.geofence.len());
        let countries: Vec<Option<Country>> = document
            .geofence
            .iter()
            .enumerate()
            .map(|(k, code)| conditions::country(self.checker, &fence.index(k), code))
            .collect();
        let is_whole =
            self.checker.is_whole(&fence) && self.checker.is_whole(&path.field("require"));
        Some(Demands {
            labels: document.require.clone(),
            countries: countries.into_iter().collect::<Option<_>>()?,
        })
        .filter(|_| is_whole)
    }

    /// The pools that a rule tries, in order.
    fn tiers(
        &mut self,
        path: &Path<'_>,
        document: &RuleDocument,
        (known, demands): (&Names<'_>, Option<&Demands>),
    ) -> Vec<PlanTier> {
        let list = path.field("pools");
        let names = &document.pools;
        self.checker
            .at_most(Code::P001, &list, names.len(), MAX_RULE_POOLS);
        let is_whole = self.checker.is_whole(&list) && self.checker.is_whole(&path.field("action"));
        let refuses = document.action == Action::Refuse;
        if names.is_empty() && !refuses && is_whole {
            let message = format!("the rule `{}` names no pool", document.name);
            let help = "add `pools: [...]`, nearest tier first, or `action: refuse`";
            self.checker.error(Code::P010, path, message, help);
        }
        if !names.is_empty() && refuses {
            let message = format!("the rule `{}` refuses, and names pools", document.name);
            let help =
                "a refusal needs none: delete `pools`, or `action: refuse` if the rule is to route";
            self.checker.error(Code::P016, &list, message, help);
        }
        let mut tiers = Vec::new();
        for (k, name) in names.iter().take(MAX_RULE_POOLS).enumerate() {
            let pools = &self.document.spec.pools;
            let found = pools.iter().position(|pool| pool.name == *name);
            if let Some((index, pool)) = found.and_then(|at| Some((at, pools.get(at)?))) {
                let tier = self.tier(&list.index(k), (index, pool.affinity), demands);
                tiers.extend(tier);
            } else {
                self.checker
                    .unknown_name(Code::P008, &list.index(k), known, name);
            }
        }
        tiers
    }

    fn check_words(&mut self, path: &Path<'_>, document: &RuleDocument) {
        for (field, text) in [("owner", &document.owner), ("rollback", &document.rollback)] {
            if text.trim().is_empty() {
                let help = "whoever is on call needs to know whom to ask and how to undo the rule";
                self.checker.error(
                    Code::P011,
                    &path.field(field),
                    format!("`{field}` is empty"),
                    help,
                );
            }
        }
        let day = document.expires.as_deref().map(str::parse::<Date>);
        if let Some(Err(error)) = day {
            let path = path.field("expires");
            let message = format!("`{}` is not a day", error.value);
            let help = "write a day like 2027-01-31";
            self.checker.error(Code::P012, &path, message, help);
        }
    }

    fn check_bounds(&mut self, path: &Path<'_>, document: &RuleDocument) {
        key::check(self.checker, &path.field("key"), &document.key);
        freshness::check_rule(self.checker, path, document);
        if let Some(candidates) = document.candidates {
            let most = f64::from(u8::try_from(MAX_CANDIDATES).unwrap_or(u8::MAX));
            self.checker.in_range(
                Code::P006,
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
                    Code::P006,
                    &path.field(field),
                    message,
                    &format!("allowed are {least} to {most}"),
                );
            }
        }
    }
}
