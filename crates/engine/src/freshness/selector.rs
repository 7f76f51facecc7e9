//! What a purge covers, as people name it.

use std::fmt;

use super::object::{self, MAX_DEPTH};
use crate::hash::KeyHash;
use crate::request::host::{HostRoom, host, normal_host};
use crate::request::path::{PathForm, normal_path, normal_query};
use crate::request::target::Target;

/// Longest URL, prefix or tag, in bytes.
pub const MAX_BYTES: usize = 8_192;

/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 256;

/// Longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 64;

/// Something that a purge covers; all parts are in the normal form of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A path on a host, with every query and variant.
    Path {
        /// The host.
        host: Box<str>,
        /// The path.
        path: Box<str>,
    },
    /// A path on a host with this query.
    Query {
        /// The host.
        host: Box<str>,
        /// The path.
        path: Box<str>,
        /// What follows `?`.
        query: Box<str>,
    },
    /// Everything on a host at and below a path.
    Prefix {
        /// The host.
        host: Box<str>,
        /// Whole segments, without a final slash.
        prefix: Box<str>,
    },
    /// Everything on a host.
    Host(Box<str>),
    /// Everything with a tag.
    Tag(Box<str>),
    /// Everything of the purge's namespace.
    Namespace,
}

/// Why a text names nothing that can be purged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorFault {
    /// No scheme and host.
    #[error("must be a whole URL, as https://www.example.com/path")]
    NotWhole,
    /// Its host is none, or none that a request may have.
    #[error("has no host that a request could have: a name or an address, and a port in digits")]
    Host,
    /// Its path or query is none that a request may have.
    #[error("{0}")]
    Unusual(String),
    /// A pattern, which versions cannot follow.
    #[error(
        "has `*`, and patterns cannot be purged: purge the prefix {prefix} instead, which covers more, or write `%2A` for a star itself"
    )]
    Pattern {
        /// What covers all that the pattern does.
        prefix: String,
    },
    /// A prefix with a query.
    #[error("has a query, which a prefix covers anyway: leave out what begins at `?`")]
    PrefixWithQuery,
    /// A prefix too deep.
    #[error("has {0} segments; a prefix has at most {MAX_DEPTH}")]
    Deep(usize),
    /// Too long.
    #[error("has {0} bytes; at most {1} are allowed")]
    Long(usize, usize),
    /// Nothing, spaces or control characters.
    #[error("must be of printable characters without spaces, and not empty")]
    NotATag,
}

/// A URL taken apart, in normal form.
struct Parts {
    host: Box<str>,
    path: Box<str>,
    query: Box<str>,
}

impl Selector {
    /// The object at a URL: with every query, or with just the one it has where `is_exact`. Paths are read as `form` says.
    pub fn url(text: &str, is_exact: bool, form: PathForm) -> Result<Self, SelectorFault> {
        let Parts { host, path, query } = parts(text, form)?;
        Ok(if is_exact {
            Self::Query { host, path, query }
        } else {
            Self::Path { host, path }
        })
    }

    /// Everything at and below a URL; of the root, the whole host.
    pub fn prefix(text: &str, form: PathForm) -> Result<Self, SelectorFault> {
        let Parts { host, path, query } = parts(text, form)?;
        if !query.is_empty() {
            return Err(SelectorFault::PrefixWithQuery);
        }
        let prefix = path.trim_end_matches('/');
        let depth = object::depth(prefix);
        if depth > MAX_DEPTH {
            return Err(SelectorFault::Deep(depth));
        }
        if prefix.is_empty() {
            return Ok(Self::Host(host));
        }
        let prefix = prefix.into();
        Ok(Self::Prefix { host, prefix })
    }

    /// Everything on a host.
    pub fn host(text: &str) -> Result<Self, SelectorFault> {
        normal_host_of(text).map(Self::Host)
    }

    /// Everything with a tag.
    pub fn tag(text: &str) -> Result<Self, SelectorFault> {
        within(text, MAX_TAG_BYTES)?;
        let is_plain = !text.is_empty() && text.chars().all(|it| !it.is_control() && it != ' ');
        if is_plain {
            Ok(Self::Tag(text.into()))
        } else {
            Err(SelectorFault::NotATag)
        }
    }

    /// The hash that objects are found by which it covers.
    pub fn hash(&self, namespace: &str) -> KeyHash {
        match self {
            Self::Path { host, path } => object::path(object::host(host), path),
            Self::Query { host, path, query } => {
                object::query(object::path(object::host(host), path), query)
            }
            Self::Prefix { host, prefix } => object::prefix(object::host(host), prefix),
            Self::Host(host) => object::host(host),
            Self::Tag(tag) => object::tag(namespace, tag),
            Self::Namespace => object::namespace(namespace),
        }
    }

    /// The host that it is of; `None` of tags and namespaces.
    pub fn of_host(&self) -> Option<&str> {
        match self {
            Self::Path { host, .. }
            | Self::Query { host, .. }
            | Self::Prefix { host, .. }
            | Self::Host(host) => Some(host),
            Self::Tag(_) | Self::Namespace => None,
        }
    }
}

