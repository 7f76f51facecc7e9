//! Paths, which must be in the normal form that requests' paths are brought into before they are compared.

use super::super::document::{PathMatchDocument, PathMatchKind};
use super::super::matcher::PathPattern;
use super::expression::{self, Alphabet};
use super::{shown, text_fits};
use crate::document::{Checker, Code, Path};
use crate::request::path::{PathFault, PathForm, normal_path};

/// Checks a condition on the path.
pub(super) fn pattern(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    entry: &PathMatchDocument,
    form: PathForm,
) -> Option<PathPattern> {
    let at = path.field("value");
    if !text_fits(checker, &at, &entry.value) {
        return None;
    }
    if entry.kind == PathMatchKind::RegularExpression {
        return expression::compile(checker, &at, &entry.value, Alphabet::Path)
            .map(PathPattern::Expression);
    }
    if let Err(help) = literal(&entry.value, form) {
        let message = format!("`{}` is the path of no request", shown(&entry.value));
        checker.error(Code::P007, &at, message, &help);
        return None;
    }
    Some(match entry.kind {
        PathMatchKind::Exact => PathPattern::Exact(entry.value.as_str().into()),
        _ => PathPattern::Prefix(entry.value.trim_end_matches('/').into()),
    })
}

/// Whether a request may have this path, or begin with it; else what to write instead.
fn literal(value: &str, form: PathForm) -> Result<(), String> {
    if let Some((path, query)) = value.split_once('?') {
        let name = query.split(['=', '&']).next().unwrap_or_default();
        return Err(format!(
            "a path ends before `?`: write {path}, and `query: [{{ name: {name}, … }}]` beside `paths`"
        ));
    }
    if let Some((path, _)) = value.split_once('#') {
        return Err(format!("no client sends what follows `#`: write {path}"));
    }
    if value.contains('*') && value != "*" {
        return Err(without_star(value));
    }
    let mut room = String::new();
    match normal_path(value, form, &mut room) {
        Ok("") | Err(PathFault::NoSlash) => Err(format!(
            "a path begins with `/`: write /{}",
            value.trim_start_matches('.')
        )),
        Ok(normal) if normal == value => Ok(()),
        Ok(normal) => Err(format!("paths are compared in normal form: write {normal}")),
        Err(fault) => Err(format!("no such request is served: it {fault}")),
    }
}

/// A star is a letter like any other in a path, and hardly ever meant as one.
fn without_star(value: &str) -> String {
    let prefix = value.split('*').next().unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    let rest = value.trim_start_matches(prefix);
    if rest == "/*" || rest == "/**" {
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        return format!("the type PathPrefix matches everything below: write {prefix}");
    }
    "`*` stands for itself: use the type RegularExpression, with `[^/]*` for it, or `\\*` for a star"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_normal_form_are_taken() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a/b;v=1",
            "/caf%C3%A9",
            "/~user",
            "/a%20b",
            "*",
        ] {
            assert_eq!(literal(good, PathForm::default()), Ok(()), "{good}");
        }
    }

    #[test]
    fn paths_that_no_request_has_are_refused_with_the_cure() {
        for (bad, cure) in [
            ("/a?b=1", "write /a, and `query: [{ name: b"),
            ("/a#b", "write /a"),
            ("/video/*", "write /video"),
            ("/video/**", "write /video"),
            ("/*", "write /"),
            ("/v/*.mp4", "RegularExpression"),
            ("/a b", "write /a%20b"),
            ("/café", "write /caf%C3%A9"),
            ("/caf%c3%a9", "write /caf%C3%A9"),
            ("/%61", "write /a"),
            ("//a", "write /a"),
            ("/a/../b", "write /b"),
            ("/a/./b", "write /a/b"),
            ("/a%2Fb", "write /a/b"),
            ("/100%", "write /100%25"),
            ("video", "write /video"),
            ("", "write /"),
            ("/a\\b", "backslash"),
            ("/a%00", "%00"),
        ] {
            let help = literal(bad, PathForm::default()).unwrap_err();
            assert!(help.contains(cure), "{bad}: {help}");
        }
    }
}
