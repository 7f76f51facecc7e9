//! Which rule is the first to match a request, without looking at every rule.
//!
//! Rules are filed by host (exact, below a suffix, any) and, inside, by path where they name one. A request looks up
//! the few files it can be in and checks the rules there in order; a rule later than one that already matched is never
//! looked at. Cost grows with the depth of the path and the rules on one path, not with the number of rules.

use std::collections::HashMap;

use arrayvec::ArrayVec;
use foldhash::fast::FixedState;
use ipnet::IpNet;
use regex_automata::meta::Regex;

use super::origin::Origin;
use super::when::When;
use crate::geo::place::{Asn, Country};
use crate::model::RuleIndex;
use crate::query::{Query, query_parameters};

/// Look-up tables are filled from the policy only, so a fixed hash cannot be attacked by requests.
type Table<V> = HashMap<Box<str>, V, FixedState>;

/// Finds the first rule that matches.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    conditions: Vec<Conditions>,
    exact_hosts: Table<File>,
    /// Keyed by what follows `*`, with the leading dot.
    host_suffixes: Table<File>,
    any_host: File,
}

/// Rules filed under one host.
#[derive(Debug, Default)]
struct File {
    /// By exact path or by prefix without its final slash.
    by_path: Table<Vec<RuleIndex>>,
    /// Elements in the deepest prefix, so that long request paths cost no more.
    deepest: usize,
    /// Rules that name no path, or one by expression.
    rest: Vec<RuleIndex>,
}

/// What a rule asks of a request; an empty list asks nothing.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) paths: Vec<PathPattern>,
    pub(super) methods: Vec<Box<str>>,
    pub(super) headers: Vec<(Box<str>, ValuePattern)>,
    pub(super) query: Vec<(Box<str>, ValuePattern)>,
    pub(super) countries: Vec<Country>,
    pub(super) asns: Vec<Asn>,
    pub(super) networks: Vec<IpNet>,
    pub(super) classes: Vec<Box<str>>,
    /// Looked at last: it costs most.
    pub(super) when: Option<Box<When>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Exact(Box<str>),
    /// `.example.com`, for `*.example.com`.
    Below(Box<str>),
}

#[derive(Debug)]
pub(super) enum PathPattern {
    Exact(Box<str>),
    /// Without its final slash; empty for `/`.
    Prefix(Box<str>),
    Expression(Expression),
}

/// An expression that must match the whole text.
#[derive(Debug)]
pub(super) struct Expression {
    /// As it was written.
    pub(super) text: Box<str>,
    pub(super) regex: Box<Regex>,
}

#[derive(Debug)]
pub(super) enum ValuePattern {
    Present,
    Exact(Box<str>),
    Prefix(Box<str>),
    Expression(Expression),
}

/// Most rules that are told of as having failed, of one request.
const MAX_WHEN_FAILURES: usize = 8;

/// The rules whose `when` could not be answered for a request and so did not hold, as far as they come before the one that
/// matched; the first few of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhenFailures(ArrayVec<RuleIndex, MAX_WHEN_FAILURES>);

impl WhenFailures {
    /// The rules.
    pub fn rules(&self) -> &[RuleIndex] {
        &self.0
    }

    fn add(&mut self, rule: RuleIndex) {
        // A rule that names several hosts or paths may be met under two of them.
        if !self.0.contains(&rule) && !self.0.is_full() {
            self.0.push(rule);
        }
    }
}

impl Matcher {
    /// Files the conditions of all rules, given in order.
    pub(super) fn new(conditions: Vec<Conditions>) -> Self {
        let mut matcher = Self::default();
        for (index, rule) in (0_u16..).map(RuleIndex).zip(&conditions) {
            if rule.hosts.is_empty() {
                matcher.any_host.add(index, rule);
            }
            for host in &rule.hosts {
                let file = match host {
                    HostPattern::Exact(name) => {
                        matcher.exact_hosts.entry(name.clone()).or_default()
                    }
                    HostPattern::Below(suffix) => {
                        matcher.host_suffixes.entry(suffix.clone()).or_default()
                    }
                };
                file.add(index, rule);
            }
        }
        matcher.conditions = conditions;
        matcher
    }

    /// The first rule that matches. `host` is in normal form.
    pub(super) fn first_match(
        &self,
        query: &Query<'_>,
        host: &str,
        origin: Origin,
        failures: &mut WhenFailures,
    ) -> Option<RuleIndex> {
        let mut search = Search {
            matcher: self,
            query,
            host,
            origin,
            best: None,
            failures,
        };
        search.look_in(&self.any_host);
        if let Some(file) = self.exact_hosts.get(host) {
            search.look_in(file);
        }
        if !self.host_suffixes.is_empty() {
            let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
            for suffix in dots.filter_map(|(at, _)| host.get(at..)) {
                if let Some(file) = self.host_suffixes.get(suffix) {
                    search.look_in(file);
                }
            }
        }
        if let (Some(best), false) = (search.best, search.failures.0.is_empty()) {
            // Rules are not met in order, but who reads them does.
            search.failures.0.retain(|rule| *rule < best);
        }
        search.best
    }