/// `www.example.com/a?b`, `www.example.com/a/*`, `tag product/7`, `all`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { host, path } => write!(f, "{host}{path}"),
            Self::Query { host, path, query } => write!(f, "{host}{path}?{query}"),
            Self::Prefix { host, prefix } => write!(f, "everything below {host}{prefix}"),
            Self::Host(host) => write!(f, "everything on {host}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Namespace => f.write_str("everything"),
        }
    }
}

/// Whether a text is the name of a namespace: lower case letters, digits, `-`, `_` and `.`, at most 64; empty for none.
pub fn is_namespace(text: &str) -> bool {
    let is_in_names =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    text.len() <= MAX_NAMESPACE_BYTES && text.bytes().all(is_in_names)
}

fn parts(text: &str, form: PathForm) -> Result<Parts, SelectorFault> {
    within(text, MAX_BYTES)?;
    let target = Target::split(text).map_err(|fault| SelectorFault::Unusual(fault.to_string()))?;
    let authority = target.authority.ok_or(SelectorFault::NotWhole)?;
    let host = normal_host_of(authority)?;
    let unusual =
        |fault: crate::request::path::PathFault| SelectorFault::Unusual(fault.to_string());
    if let Some((before, _)) = target.path.split_once('*') {
        let (folder, _) = before.rsplit_once('/').unwrap_or_default();
        let prefix = format!("https://{host}{folder}/");
        return Err(SelectorFault::Pattern { prefix });
    }
    let (mut room, mut query_room) = (String::new(), String::new());
    let path = normal_path(target.path, form, &mut room).map_err(unusual)?;
    let query = normal_query(target.query, &mut query_room).map_err(unusual)?;
    // As it is written down, it is to be read again: a star takes three bytes there, and what was sent raw does already.
    let stars = path.bytes().chain(query.bytes()).filter(|it| *it == b'*');
    let written = "https://?".len() + host.len() + path.len() + query.len() + 2 * stars.count();
    if written > MAX_BYTES {
        return Err(SelectorFault::Long(written, MAX_BYTES));
    }
    Ok(Parts {
        path: path.into(),
        query: query.into(),
        host,
    })
}

fn normal_host_of(text: &str) -> Result<Box<str>, SelectorFault> {
    let mut room = HostRoom::new();
    let known = host(text).map_err(|_| SelectorFault::Host)?;
    let name = normal_host(known, &mut room);
    if name.is_empty() {
        return Err(SelectorFault::Host);
    }
    Ok(name.into())
}

fn within(text: &str, most: usize) -> Result<(), SelectorFault> {
    if text.len() > most {
        return Err(SelectorFault::Long(text.len(), most));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        match Selector::url(text, false, PathForm::default()) {
            Ok(selector) => selector.to_string(),
            Err(fault) => format!("! {fault}"),
        }
    }

    fn prefix(text: &str) -> String {
        match Selector::prefix(text, PathForm::default()) {
            Ok(selector) => selector.to_string(),
            Err(fault) => format!("! {fault}"),
        }
    }

    #[test]
    fn a_url_is_read_as_requests_are() {
        assert_eq!(
            url("https://www.Example.com:443/a/../b%2Fc?w=1"),
            "www.example.com/b/c"
        );
        assert_eq!(url("HTTP://h"), "h/");
        let exact = Selector::url("http://h/a?w=%31", true, PathForm::default()).unwrap();
        assert_eq!(exact.to_string(), "h/a?w=1");
    }

    #[test]
    fn what_names_no_object_is_told_apart() {
        assert_eq!(
            url("/a"),
            "! must be a whole URL, as https://www.example.com/path"
        );
        assert_eq!(
            url("www.example.com/a"),
            "! must be a whole URL, as https://www.example.com/path"
        );
        assert!(
            url("https://u@h/a").contains("user"),
            "{}",
            url("https://u@h/a")
        );
        assert!(url("https://h h/a").contains("no host"));
        assert!(url("https://h/a\\b").contains("backslash"));
        assert!(url(&format!("https://h/{}", "a".repeat(9_000))).contains("9010 bytes"));
        // In normal form it would be too long to be read again.
        assert!(url(&format!("https://h/{}", "é".repeat(2_000))).contains("12011 bytes"));
    }

    #[test]
    fn a_pattern_is_refused_with_the_prefix_that_covers_it() {
        assert!(url("https://h/img/*.jpg").contains("purge the prefix https://h/img/ instead"));
        assert!(prefix("https://h/*").contains("purge the prefix https://h/ instead"));
        assert_eq!(url("https://h/a%2Ab"), "h/a*b");
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        assert_eq!(prefix("https://h/catalog/"), "everything below h/catalog");
        assert_eq!(prefix("https://h/catalog"), "everything below h/catalog");
        assert_eq!(prefix("https://h/"), "everything on h");
        assert!(prefix("https://h/a?b=1").contains("a prefix covers anyway"));
        assert!(prefix(&format!("https://h{}", "/a".repeat(39))).contains("has 39 segments"));
    }

    #[test]
    fn a_tag_and_a_namespace_are_printable() {
        assert!(Selector::tag("product/7").is_ok());
        for bad in ["", "a b", "a\n"] {
            assert_eq!(Selector::tag(bad), Err(SelectorFault::NotATag), "{bad:?}");
        }
        assert!(is_namespace("shop-1.eu") && is_namespace(""));
        assert!(!is_namespace("Shop") && !is_namespace("a/b") && !is_namespace(&"a".repeat(65)));
    }
}
