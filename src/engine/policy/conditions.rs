//! A rule's `match` section, checked and made ready for the matcher.

use ipnet::IpNet;
use regex_automata::meta::Regex;

use super::document::{MatchDocument, NameMatchDocument, PathMatchDocument, PathMatchKind};
use super::matcher::{Conditions, HostPattern, PathPattern, ValuePattern};
use crate::engine::document::{Checker, Path};
use crate::engine::geo::place::{Asn, Country};

/// Most entries in one list of a `match`.
const MAX_ENTRIES: usize = 1_024;

/// Longest host, path, name, value or expression, in bytes.
const MAX_TEXT_BYTES: usize = 2_048;

/// Largest compiled form of one expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Checks a `match` section.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &MatchDocument,
) -> Conditions {
    let mut section = Section { checker, path };
    Conditions {
        hosts: section.each("hosts", &document.hosts, |c, at, text| host(c, at, text)),
        paths: section.each("paths", &document.paths, path_pattern),
        methods: section.each("methods", &document.methods, |c, at, text| {
            method(c, at, text)
        }),
        headers: section.each("headers", &document.headers, |c, at, entry| {
            let pattern = value_pattern(c, at, entry)?;
            Some((entry.name.to_ascii_lowercase().into(), pattern))
        }),
        query: section.each("query", &document.query, |c, at, entry| {
            let pattern = value_pattern(c, at, entry)?;
            Some((entry.name.as_str().into(), pattern))
        }),
        countries: section.each("countries", &document.countries, |c, at, code| {
            country(c, at, code)
        }),
        asns: section.each("asns", &document.asns, |c, at, number| {
            let asn = Asn::new(*number);
            if asn.is_none() {
                c.error("P006", at, "0 is no AS".to_owned(), "write 1 or more");
            }
            asn
        }),
        networks: section.each("cidrs", &document.cidrs, |c, at, text| network(c, at, text)),
        classes: section.each("classes", &document.classes, |c, at, text| {
            c.id("P004", at, text);
            Some(text.as_str().into())
        }),
    }
}

/// The section being checked, list by list.
struct Section<'c, 's, 'p> {
    checker: &'c mut Checker<'s>,
    path: &'p Path<'p>,
}

impl<'s> Section<'_, 's, '_> {
    /// Checks a list's length and each entry; keeps what can be used.
    fn each<T, U>(
        &mut self,
        field: &str,
        entries: &[T],
        mut compile: impl FnMut(&mut Checker<'s>, &Path<'_>, &T) -> Option<U>,
    ) -> Vec<U> {
        let list = self.path.field(field);
        if !self
            .checker
            .at_most("P001", &list, entries.len(), MAX_ENTRIES)
        {
            return Vec::new();
        }
        let indexed = entries.iter().enumerate();
        indexed
            .filter_map(|(index, entry)| compile(self.checker, &list.index(index), entry))
            .collect()
    }
}

