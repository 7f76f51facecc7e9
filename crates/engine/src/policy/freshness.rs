//! What purges may name requests of a rule by, and how long caches keep what they ask for.

use arrayvec::{ArrayString, ArrayVec};

use super::document::{
    AdaptiveTtlDocument, FreshnessDocument, RuleDocument, RuleFreshnessDocument,
};
use crate::document::{Checker, Code, DurationMs, Path};
use crate::freshness::lifetime::Adaptive;
use crate::freshness::object::{self, MAX_TAGS};
use crate::freshness::selector::{MAX_TAG_BYTES, Selector, is_namespace};
use crate::hash::KeyHash;

/// The longest that caches may keep anything, in ms: 90 days.
const MAX_TTL_MS: u64 = 90 * 24 * 3_600_000;

/// The hashes of a request's tags.
pub(crate) type Tags = ArrayVec<KeyHash, MAX_TAGS>;

/// How long caches may keep an object.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Lifetime {
    /// As long as its origin says.
    #[default]
    Origin,
    /// So long, in ms.
    Fixed(u32),
    /// As it follows how often objects of its class change.
    Adaptive(Adaptive),
}

/// What of freshness is the same for all requests of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Freshness {
    /// The namespace; empty for none.
    pub namespace: Box<str>,
    /// How long caches may keep an object.
    pub lifetime: Lifetime,
    tags: Box<[TagRecipe]>,
}

/// A tag with what it takes of the path.
#[derive(Debug, Clone, PartialEq)]
struct TagRecipe(Box<[Part]>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Box<str>),
    /// The segment of this number, from 1.
    Segment(usize),
}

impl Freshness {
    pub(super) fn new(document: &RuleFreshnessDocument) -> Self {
        let whole_ms = |d: DurationMs| u32::try_from(d.as_ms()).unwrap_or(u32::MAX);
        let tags = document.tags.iter();
        Self {
            namespace: document.namespace.as_deref().unwrap_or_default().into(),
            lifetime: match (document.cache_ttl, &document.adaptive_ttl) {
                (Some(ttl), _) => Lifetime::Fixed(whole_ms(ttl)),
                (None, Some(adaptive)) => Lifetime::Adaptive(Adaptive {
                    min_ms: whole_ms(adaptive.min),
                    max_ms: whole_ms(adaptive.max),
                    staleness: adaptive.staleness_percent / 100.0,
                }),
                (None, None) => Lifetime::Origin,
            },
            tags: tags.filter_map(|text| TagRecipe::new(text)).collect(),
        }
    }

    /// The tags of a request for this path.
    pub(crate) fn tags(&self, path: &str) -> Tags {
        self.tags_in(&self.namespace, path)
    }

    /// The same, were they of this namespace.
    pub(crate) fn tags_in(&self, namespace: &str, path: &str) -> Tags {
        let tags = self.tags.iter();
        tags.filter_map(|tag| tag.of(path))
            .map(|tag| object::tag(namespace, &tag))
            .take(MAX_TAGS)
            .collect()
    }
}

impl TagRecipe {
    /// `None` for a text that no tag can be made of.
    fn new(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (number, behind) = after.split_once('}')?;
            let segment = number.parse().ok().filter(|it| (1..=9).contains(it))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Segment(segment));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Selector::tag(text).ok()?;
        (!rest.contains('}')).then(|| Self(parts.into()))
    }

    /// The tag of a request; `None` where its path has no such segment, or a tag would be too long.
    fn of(&self, path: &str) -> Option<ArrayString<MAX_TAG_BYTES>> {
        let mut tag = ArrayString::new();
        for part in &self.0 {
            let text = match part {
                Part::Text(text) => text,
                Part::Segment(number) => {
                    path.split('/').nth(*number).filter(|it| !it.is_empty())?
                }
            };
            tag.try_push_str(text).ok()?;
        }
        Some(tag)
    }
}

