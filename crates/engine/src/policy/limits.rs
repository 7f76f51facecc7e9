//! How large a policy may be, checked before anything is made of it: a list over its limit is not worked through.

use super::document::{PolicySpec, RuleDocument};
use super::expectation::{MAX_EXPECTATIONS, MAX_RULE_EXPECTATIONS};
use super::rate_limit::MAX_LIMITS;
use crate::document::{Checker, Code, Path};
use crate::topology::MAX_SITES;

/// Most rules in one policy.
pub const MAX_RULES: usize = 10_000;

/// Most pools in one policy.
pub const MAX_POOLS: usize = 256;

/// Most content classes in one policy.
pub const MAX_CLASSES: usize = 64;

/// Most network overrides in one policy.
pub(super) const MAX_OVERRIDES: usize = 100_000;

/// Most distinct node sets; each rule's pool, capability and geofence makes one unless another rule has the same.
pub(super) const MAX_NODE_SETS: usize = 1_024;

/// Most regular expressions in one policy: each may take 1 MiB and 15 ms to compile.
const MAX_EXPRESSIONS: usize = 1_000;

/// Most rules with an expression (`when`) in one policy: each may take a few milliseconds to read, and the writer waits.
const MAX_WHENS: usize = 500;

/// Most pools of one rule.
pub(super) const MAX_RULE_POOLS: usize = 8;

/// Most examples of one list of a rule.
const MAX_EXAMPLES: usize = 100;

/// Most examples of a policy: each is a decision of some microseconds whenever it is loaded.
const MAX_EXAMPLES_IN_ALL: usize = 20_000;

/// Most entries of the address lists.
const MAX_ADDRESS_PATTERNS: usize = 1_024;

/// Whether every list of the policy keeps its limit.
pub(super) fn check(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) -> bool {
    let [addresses, geo, score] = ["addresses", "geo", "score"].map(|field| path.field(field));
    let allow = spec.addresses.allow.len();
    let only = spec.addresses.only.len();
    let lists = [
        (addresses.field("allow"), allow, MAX_ADDRESS_PATTERNS),
        (addresses.field("only"), only, MAX_ADDRESS_PATTERNS),
        (
            geo.field("overrides"),
            spec.geo.overrides.len(),
            MAX_OVERRIDES,
        ),
        (score.field("bias"), spec.score.bias.len(), MAX_SITES),
        (path.field("pools"), spec.pools.len(), MAX_POOLS),
        (path.field("classes"), spec.classes.len(), MAX_CLASSES),
        (path.field("limits"), spec.limits.len(), MAX_LIMITS),
        (path.field("rules"), spec.rules.len(), MAX_RULES),
    ];
    let mut fit = true;
    for (path, length, limit) in lists {
        fit &= checker.at_most(Code::P001, &path, length, limit);
    }
    fit &= check_examples(checker, &path.field("rules"), &spec.rules);
    fit &= check_expectations(checker, &path.field("rules"), &spec.rules);
    let rules = spec.rules.iter();
    let expressions: usize = rules.map(|rule| rule.matches.expressions()).sum();
    if expressions > MAX_EXPRESSIONS {
        let message =
            format!("{expressions} regular expressions, at most {MAX_EXPRESSIONS} are allowed");
        let help = "match by exact values and prefixes where that is possible";
        checker.error(Code::P001, &path.field("rules"), message, help);
        fit = false;
    }
    let whens = spec.rules.iter().filter(|rule| rule.when.is_some()).count();
    if whens > MAX_WHENS {
        let message = format!("{whens} rules with `when`, at most {MAX_WHENS} are allowed");
        let help = "say with `match` what can be said so";
        checker.error(Code::P036, &path.field("rules"), message, help);
        fit = false;
    }
    fit
}

fn check_examples(checker: &mut Checker<'_>, path: &Path<'_>, rules: &[RuleDocument]) -> bool {
    let mut fit = true;
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        let path = path.field("examples");
        let lists = [
            ("match", &rule.examples.matching),
            ("no_match", &rule.examples.no_match),
        ];
        for (field, list) in lists {
            fit &= checker.at_most(Code::P001, &path.field(field), list.len(), MAX_EXAMPLES);
        }
    }
    let count: usize = rules.iter().map(|rule| rule.examples.count()).sum();
    if count > MAX_EXAMPLES_IN_ALL {
        let message = format!("{count} examples, at most {MAX_EXAMPLES_IN_ALL} are allowed");
        let help = "keep those that show where rules end";
        checker.error(Code::P001, path, message, help);
        fit = false;
    }
    fit
}

fn check_expectations(checker: &mut Checker<'_>, path: &Path<'_>, rules: &[RuleDocument]) -> bool {
    let mut fit = true;
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        let (path, count) = (path.field("expect"), rule.expect.len());
        fit &= checker.at_most(Code::P001, &path, count, MAX_RULE_EXPECTATIONS);
    }
    let count: usize = rules.iter().map(|rule| rule.expect.len()).sum();
    if count > MAX_EXPECTATIONS {
        let message = format!("{count} expectations, at most {MAX_EXPECTATIONS} are allowed");
        let help = "keep those that somebody would be woken for";
        checker.error(Code::P001, path, message, help);
        fit = false;
    }
    fit
}
