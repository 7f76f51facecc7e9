//! A rule's `match` section, checked and made ready for the matcher.
//!
//! What no request can ever equal is refused, with what was probably meant: a rule that is never met looks like a rule
//! that is in force, and the one it was to refuse walks past it.

mod expression;
mod host;
mod method;
mod path;
mod value;

use ipnet::IpNet;

use super::document::MatchDocument;
use super::matcher::Conditions;
use crate::document::{Checker, Code, Names, Path};
use crate::geo::country as iso;
use crate::geo::network;
use crate::geo::place::{Asn, Country};
use crate::model::printable;
use crate::request::path::PathForm;

pub(super) use value::{check_header_name, check_query_name};

/// Most entries in one list of a `match`.
const MAX_ENTRIES: usize = 1_024;

/// Longest host, path, name, value or expression, in bytes.
const MAX_TEXT_BYTES: usize = 2_048;

/// Longest text of the document that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// What a `match` is read against: the rest of the policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    /// The content classes there are.
    pub(super) classes: &'a Names<'a>,
    /// What paths are where servers differ.
    pub(super) paths: PathForm,
}

/// What a `match` section asks.
#[derive(Debug)]
pub(super) struct Checked {
    /// As far as it can be used.
    pub(super) conditions: Conditions,
    /// Whether that is all it asks: nothing was refused, nothing could not be read.
    pub(super) is_whole: bool,
}

/// Checks a `match` section.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &MatchDocument,
    ground: Ground<'_>,
) -> Checked {
    let before = checker.errors();
    let mut section = Section { checker, path };
    let conditions = Conditions {
        hosts: section.each("hosts", &document.hosts, |c, at, text| {
            host::pattern(c, at, text)
        }),
        paths: section.each("paths", &document.paths, |c, at, entry| {
            path::pattern(c, at, entry, ground.paths)
        }),
        methods: section.each("methods", &document.methods, |c, at, text| {
            method::method(c, at, text)
        }),
        headers: section.each("headers", &document.headers, value::header),
        query: section.each("query", &document.query, value::parameter),
        countries: section.each("countries", &document.countries, |c, at, code| {
            country(c, at, code)
        }),
        asns: section.each("asns", &document.asns, |c, at, number| {
            let asn = Asn::new(*number);
            if asn.is_none() {
                let message = "0 is the number of no network".to_owned();
                c.error(Code::P006, at, message, "write 1 or more (RFC 7607)");
            }
            asn
        }),
        networks: networks(&mut section, &document.cidrs),
        classes: section.each("classes", &document.classes, |c, at, text| {
            if !ground.classes.has(text) {
                c.unknown_name(Code::P008, at, ground.classes, text);
            }
            Some(text.as_str().into())
        }),
        when: None,
    };
    value::check_together(checker, &path.field("headers"), &conditions.headers);
    value::check_together(checker, &path.field("query"), &conditions.query);
    let is_whole = checker.errors() == before && checker.is_whole(path);
    Checked {
        conditions,
        is_whole,
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
        let limit = MAX_ENTRIES;
        if !self
            .checker
            .at_most(Code::P001, &list, entries.len(), limit)
        {
            return Vec::new();
        }
        check_not_empty(self.checker, &list, entries.len());
        let indexed = entries.iter().enumerate();
        indexed
            .filter_map(|(index, entry)| compile(self.checker, &list.index(index), entry))
            .collect()
    }
}

/// An empty list of things that are allowed reads as "none", and would be "all".
pub(super) fn check_not_empty(checker: &mut Checker<'_>, list: &Path<'_>, entries: usize) {
    if entries == 0 && checker.is_given(list) && checker.is_whole(list) {
        let message = "an empty list, which would hold for everything".to_owned();
        let help = "leave the field out if that is meant, or list what it is to hold for";
        checker.error(Code::P015, list, message, help);
    }
}

fn networks(section: &mut Section<'_, '_, '_>, cidrs: &[String]) -> Vec<IpNet> {
    let has_all_v4 = cidrs.iter().any(|text| text == "0.0.0.0/0");
    section.each("cidrs", cidrs, |checker, at, text| {
        let net = network(checker, at, text)?;
        if !has_all_v4 {
            warn_of_mapped(checker, at, &net);
        }
        Some(net)
    })
}

/// Checks a network in CIDR notation.
pub(super) fn network(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<IpNet> {
    match network::parse(text) {
        Ok(net) => Some(net),
        Err(error) => {
            let message = error.message(&shown(text));
            checker.error(Code::P007, path, message, &error.help());
            None
        }
    }
}

/// Warns of an IPv6 network that seems to hold IPv4 clients too.
pub(super) fn warn_of_mapped(checker: &mut Checker<'_>, path: &Path<'_>, net: &IpNet) {
    if network::is_around_mapped(net) {
        let message =
            format!("`{net}` is around all IPv4-mapped addresses, but matches no IPv4 client");
        let help = "clients are compared as IPv4: add 0.0.0.0/0 for them";
        checker.warning(Code::P033, path, message, help);
    }
}

/// Checks a country code.
pub(super) fn country(checker: &mut Checker<'_>, path: &Path<'_>, code: &str) -> Option<Country> {
    if iso::is_assigned(code) {
        return code.parse().ok();
    }
    let message = format!("`{}` is the code of no country", shown(code));
    checker.error(Code::P007, path, message, &iso::advice(code));
    None
}

/// Checks the method of a request.
pub(super) fn check_method(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) {
    method::method(checker, path, text);
}

/// Text of the document as messages show it.
pub(super) fn shown(text: &str) -> String {
    printable(text, MAX_SHOWN_CHARS)
}

fn text_fits(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> bool {
    let fits = text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    if !fits {
        let help = format!("up to {MAX_TEXT_BYTES} bytes, without control characters");
        let message = "a text that is too long or unprintable".to_owned();
        checker.error(Code::P007, path, message, &help);
    }
    fits
}