/// Checks the section of the whole policy.
pub(super) fn check(checker: &mut Checker<'_>, path: &Path<'_>, document: &FreshnessDocument) {
    let allowed = 60_000..=MAX_TTL_MS;
    checker.duration_in(&path.field("max_ttl"), document.max_ttl, &allowed);
    let field = path.field("guard_percent");
    checker.in_range(Code::P006, &field, document.guard_percent, &(1.0..=100.0));
}

/// Checks the section of a rule.
pub(super) fn check_rule(checker: &mut Checker<'_>, path: &Path<'_>, document: &RuleDocument) {
    let path = path.field("freshness");
    let RuleFreshnessDocument {
        namespace,
        tags,
        cache_ttl,
        adaptive_ttl,
    } = &document.freshness;
    if let Some(name) = namespace {
        let field = path.field("namespace");
        if !is_namespace(name) || name.is_empty() {
            let message = format!("`{}` is no name of a namespace", name.escape_debug());
            let help = "1 to 64 lower case letters, digits, `-`, `_` and `.`";
            checker.error(Code::P004, &field, message, help);
        }
    }
    if let Some(ttl) = cache_ttl {
        checker.duration_in(&path.field("cache_ttl"), *ttl, &(0..=MAX_TTL_MS));
    }
    if let Some(adaptive) = adaptive_ttl {
        let field = path.field("adaptive_ttl");
        if cache_ttl.is_some() {
            let message = "`adaptive_ttl` is given beside `cache_ttl`".to_owned();
            checker.error(Code::P006, &field, message, "one of the two");
        }
        let AdaptiveTtlDocument {
            min,
            max,
            staleness_percent,
        } = adaptive;
        checker.duration_in(&field.field("min"), *min, &(1_000..=MAX_TTL_MS));
        let from = min.as_ms().min(MAX_TTL_MS);
        checker.duration_in(&field.field("max"), *max, &(from..=MAX_TTL_MS));
        let percent = field.field("staleness_percent");
        checker.in_range(Code::P006, &percent, *staleness_percent, &(0.01..=50.0));
    }
    let list = path.field("tags");
    checker.at_most(Code::P001, &list, tags.len(), MAX_TAGS);
    for (at, tag) in tags.iter().enumerate() {
        if TagRecipe::new(tag).is_none() {
            let message = format!("`{}` is no tag that a request can have", tag.escape_debug());
            let help = "1 to 256 printable characters without spaces; braces only as `{1}` to `{9}`, segments of the path";
            checker.error(Code::P007, &list.index(at), message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(recipes: &[&str], path: &str) -> Vec<KeyHash> {
        let document = RuleFreshnessDocument {
            namespace: Some("shop".to_owned()),
            tags: recipes.iter().map(|&it| it.to_owned()).collect(),
            ..RuleFreshnessDocument::default()
        };
        Freshness::new(&document).tags(path).to_vec()
    }

    #[test]
    fn a_tag_takes_segments_of_the_path() {
        let of = |tag: &str| object::tag("shop", tag);
        assert_eq!(
            tags(&["all", "p/{2}"], "/products/7"),
            [of("all"), of("p/7")]
        );
        assert_eq!(tags(&["{1}-{2}.x"], "/a/b/c"), [of("a-b.x")]);
        assert_eq!(tags(&["p/{2}", "{1}"], "/products"), [of("products")]);
        assert!(tags(&["{1}"], "/").is_empty());
        let long = format!("/{}", "a".repeat(300));
        assert!(tags(&["{1}"], &long).is_empty());
    }

    #[test]
    fn what_no_tag_can_be_made_of_is_refused() {
        for bad in ["", "{0}", "{10}", "{x}", "{1", "1}", "a b", "{}"] {
            assert_eq!(TagRecipe::new(bad), None, "{bad:?}");
        }
        assert!(TagRecipe::new("{1}{2}").is_some());
    }
}