fn method(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<Box<str>> {
    let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if !good {
        let help = "write a method like GET";
        checker.error("P007", path, "not a method".to_owned(), help);
    }
    good.then(|| text.to_ascii_uppercase().into())
}

/// Checks a network in CIDR notation; host bits must be zero, so that nobody is surprised by what it covers.
pub(super) fn network(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok();
    match net {
        None => checker.error(
            "P007",
            path,
            "not a network".to_owned(),
            "write one like 203.0.113.0/24 or 2001:db8::/32",
        ),
        Some(net) if net != net.trunc() => {
            let help = format!("the network is {}", net.trunc());
            checker.error(
                "P007",
                path,
                "the address has bits beyond the prefix".to_owned(),
                &help,
            );
        }
        Some(_) => {}
    }
    net.map(|net| net.trunc())
}

/// Checks a country code.
pub(super) fn country(checker: &mut Checker<'_>, path: &Path<'_>, code: &str) -> Option<Country> {
    let country = code.parse().ok();
    if country.is_none() {
        let help = "write the two letters of ISO 3166, like DE";
        checker.error("P007", path, "not a country code".to_owned(), help);
    }
    country
}

fn text_fits(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> bool {
    let fits = text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    if !fits {
        let help = format!("up to {MAX_TEXT_BYTES} bytes, without control characters");
        checker.error(
            "P007",
            path,
            "a text that is too long or unprintable".to_owned(),
            &help,
        );
    }
    fits
}

fn host(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<HostPattern> {
    let below = text.strip_prefix('*');
    let name = below.map_or(text, |rest| rest.strip_prefix('.').unwrap_or(""));
    let good = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':')
        })
        && !name.starts_with('.')
        && !name.ends_with('.');
    if !good {
        let help =
            "write a host name like www.example.com, or *.example.com for all below; no port";
        checker.error("P007", path, "not a host".to_owned(), help);
        return None;
    }
    let lower = name.to_ascii_lowercase();
    Some(match below {
        Some(_) => HostPattern::Below(format!(".{lower}").into()),
        None => HostPattern::Exact(lower.into()),
    })
}

fn path_pattern(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &PathMatchDocument,
) -> Option<PathPattern> {
    let value_path = path.field("value");
    if !text_fits(checker, &value_path, &entry.value) {
        return None;
    }
    if entry.kind != PathMatchKind::RegularExpression && !entry.value.starts_with('/') {
        checker.error(
            "P007",
            &value_path,
            "a path that does not begin with `/`".to_owned(),
            "write it like /video",
        );
        return None;
    }
    PathPattern::new(entry.kind, &entry.value, |text| {
        regex(checker, &value_path, text)
    })
}

fn value_pattern(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &NameMatchDocument,
) -> Option<ValuePattern> {
    if entry.name.is_empty() || !text_fits(checker, &path.field("name"), &entry.name) {
        checker.error(
            "P007",
            &path.field("name"),
            "no name".to_owned(),
            "name the header or parameter",
        );
        return None;
    }
    match (&entry.exact, &entry.prefix, &entry.regex) {
        (None, None, None) => Some(ValuePattern::Present),
        (Some(text), None, None) if text_fits(checker, &path.field("exact"), text) => {
            Some(ValuePattern::Exact(text.as_str().into()))
        }
        (None, Some(text), None) if text_fits(checker, &path.field("prefix"), text) => {
            Some(ValuePattern::Prefix(text.as_str().into()))
        }
        (None, None, Some(text)) if text_fits(checker, &path.field("regex"), text) => {
            regex(checker, &path.field("regex"), text)
                .map(|regex| ValuePattern::Expression(Box::new(regex)))
        }
        (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => None,
        _ => {
            let message = "more than one of exact, prefix and regex".to_owned();
            checker.error(
                "P007",
                path,
                message,
                "keep one; write a second entry for another condition",
            );
            None
        }
    }
}

/// Compiles an expression that must match the whole text, in linear time and bounded space.
fn regex(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<Regex> {
    let config = Regex::config()
        .nfa_size_limit(Some(MAX_REGEX_BYTES))
        .onepass_size_limit(Some(MAX_REGEX_BYTES));
    let build = |text: &str| {
        let built = Regex::builder().configure(config.clone()).build(text);
        built.map_err(|error| match error.syntax_error() {
            Some(_) => "its syntax is wrong".to_owned(),
            None => error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
    };
    // By itself first: wrapped, an unbalanced `)` could close the wrapper's group.
    match build(text).and_then(|_| build(&format!("^(?:{text})$"))) {
        Ok(regex) => Some(regex),
        Err(why) => {
            let help =
                "see the syntax of Rust's regex; at most 1 MiB compiled, without look-around";
            checker.error(
                "P007",
                path,
                format!("not a usable expression: {why}"),
                help,
            );
            None
        }
    }
}
