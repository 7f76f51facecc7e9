//! Requests made up from what rules ask: for every rule one that its `match` holds for, as far as one can be made.
//!
//! What `when` asks is not looked at, and rules before may take the request: whether it is the rule's, deciding it shows.

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};

use super::Routing;
use super::matcher::{Conditions, Expression, HostPattern, PathPattern, ValuePattern};
use crate::geo::place::{Asn, Country};
use crate::model::RuleIndex;
use crate::query::{Client, Query};

/// Longest text that is made for an expression, in bytes.
const MAX_MADE_BYTES: usize = 2_048;

/// The host of requests whose rule asks for none: a name that nobody has (RFC 2606).
const ANY_HOST: &str = "host.invalid";

/// A request that a rule's `match` holds for.
#[derive(Debug, Clone, PartialEq)]
pub struct Specimen {
    host: String,
    path: String,
    query: String,
    method: String,
    headers: Vec<(String, String)>,
    class: Option<String>,
    /// What the rule asks of the client; the rest may be anything.
    pub client: Client,
}

impl Routing {
    /// A request that the `match` of a rule holds for; another number makes another one, of other entries of its lists and
    /// with another key. `None` where none can be made.
    pub fn specimen(&self, rule: RuleIndex, number: usize) -> Option<Specimen> {
        let conditions = self.matcher.conditions(rule)?;
        Specimen::new(conditions, number)
    }
}

impl Specimen {
    fn new(conditions: &Conditions, number: usize) -> Option<Self> {
        let headers = conditions.headers.iter();
        let headers = headers.map(|(name, pattern)| Some((name.to_string(), value(pattern)?)));
        let query = conditions.query.iter();
        let query = query.map(|(name, pattern)| Some(format!("{name}={}", value(pattern)?)));
        let query: Option<Vec<String>> = query.collect();
        let ip = nth(&conditions.networks, number).map(ipnet::IpNet::network);
        Some(Self {
            host: nth(&conditions.hosts, number).map_or_else(|| ANY_HOST.to_owned(), host),
            path: match nth(&conditions.paths, number) {
                Some(pattern) => path(pattern, number)?,
                None => format!("/probe-{number}"),
            },
            query: query?.join("&"),
            method: nth(&conditions.methods, number).map_or_else(String::new, ToString::to_string),
            headers: headers.collect::<Option<_>>()?,
            class: nth(&conditions.classes, number).map(ToString::to_string),
            client: Client {
                ip,
                location: None,
                country: nth::<Country>(&conditions.countries, number).copied(),
                asn: nth::<Asn>(&conditions.asns, number).copied(),
            },
        })
    }

    /// Asks it as a client of whom `client` says what the rule does not: `ask` gets the query that it makes.
    pub fn ask<T>(&self, client: Client, ask: impl FnOnce(&Query<'_>) -> T) -> T {
        let headers: Vec<(&str, &str)> = (self.headers.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let own = self.client;
        // Of a client that is to be in a country nobody says where it is: that might be in another.
        let is_placed = own.country.is_none() || own.country == client.country;
        ask(&Query {
            host: &self.host,
            path: &self.path,
            query_string: &self.query,
            method: &self.method,
            headers: &headers,
            class: self.class.as_deref(),
            client: Client {
                ip: own.ip.or(client.ip),
                location: client.location.filter(|_| is_placed),
                country: own.country.or(client.country),
                asn: own.asn.or(client.asn),
            },
            ..Query::default()
        })
    }
}

/// One of the entries, each in its turn.
fn nth<T>(entries: &[T], number: usize) -> Option<&T> {
    entries.get(number.checked_rem(entries.len())?)
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Below(suffix) => format!("probe{suffix}"),
    }
}

fn path(pattern: &PathPattern, number: usize) -> Option<String> {
    match pattern {
        PathPattern::Exact(path) => Some(path.to_string()),
        PathPattern::Prefix(prefix) => Some(format!("{prefix}/probe-{number}")),
        PathPattern::Expression(expression) => text(expression),
    }
}

fn value(pattern: &ValuePattern) -> Option<String> {
    match pattern {
        ValuePattern::Present => Some("1".to_owned()),
        ValuePattern::Exact(value) | ValuePattern::Prefix(value) => Some(value.to_string()),
        ValuePattern::Expression(expression) => text(expression),
    }
}

/// A text that an expression matches, if a simple one does.
fn text(expression: &Expression) -> Option<String> {
    let parsed = regex_syntax::parse(&expression.text).ok()?;
    let mut made = String::new();
    push(&parsed, &mut made)?;
    expression.regex.is_match(&made).then_some(made)
}

/// Appends the shortest text of a kind: the first of alternatives, no more repetitions than must be.
fn push(hir: &Hir, made: &mut String) -> Option<()> {
    if made.len() > MAX_MADE_BYTES {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => made.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => made.push(letter(class)?),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                push(&repetition.sub, made)?;
            }
        }
        HirKind::Capture(capture) => push(&capture.sub, made)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| push(part, made))?,
        HirKind::Alternation(parts) => push(parts.first()?, made)?,
    }
    Some(())
}

