//! How nodes of a pool are told to drop what was purged.

use super::document::{FreshBy, PoolDocument, ReclaimDocument};
use crate::document::{Checker, Code, Path};

/// Longest name of a method, in bytes.
const MAX_METHOD: usize = 32;

/// A header that goes with each purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReclaimHeader {
    /// Its name.
    pub name: Box<str>,
    /// Its value.
    pub value: Box<str>,
}

/// How nodes are told to drop what was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaim {
    /// The method for a single object.
    pub method: Box<str>,
    /// The method for what is more than one object; `None` where they are not told of such.
    pub wide_method: Option<Box<str>>,
    /// Where they listen for it; `None` for where they listen.
    pub port: Option<u16>,
    /// A header that goes with each.
    pub header: Option<ReclaimHeader>,
    /// Whether its nodes are named for an object only once they have done its purges.
    pub is_awaited: bool,
}

impl Reclaim {
    /// `None` of a pool whose nodes are not told.
    pub(super) fn of(document: &PoolDocument) -> Option<Self> {
        let reclaim = document.reclaim.as_ref()?;
        let header = reclaim.header.as_deref().and_then(header);
        Some(Self {
            method: reclaim.method.as_str().into(),
            wide_method: reclaim.wide_method.as_deref().map(Into::into),
            port: reclaim.port,
            header: header.map(|(name, value)| ReclaimHeader {
                name: name.into(),
                value: value.into(),
            }),
            is_awaited: document.freshness == FreshBy::Node,
        })
    }
}

/// The name and the value of `Name: value`.
fn header(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    // Blanks only: what breaks a line is no part of a header.
    let value = value.trim_matches(' ');
    let is_value = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (is_token(name) && is_value).then_some((name, value))
}

fn is_token(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_it)
}

/// Checks what a pool says of it.
pub(super) fn check(checker: &mut Checker<'_>, path: &Path<'_>, document: &PoolDocument) {
    let wide = document
        .reclaim
        .as_ref()
        .and_then(|it| it.wide_method.as_ref());
    if document.freshness == FreshBy::Node && wide.is_none() {
        let message =
            "`freshness: node` is given, and its nodes are not told of every purge".to_owned();
        let help =
            "say how in `reclaim`, with a `wide_method` for prefixes, hosts, tags and namespaces";
        checker.error(Code::P006, &path.field("freshness"), message, help);
    }
    let Some(ReclaimDocument {
        method,
        wide_method,
        port,
        header: given,
    }) = &document.reclaim
    else {
        return;
    };
    let path = path.field("reclaim");
    let methods = [
        ("method", Some(method)),
        ("wide_method", wide_method.as_ref()),
    ];
    for (field, method) in methods {
        if let Some(method) = method.filter(|it| it.len() > MAX_METHOD || !is_token(it)) {
            let message = format!("`{}` is no method of HTTP", method.escape_debug());
            let help = "1 to 32 letters, digits and characters of tokens, like PURGE or BAN";
            checker.error(Code::P006, &path.field(field), message, help);
        }
    }
    if *port == Some(0) {
        let message = "the port is 0".to_owned();
        checker.error(Code::P006, &path.field("port"), message, "1 to 65535");
    }
    if let Some(text) = given
        && (text.len() > 512 || header(text).is_none())
    {
        let message = format!("`{}` is no header", text.escape_debug());
        let help = "`Name: value` of printable ASCII, at most 512 bytes";
        checker.error(Code::P006, &path.field("header"), message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(header("X-Key: a b"), Some(("X-Key", "a b")));
        for bad in ["X-Key", ": a", "X Key: a", "X-Key: ", "X-Key: a\n"] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }
}
