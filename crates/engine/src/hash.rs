//! The stable hash of keys and nodes, specified bit for bit in `docs/hashing.md`.
//!
//! Every sidecar of a fleet, in whatever release and on whatever processor, must name the same node for the same
//! object. So the algorithm is a published one (XXH3, 64 bits), the seeds are constants with a version, and golden
//! vectors in `testdata/vectors/hash.json` hold both still.
//!
//! A key has several parts (host, path, a header). They are *chained*: the hash of one part is the seed of the next.
//! Each step also takes in the length of its part, so `["ab", "c"]` and `["a", "bc"]` differ, and no part is ever copied
//! to a buffer, whatever its length.
//!
//! What this module does not do: resist an attacker who wants two keys to collide. The seeds are public, because any
//! proxy must be able to compute the same answer. Such an attacker can only send his own requests to one node.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the definition: of what a key's parts are (the normal form of requests, [`request`](super::request)), of
/// this module, and of the race in [`rank`](super::rank). A change of any output bit is a change of version, because it
/// moves keys of a running fleet.
///
/// Version 2 reads requests in normal form and changes nothing else, so the seeds are those of version 1 and only the keys
/// of requests move that were spelled in another way.
pub const VERSION: u32 = 2;

/// Seed of the first part of a key: the bytes `twkey/v1`, read as a big-endian number.
const KEY_SEED: u64 = u64::from_be_bytes(*b"twkey/v1");

/// Seed of node ids: the bytes `twnode/1`. It differs from [`KEY_SEED`], so a node and a key of the same spelling are
/// unrelated.
const NODE_SEED: u64 = u64::from_be_bytes(*b"twnode/1");

/// Hash of a cache key: 64 bits, uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u64);

/// Seed of a node in the race: 64 bits, uniform, made from the stable id of the node and nothing else. An address or a
/// position may change without moving a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeSeed(pub u64);

impl NodeSeed {
    /// The seed of the node with this id.
    ///
    /// ```
    /// use tradewind_engine::hash::NodeSeed;
    ///
    /// assert_eq!(NodeSeed::of_id("fra-01"), NodeSeed::of_id("fra-01"));
    /// assert_ne!(NodeSeed::of_id("fra-01"), NodeSeed::of_id("fra-02"));
    /// ```
    pub fn of_id(id: &str) -> Self {
        Self(xxh3_64_with_seed(id.as_bytes(), NODE_SEED))
    }
}

/// The hash of a key with these parts, in this order. A part may be empty, and of any length; an empty part is not the
/// same as no part.
///
/// ```
/// use tradewind_engine::hash;
///
/// assert_ne!(hash::key(&[b"ab", b"c"]), hash::key(&[b"a", b"bc"]));
/// ```
#[inline]
pub fn key(parts: &[&[u8]]) -> KeyHash {
    match parts {
        [] => KeyHash(KEY_SEED),
        // A seed known to the compiler is folded into the secret of XXH3, which spares a quarter of the instructions.
        [only] => KeyHash(xxh3_64_with_seed(only, KEY_SEED)),
        [first, rest @ ..] => chain(first, rest),
    }
}

/// Apart from [`key`], which then has no register to save.
#[inline(never)]
fn chain(first: &[u8], rest: &[&[u8]]) -> KeyHash {
    let start = KeyHash(xxh3_64_with_seed(first, KEY_SEED));
    rest.iter().fold(start, |hash, part| hash.then(part))
}

impl KeyHash {
    /// The hash of the same key with one more part at its end: `key(&[a, b]) == key(&[a]).then(b)`.
    #[inline(never)]
    #[must_use]
    pub fn then(self, part: &[u8]) -> Self {
        Self(xxh3_64_with_seed(part, self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let spellings: [&[&[u8]]; 8] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"abc"],
            &[b"abc", b""],
            &[b"", b"abc"],
            &[b"ab", b"c"],
            &[b"a", b"bc"],
        ];
        for (index, one) in spellings.iter().enumerate() {
            for other in spellings.iter().skip(index + 1) {
                assert_ne!(key(one), key(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_key_and_a_node_of_the_same_spelling_differ() {
        assert_ne!(key(&[b"fra-01"]).0, NodeSeed::of_id("fra-01").0);
    }

    #[test]
    fn a_key_can_be_built_part_by_part() {
        let long = vec![b'x'; 65_536];
        let whole = key(&[b"cdn.example.com", b"/a", &long]);
        assert_eq!(
            whole,
            key(&[b"cdn.example.com"]).then(b"/a").then(long.as_slice())
        );
    }

    #[test]
    fn every_byte_of_a_long_part_counts() {
        let mut long = vec![b'x'; 65_536];
        let before = key(&[&long]);
        for position in [0, 255, 256, 1023, 1024, 40_000, 65_535] {
            long[position] = b'y';
            assert_ne!(key(&[&long]), before, "byte {position}");
            long[position] = b'x';
        }
    }
}
