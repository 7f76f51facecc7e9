//! The rules of a policy, checked and compiled one by one.

use std::collections::BTreeMap;

use super::super::document::{Action, RuleDocument};
use super::super::limits::MAX_RULE_POOLS;
use super::super::matcher::Conditions;
use super::super::node_set::Demands;
use super::super::{Class, Rule, conditions, key};
use super::{Compiler, plan};
use crate::engine::document::{DurationMs, Path};
use crate::engine::geo::place::Country;
use crate::engine::query::MAX_CANDIDATES;

impl Compiler<'_, '_> {
    /// Checks every rule; answers the rules and what each asks of a request.
    pub(super) fn rules(
        &mut self,
        path: &Path<'_>,
        classes: &[Class],
    ) -> (Vec<Rule>, Vec<Conditions>) {
        let documents = &self.document.spec.rules;
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
        let names = &document.pools;
        self.checker
            .at_most("P001", &pools_path, names.len(), MAX_RULE_POOLS);
        if document.pools.is_empty() && document.action == Action::Route {
            let message = format!("the rule `{}` names no pool", document.name);
            self.checker.unknown_name(
                "P010",
                path,
                message,
                "add `pools: [...]`, nearest tier first",
            );
        }
        let mut tiers = Vec::new();
        for (k, name) in names.iter().take(MAX_RULE_POOLS).enumerate() {
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
        key::check(self.checker, &path.field("key"), &document.key);
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
