//! What a rule asks of a request, in words, and which of it a request does not meet: for people who look for their rule.
//!
//! Asked one rule at a time, when somebody wants to know; what decides is the [`Matcher`](super::matcher::Matcher).

use std::fmt::Display;

use super::matcher::{Conditions, HostPattern, PathPattern, ValuePattern};
use super::origin::Origin;
use crate::query::{Query, query_parameters};

/// Most values of a list that are named.
const NAMED: usize = 4;

impl Conditions {
    /// What it asks, a condition each; nothing of a rule that takes every request.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |condition: Option<String>| words.extend(condition);
        add(one_of("host is", &self.hosts));
        add(one_of("path is", &self.paths));
        add(one_of("method is", &self.methods));
        for (name, pattern) in &self.headers {
            add(Some(format!("header {name} {pattern}")));
        }
        for (name, pattern) in &self.query {
            add(Some(format!("query parameter {name} {pattern}")));
        }
        add(one_of("country is", &self.countries));
        add(one_of("operator is", &self.asns));
        add(one_of("client is in", &self.networks));
        add(one_of("class is", &self.classes));
        words
    }

    /// The first condition that does not hold for a request, with what the request has instead; `None` where all but
    /// `when` hold. `host` is in normal form.
    pub(super) fn first_unmet(
        &self,
        query: &Query<'_>,
        host: &str,
        origin: Origin,
    ) -> Option<String> {
        let is_host = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Below(suffix) => host.ends_with(&**suffix) && host.len() > suffix.len(),
        };
        let method = if query.method.is_empty() {
            "GET"
        } else {
            query.method
        };
        let is_method = |wanted: &str| wanted.eq_ignore_ascii_case(method);
        let in_net = |net: &ipnet::IpNet| {
            let ip = query.client.ip;
            ip.is_some_and(|ip| net.contains(&ip.to_canonical()))
        };
        let unmet = |holds: bool, list: Option<String>, has: &str| {
            list.filter(|_| !holds)
                .map(|wanted| format!("{wanted}, and it is {has}"))
        };
        let country = origin.country.map_or_else(unknown, |it| it.to_string());
        let asn = origin.asn.map_or_else(unknown, |it| it.to_string());
        let lists = [
            unmet(
                self.hosts.iter().any(is_host),
                one_of("host is", &self.hosts),
                host,
            ),
            unmet(
                self.paths.iter().any(|path| path.matches(query.path)),
                one_of("path is", &self.paths),
                "another",
            ),
            unmet(
                self.methods.iter().any(|it| is_method(it)),
                one_of("method is", &self.methods),
                method,
            ),
            self.unmet_values(query),
            unmet(
                self.countries.iter().any(|it| origin.country == Some(*it)),
                one_of("country is", &self.countries),
                &country,
            ),
            unmet(
                self.asns.iter().any(|it| origin.asn == Some(*it)),
                one_of("operator is", &self.asns),
                &asn,
            ),
            unmet(
                self.networks.iter().any(in_net),
                one_of("client is in", &self.networks),
                "elsewhere",
            ),
            unmet(
                self.classes.iter().any(|it| query.class == Some(&**it)),
                one_of("class is", &self.classes),
                query.class.unwrap_or("none"),
            ),
        ];
        lists.into_iter().flatten().next()
    }

    /// Values of headers are nobody's business: what is said is what was wanted.
    fn unmet_values(&self, query: &Query<'_>) -> Option<String> {
        let header = self.headers.iter().find(|(name, pattern)| {
            let value = query.header(name);
            !value.is_some_and(|value| pattern.matches(value))
        });
        let parameter = self.query.iter().find(|(name, pattern)| {
            !query_parameters(query.query_string, name).any(|value| pattern.matches(value))
        });
        let header = header.map(|(name, pattern)| format!("header {name} {pattern}"));
        let parameter =
            parameter.map(|(name, pattern)| format!("query parameter {name} {pattern}"));
        let wanted = header.or(parameter)?;
        Some(format!("{wanted}, and it is not so"))
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// `host is a, b or one of 3 more`; `None` of an empty list, which asks nothing.
fn one_of<T: Display>(what: &str, list: &[T]) -> Option<String> {
    if list.is_empty() {
        return None;
    }
    let shown: Vec<String> = list.iter().take(NAMED).map(T::to_string).collect();
    let more = list.len().saturating_sub(NAMED);
    let rest = if more > 0 {
        format!(" or one of {more} more")
    } else {
        String::new()
    };
    Some(format!("{what} {}{rest}", shown.join(" or ")))
}

impl Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}/…"),
            Self::Expression(expression) => write!(f, "like `{}`", expression.text),
        }
    }
}

impl Display for ValuePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Present => f.write_str("is there"),
            Self::Exact(value) => write!(f, "is `{value}`"),
            Self::Prefix(prefix) => write!(f, "begins with `{prefix}`"),
            Self::Expression(expression) => write!(f, "is like `{}`", expression.text),
        }
    }
}
