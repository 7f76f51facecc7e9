//! Rules that are never reached, because an earlier one matches all that they would.
//!
//! One earlier rule at a time is compared; several that together leave nothing over are not found. Rules are filed by
//! host and by path, so that of thousands only a few are compared.

use std::collections::BTreeMap;

use super::matcher::{Conditions, HostPattern, PathPattern, ValuePattern};

/// Most pairs of rules that are compared in one policy: ten thousand rules on one host and path would take long, and the
/// writer waits.
const MAX_PAIRS: usize = 1_000_000;

/// Finds for each rule the first earlier one that covers it. Rules whose match is not known come as `None`.
pub(super) fn covered_by(rules: &[Option<&Conditions>]) -> Vec<Option<usize>> {
    let mut shelves = Shelves::default();
    let mut pairs_left = MAX_PAIRS;
    let mut found = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let Some(rule) = rule else {
            found.push(None);
            continue;
        };
        let mut cover = None;
        for earlier in shelves.near(rule) {
            let Some(left) = pairs_left.checked_sub(1) else {
                break;
            };
            pairs_left = left;
            let known = rules.get(earlier).copied().flatten();
            if known.is_some_and(|known| covers(known, rule)) {
                cover = Some(cover.map_or(earlier, |first: usize| first.min(earlier)));
            }
        }
        found.push(cover);
        shelves.add(index, rule);
    }
    found
}

/// Earlier rules by what they name: whoever covers a rule stands on its host's shelf and on its path's.
#[derive(Debug, Default)]
struct Shelves {
    any_host: Vec<usize>,
    by_host: BTreeMap<Box<str>, Vec<usize>>,
    any_path: Vec<usize>,
    by_path: BTreeMap<Box<str>, Vec<usize>>,
}

impl Shelves {
    fn add(&mut self, index: usize, rule: &Conditions) {
        if rule.hosts.is_empty() {
            self.any_host.push(index);
        }
        for HostPattern::Exact(host) | HostPattern::Below(host) in &rule.hosts {
            self.by_host.entry(host.clone()).or_default().push(index);
        }
        let literal = |path: &PathPattern| match path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => Some(path.clone()),
            PathPattern::Expression(_) => None,
        };
        let literals: Option<Vec<Box<str>>> = rule.paths.iter().map(literal).collect();
        match literals {
            Some(paths) if !paths.is_empty() => {
                for path in paths {
                    self.by_path.entry(path).or_default().push(index);
                }
            }
            _ => self.any_path.push(index),
        }
    }

    /// The rules that may cover this one: those on the shorter of its shelves.
    fn near(&self, rule: &Conditions) -> Vec<usize> {
        let mut by_host = vec![&self.any_host];
        if let Some(HostPattern::Exact(host) | HostPattern::Below(host)) = rule.hosts.first() {
            let dots = host.match_indices('.').map(|(at, _)| at);
            let names = dots.filter(|at| *at > 0).filter_map(|at| host.get(at..));
            let names = std::iter::once(&**host).chain(names);
            by_host.extend(names.filter_map(|name| self.by_host.get(name)));
        }
        let mut by_path = vec![&self.any_path];
        match rule.paths.first() {
            Some(PathPattern::Exact(path) | PathPattern::Prefix(path)) => {
                let ends = path.match_indices('/').map(|(at, _)| at);
                let prefixes = ends.filter_map(|end| path.get(..end));
                let prefixes = prefixes.chain(std::iter::once(&**path));
                by_path.extend(prefixes.filter_map(|prefix| self.by_path.get(prefix)));
            }
            // An expression, or no path at all: only `/` covers it, or the same expression.
            _ => by_path.extend(self.by_path.get("")),
        }
        let size = |shelves: &[&Vec<usize>]| shelves.iter().map(|shelf| shelf.len()).sum::<usize>();
        let shelves = if size(&by_host) <= size(&by_path) {
            by_host
        } else {
            by_path
        };
        shelves.into_iter().flatten().copied().collect()
    }
}

/// Whether `earlier` matches every request that `later` matches.
fn covers(earlier: &Conditions, later: &Conditions) -> bool {
    // What an expression lets through nobody can tell.
    earlier.when.is_none()
        && all_of(&earlier.hosts, &later.hosts, host_covers)
        && (is_any_path(&earlier.paths) || all_of(&earlier.paths, &later.paths, path_covers))
        && all_of(&earlier.methods, &later.methods, |a, b| a == b)
        && implied(&earlier.headers, &later.headers)
        && implied(&earlier.query, &later.query)
        && all_of(&earlier.countries, &later.countries, |a, b| a == b)
        && all_of(&earlier.asns, &later.asns, |a, b| a == b)
        && all_of(&earlier.networks, &later.networks, |a, b| a.contains(b))
        && all_of(&earlier.classes, &later.classes, |a, b| a == b)
}

/// Lists of which one entry must hold: every entry of the later is within some entry of the earlier.
fn all_of<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    earlier.is_empty()
        || !later.is_empty() && later.iter().all(|b| earlier.iter().any(|a| covers(a, b)))
}

