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
    let MatchDocument {
        hosts,
        paths,
        methods,
        headers,
        query,
        countries,
        asns,
        cidrs,
        classes,
    } = document;
    let lengths = [
        ("hosts", hosts.len()),
        ("paths", paths.len()),
        ("methods", methods.len()),
        ("headers", headers.len()),
        ("query", query.len()),
        ("countries", countries.len()),
        ("asns", asns.len()),
        ("cidrs", cidrs.len()),
        ("classes", classes.len()),
    ];
    for (field, length) in lengths {
        checker.at_most("P001", &path.field(field), length, MAX_ENTRIES);
    }
    let mut out = Conditions::default();
    for (k, text) in hosts.iter().enumerate() {
        out.hosts
            .extend(host(checker, &path.field("hosts").index(k), text));
    }
    for (k, entry) in paths.iter().enumerate() {
        out.paths
            .extend(path_pattern(checker, &path.field("paths").index(k), entry));
    }
    for (k, text) in methods.iter().enumerate() {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
            let message = "not a method".to_owned();
            checker.error(
                "P007",
                &path.field("methods").index(k),
                message,
                "write a method like GET",
            );
        }
        out.methods.push(text.to_ascii_uppercase().into());
    }
    for (k, entry) in headers.iter().enumerate() {
        let pattern = value_pattern(checker, &path.field("headers").index(k), entry);
        out.headers
            .extend(pattern.map(|p| (entry.name.to_ascii_lowercase().into(), p)));
    }
    for (k, entry) in query.iter().enumerate() {
        let pattern = value_pattern(checker, &path.field("query").index(k), entry);
        out.query
            .extend(pattern.map(|p| (entry.name.as_str().into(), p)));
    }
    for (k, code) in countries.iter().enumerate() {
        out.countries
            .extend(country(checker, &path.field("countries").index(k), code));
    }
    for (k, number) in asns.iter().enumerate() {
        match Asn::new(*number) {
            Some(asn) => out.asns.push(asn),
            None => checker.error(
                "P006",
                &path.field("asns").index(k),
                "0 is no AS".to_owned(),
                "write 1 or more",
            ),
        }
    }
    for (k, text) in cidrs.iter().enumerate() {
        out.networks
            .extend(network(checker, &path.field("cidrs").index(k), text));
    }
    for (k, text) in classes.iter().enumerate() {
        checker.id("P004", &path.field("classes").index(k), text);
        out.classes.push(text.as_str().into());
    }
    out
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
    // By itself first: wrapped, an unbalanced `)` could close the wrapper's group.
    let alone = Regex::builder().configure(config.clone()).build(text);
    match alone.and_then(|_| {
        Regex::builder()
            .configure(config)
            .build(&format!("^(?:{text})$"))
    }) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = error
                .syntax_error()
                .map_or_else(|| error.to_string(), |_| "its syntax is wrong".to_owned());
            let why = why.lines().next().unwrap_or_default().to_owned();
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