/// A letter of a class: a plain one if it has one.
fn letter(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let has = |letter: &char| {
        let mut ranges = class.ranges().iter();
        ranges.any(|range| (range.start()..=range.end()).contains(letter))
    };
    let plain = ('a'..='z').chain('0'..='9').chain('A'..='Z').find(has);
    plain.or_else(|| class.ranges().first().map(ClassUnicodeRange::start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::MatchedBy;
    use crate::evaluate::evaluate;
    use crate::geo::ranges::Ranges;
    use crate::snapshot::{GeoState, Parts, Snapshot};
    use std::sync::Arc;

    const TOPOLOGY: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{id: a, lat: 1, lon: 1}]\n  \
        nodes: [{id: a1, site: a, address: \"192.0.2.1:80\"}]\n";

    fn snapshot(matches: &[&str]) -> Snapshot {
        let rules = matches.iter().enumerate().map(|(k, matches)| {
            format!("{{name: r{k}, owner: us, rollback: none, pools: [all], match: {matches}}}")
        });
        let rules: Vec<String> = rules.collect();
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  otherwise: refuse\n  pools: [{{name: all}}]\n  \
             classes: [{{name: video}}]\n  rules: [{}]\n",
            rules.join(", ")
        );
        let topology = crate::topology::compile("t", TOPOLOGY).topology.unwrap();
        let compiled = crate::policy::compile("p", &text, &topology);
        let lines = compiled.diagnostics.to_lines().join("\n");
        let policy = compiled.policy.unwrap_or_else(|| panic!("{lines}"));
        let parts = Parts {
            topology: Arc::new(topology),
            policy: Arc::new(policy),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        Snapshot::build(1, parts, None)
    }

    #[test]
    fn every_rule_gets_requests_of_its_own() {
        let snapshot = snapshot(&[
            "{hosts: [a.example, '*.b.example'], paths: [{value: /v}, {type: Exact, value: /i}]}",
            r"{paths: [{type: RegularExpression, value: '/seg-[0-9]+\.ts'}]}",
            "{methods: [PUT], headers: [{name: x-a, exact: gold}, {name: x-b, prefix: P}, {name: x-c}]}",
            "{query: [{name: s, regex: '[0-9a-f]{4}|x'}], classes: [video]}",
            "{countries: [DE, FR], asns: [64496]}",
            "{cidrs: [203.0.113.0/24, '2001:db8::/32']}",
        ]);
        let routing = snapshot.routing();
        for rule in (0..6).map(RuleIndex) {
            for number in 0..5 {
                let specimen = routing.specimen(rule, number).unwrap();
                let evaluation =
                    specimen.ask(Client::default(), |query| evaluate(&snapshot, query));
                assert_eq!(evaluation.matched, MatchedBy::Rule(rule), "{specimen:?}");
            }
        }
        let one = routing.specimen(RuleIndex(0), 0);
        assert_eq!(one, routing.specimen(RuleIndex(0), 0));
        assert_ne!(one, routing.specimen(RuleIndex(0), 2));
    }

    #[test]
    fn a_client_is_what_the_rule_asks_for_and_else_what_is_given() {
        let snapshot = snapshot(&["{countries: [DE]}"]);
        let specimen = snapshot.routing().specimen(RuleIndex(0), 0).unwrap();
        let place = crate::geo::Location::new(40.0, -70.0);
        let client = Client {
            location: place,
            country: "US".parse().ok(),
            asn: Asn::new(64_496),
            ..Client::default()
        };
        specimen.ask(client, |query| {
            assert_eq!(query.client.country, "DE".parse().ok());
            assert_eq!(query.client.asn, Asn::new(64_496));
            assert_eq!(query.client.location, None, "not where a German would be");
        });
    }
}
