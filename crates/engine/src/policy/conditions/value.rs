//! Conditions on headers and query parameters: a name, and perhaps a value.

use super::super::document::NameMatchDocument;
use super::super::matcher::ValuePattern;
use super::expression::{self, Alphabet};
use super::method::is_token;
use super::{shown, text_fits};
use crate::document::{Checker, Code, Path};
use crate::request::path::normal_query;

/// A name, and what is asked of its value.
type Condition = (Box<str>, ValuePattern);

/// Checks a condition on a header.
pub(super) fn header(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &NameMatchDocument,
) -> Option<Condition> {
    let is_good = check_header_name(checker, &path.field("name"), &entry.name);
    let pattern = pattern(checker, path, entry, Alphabet::Header)?;
    is_good.then(|| (entry.name.to_ascii_lowercase().into(), pattern))
}

/// Checks a condition on a query parameter.
pub(super) fn parameter(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &NameMatchDocument,
) -> Option<Condition> {
    let is_good = check_query_name(checker, &path.field("name"), &entry.name);
    let pattern = pattern(checker, path, entry, Alphabet::Query)?;
    is_good.then(|| (entry.name.as_str().into(), pattern))
}

/// Checks the name of a header; says whether it can be one.
pub(in super::super) fn check_header_name(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    name: &str,
) -> bool {
    check_name(checker, path, (name, "header"), &header_name(name))
}

/// Checks the name of a query parameter; says whether it can be one.
pub(in super::super) fn check_query_name(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    name: &str,
) -> bool {
    check_name(checker, path, (name, "parameter"), &query_name(name))
}

fn check_name(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    (name, what): (&str, &str),
    read: &Result<(), String>,
) -> bool {
    if let Err(help) = read {
        let message = format!("`{}` is the name of no {what}", shown(name));
        checker.error(Code::P007, path, message, help);
    }
    read.is_ok()
}

/// Whether a request may have a header of this name; else what to write instead.
fn header_name(name: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    let instead = match lower.as_str() {
        "host" | ":authority" => "the host has conditions of its own: use `hosts`",
        ":path" => "the path has conditions of its own: use `paths` and `query`",
        ":method" => "the method has conditions of its own: use `methods`",
        ":scheme" | ":protocol" | ":status" => "what HTTP/2 writes with a colon is no header",
        "" => "name the header",
        _ if is_token(name) && name.len() <= 256 => return Ok(()),
        _ => {
            "names of headers are letters, digits and hyphens, up to 256; the value goes under `exact`"
        }
    };
    Err(instead.to_owned())
}

/// Whether a query may have a parameter of this name; else what to write instead.
fn query_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("name the parameter".to_owned()),
        _ if name.contains(['?', '&', '=', '#']) => Err(
            "write the name alone, without `?`, `&`, `=` and value; the value goes under `exact`"
                .to_owned(),
        ),
        _ if name.len() > 256 => Err("names have up to 256 bytes".to_owned()),
        _ => in_normal_form(name),
    }
}

/// Whether a text stands in a query as it is here: queries are compared in normal form.
fn in_normal_form(text: &str) -> Result<(), String> {
    let mut room = String::new();
    match normal_query(text, &mut room) {
        Ok(normal) if normal == text => Ok(()),
        Ok(normal) => Err(format!(
            "queries are compared in normal form: write {normal}"
        )),
        Err(fault) => Err(format!("no such query is read: it {fault}")),
    }
}

fn pattern(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &NameMatchDocument,
    alphabet: Alphabet,
) -> Option<ValuePattern> {
    match (&entry.exact, &entry.prefix, &entry.regex) {
        (None, None, None) => Some(ValuePattern::Present),
        (Some(text), None, None) => check_value(checker, &path.field("exact"), text, alphabet)
            .then(|| ValuePattern::Exact(text.as_str().into())),
        (None, Some(text), None) => check_value(checker, &path.field("prefix"), text, alphabet)
            .then(|| ValuePattern::Prefix(text.as_str().into())),
        (None, None, Some(text)) => {
            let at = path.field("regex");
            if !text_fits(checker, &at, text) {
                return None;
            }
            expression::compile(checker, &at, text, alphabet).map(ValuePattern::Expression)
        }
        _ => {
            let message = "more than one of exact, prefix and regex".to_owned();
            let help = "keep one; write a second entry for another condition";
            checker.error(Code::P007, path, message, help);
            None
        }
    }
}

fn check_value(checker: &mut Checker<'_>, path: &Path<'_>, text: &str, alphabet: Alphabet) -> bool {
    if !text_fits(checker, path, text) {
        return false;
    }
    let read = match alphabet {
        Alphabet::Header if text != text.trim_start_matches([' ', '\t']) => {
            Err("values of headers come without the spaces around them".to_owned())
        }
        Alphabet::Query if text.contains(['&', '#']) => Err(
            "a value ends before `&` and `#`; write %26 and %23, or a second entry for another parameter"
                .to_owned(),
        ),
        Alphabet::Query => in_normal_form(text),
        Alphabet::Header | Alphabet::Path => Ok(()),
    };
    if let Err(help) = &read {
        let message = format!("`{}` is the value of no request", shown(text));
        checker.error(Code::P007, path, message, help);
    }
    read.is_ok()
}

/// Conditions of one name must all hold, so a value that one demands must do for the others.
pub(super) fn check_together(checker: &mut Checker<'_>, path: &Path<'_>, conditions: &[Condition]) {
    for (name, pattern) in conditions {
        let ValuePattern::Exact(value) = pattern else {
            continue;
        };
        let against = |(other, asked): &&Condition| other == name && !asked.matches(value);
        if conditions.iter().any(|condition| against(&condition)) {
            let message = format!(
                "`{name}` cannot be `{}` and meet the other condition on it",
                shown(value)
            );
            let help =
                "all entries must hold; write a rule for each value, or an expression like a|b";
            checker.error(Code::P017, path, message, help);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_tokens_and_not_the_host() {
        for good in ["x-beta", "Accept", "_a", "X.1"] {
            assert_eq!(header_name(good), Ok(()), "{good}");
        }
        for (bad, cure) in [
            ("Host", "use `hosts`"),
            (":authority", "use `hosts`"),
            (":path", "use `paths`"),
            (":method", "use `methods`"),
            (":scheme", "no header"),
            ("X Y", "letters"),
            ("x-beta:", "letters"),
            ("x-beta: 1", "under `exact`"),
            ("é", "letters"),
            ("", "name the header"),
        ] {
            let help = header_name(bad).unwrap_err();
            assert!(help.contains(cure), "{bad}: {help}");
        }
    }

    #[test]
    fn names_of_parameters_are_as_they_stand_in_a_query() {
        for good in ["a", "utm_source", "a%5B%5D", "v.1", "+"] {
            assert_eq!(query_name(good), Ok(()), "{good}");
        }
        for (bad, cure) in [
            ("?a", "the name alone"),
            ("a=1", "under `exact`"),
            ("a&b", "the name alone"),
            ("a b", "write a%20b"),
            ("é", "write %C3%A9"),
            ("a[]", "write a%5B%5D"),
            ("%61", "write a"),
            ("", "name the parameter"),
        ] {
            let help = query_name(bad).unwrap_err();
            assert!(help.contains(cure), "{bad}: {help}");
        }
    }
}