    pub(super) fn conditions(&self, rule: RuleIndex) -> Option<&Conditions> {
        self.conditions.get(rule.get())
    }
}

impl File {
    fn add(&mut self, index: RuleIndex, rule: &Conditions) {
        let named = |path: &PathPattern| match path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => Some(path.clone()),
            PathPattern::Expression(_) => None,
        };
        let paths: Option<Vec<Box<str>>> = rule.paths.iter().map(named).collect();
        match paths {
            Some(paths) if !paths.is_empty() => {
                for path in paths {
                    self.deepest = self
                        .deepest
                        .max(path.bytes().filter(|b| *b == b'/').count());
                    let list = self.by_path.entry(path).or_default();
                    if list.last() != Some(&index) {
                        list.push(index);
                    }
                }
            }
            _ if self.rest.last() != Some(&index) => self.rest.push(index),
            _ => {}
        }
    }
}

struct Search<'a> {
    matcher: &'a Matcher,
    query: &'a Query<'a>,
    host: &'a str,
    origin: Origin,
    best: Option<RuleIndex>,
    failures: &'a mut WhenFailures,
}

impl Search<'_> {
    fn look_in(&mut self, file: &File) {
        self.look_at(&file.rest);
        if file.by_path.is_empty() {
            return;
        }
        let path = self.query.path;
        self.look_up(file, path);
        // Every prefix that ends before a slash, from the root down to the deepest that any rule names.
        let ends = path
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'/')
            .map(|(at, _)| at);
        for prefix in ends
            .take(file.deepest + 1)
            .filter_map(|end| path.get(..end))
        {
            self.look_up(file, prefix);
        }
    }

    fn look_up(&mut self, file: &File, path: &str) {
        if let Some(rules) = file.by_path.get(path) {
            self.look_at(rules);
        }
    }

    fn look_at(&mut self, rules: &[RuleIndex]) {
        for rule in rules {
            if self.best.is_some_and(|best| *rule >= best) {
                return;
            }
            let Some(conditions) = self.matcher.conditions(*rule) else {
                continue;
            };
            if !conditions.hold_for(self.query, self.origin) {
                continue;
            }
            if let Some(when) = &conditions.when
                && !self.holds(*rule, when)
            {
                continue;
            }
            self.best = Some(*rule);
            return;
        }
    }

    /// Whether an expression holds; one that cannot be answered does not, and that is noted.
    #[cold]
    fn holds(&mut self, rule: RuleIndex, when: &When) -> bool {
        let holds = when.holds(self.query, self.host, self.origin);
        holds.unwrap_or_else(|_| {
            self.failures.add(rule);
            false
        })
    }
}

impl Conditions {
    /// Whether everything but the host and `when` holds; the file a rule stands in has settled the host.
    fn hold_for(&self, query: &Query<'_>, origin: Origin) -> bool {
        let method = if query.method.is_empty() {
            "GET"
        } else {
            query.method
        };
        any(&self.paths, |path| path.matches(query.path))
            && any(&self.methods, |wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .headers
                .iter()
                .all(|(name, pattern)| query.header(name).is_some_and(|v| pattern.matches(v)))
            && self.query.iter().all(|(name, pattern)| {
                // Servers differ in which of several counts, so any may.
                query_parameters(query.query_string, name).any(|value| pattern.matches(value))
            })
            && any(&self.countries, |country| origin.country == Some(*country))
            && any(&self.asns, |asn| origin.asn == Some(*asn))
            && any(&self.networks, |net| {
                query
                    .client
                    .ip
                    .is_some_and(|ip| net.contains(&ip.to_canonical()))
            })
            && any(&self.classes, |class| query.class == Some(&**class))
    }

    /// Whether every request matches.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            hosts,
            paths,
            methods,
            headers,
            query,
            countries,
            asns,
            networks,
            classes,
            when,
        } = self;
        when.is_none()
            && hosts.is_empty()
            && paths
                .iter()
                .all(|path| matches!(path, PathPattern::Prefix(prefix) if prefix.is_empty()))
            && (methods.is_empty() && headers.is_empty() && query.is_empty())
            && (countries.is_empty()
                && asns.is_empty()
                && networks.is_empty()
                && classes.is_empty())
    }
}

fn any<T>(list: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}

impl PathPattern {
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Expression(expression) => expression.regex.is_match(path),
        }
    }
}

impl ValuePattern {
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => **wanted == *value,
            Self::Prefix(prefix) => value.starts_with(&**prefix),
            Self::Expression(expression) => expression.regex.is_match(value),
        }
    }
}
