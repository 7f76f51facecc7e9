//! Names, positions and quantities that the whole engine shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest id of a site, node, pool or rule, in bytes.
pub const MAX_ID_BYTES: usize = 64;

/// What an id may look like, for messages.
pub const ID_RULE: &str =
    "1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`, beginning with a letter or digit";

/// Whether `text` may name a site, node, pool or rule: see [`ID_RULE`].
pub fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= MAX_ID_BYTES
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Text from outside, cut to `most` characters and without control characters, so that it can stand in a message.
pub fn printable(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Gives an enumeration its words, and the list of all of its values: a value without a word, or a word that is not in the
/// list, does not compile.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in answers, logs and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

pub(crate) use names;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($type:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $type);

        impl $name {
            /// The position as an offset into its table.
            pub fn get(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// A node's position in the topology's node table, which is sorted by site id, then node id.
    NodeIndex(u32)
}
index! {
    /// A site's position in the topology's site table, which is sorted by id.
    SiteIndex(u16)
}
index! {
    /// A tier's position in the topology's tier list; 0 is the one nearest to clients.
    TierIndex(u8)
}
index! {
    /// A pool's position in the policy.
    PoolIndex(u16)
}
index! {
    /// A rule's position in the policy; lower matches first.
    RuleIndex(u16)
}

index! {
    /// A content class: 0 is what belongs to none, `n + 1` the policy's n-th class.
    ClassIndex(u8)
}

/// Whether operators let a node or site take traffic.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// Takes traffic.
    #[default]
    Ready,
    /// Takes no new traffic unless nothing else is left.
    Drain,
    /// Takes no traffic at all.
    Maintenance,
}

impl AdminState {
    /// The word used in documents and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// The SHA-256 of a document's text: the name of a revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A number of it, unlike those of other digests.
    pub fn salt(&self) -> u64 {
        self.0
            .first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    }

    /// The first eight bytes as 16 hexadecimal digits: enough to tell revisions apart by eye.
    pub fn short(&self) -> String {
        self.to_string().chars().take(16).collect()
    }
}

/// Which lane of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LaneIndex {
    /// That of the policy in force.
    #[default]
    First,
    /// That of a candidate; the first where there is none.
    Second,
}

impl LaneIndex {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| NotADigest)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let value = digit(pair[0]).zip(digit(pair[1]));
            let value = value.map(|(high, low)| high << 4 | low);
            *byte = value
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(NotADigest)?;
        }
        rest.is_empty().then_some(Self(bytes)).ok_or(NotADigest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = Digest::of(b"text");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let short = digest.short();
        let long = format!("{digest}0");
        let other = digest
            .to_string()
            .replace(|c: char| c.is_ascii_digit(), "x");
        for bad in ["", &short, &long, &other] {
            assert_eq!(bad.parse::<Digest>(), Err(NotADigest), "{bad}");
        }
    }

    #[test]
    fn ids_are_plain_words() {
        for good in ["fra-1", "FRA", "0", "a.b_c-d", &"x".repeat(64)] {
            assert!(is_id(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a b",
            "a\r\n",
            "ä",
            "a/b",
            "a:1",
            &"x".repeat(65),
        ] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_names_its_text() {
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc1c14");
        assert_ne!(Digest::of(b"a"), Digest::of(b"b"));
    }
}
