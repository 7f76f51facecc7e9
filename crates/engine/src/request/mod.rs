//! One reading of a request. Whatever a door, a log or a pattern of the policy is given is turned into one form here, so
//! that rules and keys see the same request however it was spelled, and whoever asked.
//!
//! - [`target`]: what stands in the request line, taken apart (RFC 9112, section 3.2);
//! - [`path`]: paths and query strings in normal form (RFC 3986, section 6.2.2);
//! - [`host`]: host names as they compare;
//! - [`address`]: the addresses of clients, as proxies and logs write them.
//!
//! What it deliberately does not do: it answers nobody. What cannot be read is a fault, and the doors say whose.

pub mod address;
pub mod host;
pub mod path;
pub mod target;

use std::borrow::Cow;

use path::PathForm;

/// How a policy reads requests: which headers it looks at, and what it takes paths for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The headers that a rule or key looks at, in lower case, each once. All others are left alone.
    pub header_names: Vec<Box<str>>,
    /// What paths are where servers differ.
    pub paths: PathForm,
}

impl Reading {
    /// Whether a rule or key looks at the header called `name`, in any case.
    #[inline]
    pub fn looks_at(&self, name: &str) -> bool {
        let mut known = self.header_names.iter();
        known.any(|known| known.eq_ignore_ascii_case(name))
    }

    /// How requests are read that another policy may decide as well: its headers beside these, and paths as here.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        let more = other.header_names.iter();
        both.header_names
            .extend(more.filter(|name| !self.looks_at(name)).cloned());
        both
    }
}

/// Bytes of a request as text: what is not UTF-8 is percent-encoded, which is how its normal form has it anyway.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            path::push_escaped(*byte, &mut text);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_encoded() {
        assert!(matches!(text_of(b"/caf\xc3\xa9"), Cow::Borrowed("/café")));
        assert_eq!(text_of(b"/caf\xe9.jpg"), "/caf%E9.jpg");
    }
}