/// Lists of which all entries must hold: every entry of the earlier follows from some entry of the later.
fn implied(earlier: &[(Box<str>, ValuePattern)], later: &[(Box<str>, ValuePattern)]) -> bool {
    earlier.iter().all(|(name, asked)| {
        let same = later.iter().filter(|(other, _)| other == name);
        same.into_iter()
            .any(|(_, given)| value_covers(asked, given))
    })
}

fn host_covers(earlier: &HostPattern, later: &HostPattern) -> bool {
    match (earlier, later) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Below(a), HostPattern::Exact(b) | HostPattern::Below(b)) => b.ends_with(&**a),
        (HostPattern::Exact(_), HostPattern::Below(_)) => false,
    }
}

fn is_any_path(paths: &[PathPattern]) -> bool {
    let is_root =
        |path: &PathPattern| matches!(path, PathPattern::Prefix(prefix) if prefix.is_empty());
    paths.iter().any(is_root)
}

fn path_covers(earlier: &PathPattern, later: &PathPattern) -> bool {
    match (earlier, later) {
        (_, PathPattern::Exact(path)) => earlier.matches(path),
        (PathPattern::Prefix(_), PathPattern::Prefix(prefix)) => {
            !prefix.is_empty() && earlier.matches(prefix)
        }
        (PathPattern::Expression(a), PathPattern::Expression(b)) => a.text == b.text,
        _ => false,
    }
}

fn value_covers(earlier: &ValuePattern, later: &ValuePattern) -> bool {
    match (earlier, later) {
        (ValuePattern::Present, _) => true,
        (_, ValuePattern::Exact(value)) => earlier.matches(value),
        (ValuePattern::Prefix(a), ValuePattern::Prefix(b)) => b.starts_with(&**a),
        (ValuePattern::Expression(a), ValuePattern::Expression(b)) => a.text == b.text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        match text.strip_prefix('*') {
            Some(below) => HostPattern::Below(below.into()),
            None => HostPattern::Exact(text.into()),
        }
    }

    fn rule(hosts: &[&str], prefixes: &[&str]) -> Conditions {
        Conditions {
            hosts: hosts.iter().map(|text| host(text)).collect(),
            paths: prefixes
                .iter()
                .map(|text| PathPattern::Prefix((*text).into()))
                .collect(),
            ..Conditions::default()
        }
    }

    fn with_header(name: &str, value: ValuePattern, prefix: &str) -> Conditions {
        Conditions {
            headers: vec![(name.into(), value)],
            ..rule(&[], &[prefix])
        }
    }

    fn covered(rules: &[Conditions]) -> Vec<Option<usize>> {
        let rules: Vec<Option<&Conditions>> = rules.iter().map(Some).collect();
        covered_by(&rules)
    }

    #[test]
    fn a_wider_rule_before_a_narrower_one_covers_it() {
        for (earlier, later, covers) in [
            (rule(&[], &["/a"]), rule(&[], &["/a/b"]), true),
            (rule(&[], &["/a"]), rule(&[], &["/ab"]), false),
            (rule(&[], &["/a/b"]), rule(&[], &["/a"]), false),
            (rule(&[], &[""]), rule(&["x"], &[]), true),
            (rule(&["x"], &["/a"]), rule(&["x"], &["/a/b"]), true),
            (rule(&["x"], &["/a"]), rule(&["y"], &["/a/b"]), false),
            (rule(&["*.x"], &[]), rule(&["a.x", "b.a.x"], &["/a"]), true),
            (rule(&["*.x"], &[]), rule(&["*.a.x"], &[]), true),
            (rule(&["*.x"], &[]), rule(&["x"], &[]), false),
            (rule(&["x", "y"], &[]), rule(&["y", "x"], &[]), true),
            (rule(&["x"], &[]), rule(&[], &["/a"]), false),
            (rule(&[], &[]), rule(&["x"], &["/a"]), true),
        ] {
            let text = format!("{earlier:?} {later:?}");
            let expected = vec![None, covers.then_some(0)];
            assert_eq!(covered(&[earlier, later]), expected, "{text}");
        }
    }

    #[test]
    fn a_condition_more_covers_less() {
        let exact = || ValuePattern::Exact("1".into());
        let any = || with_header("x", ValuePattern::Present, "/a");
        assert_eq!(
            covered(&[any(), with_header("x", exact(), "/a/b")])[1],
            Some(0)
        );
        assert_eq!(covered(&[with_header("x", exact(), "/a"), any()])[1], None);
        assert_eq!(covered(&[with_header("y", exact(), "/a"), any()])[1], None);
        assert_eq!(covered(&[rule(&[], &["/a"]), any()])[1], Some(0));
    }

    #[test]
    fn the_first_cover_is_named_and_unknown_rules_cover_nothing() {
        let (a, b) = (rule(&[], &["/a"]), rule(&[], &["/a/b"]));
        assert_eq!(
            covered_by(&[Some(&a), Some(&a), Some(&b)]),
            [None, Some(0), Some(0)]
        );
        assert_eq!(covered_by(&[None, Some(&b), None]), [None, None, None]);
    }
}
