//! What a purge can name, as hashes: an object, everything below a path, a host, a tag, a namespace.
//!
//! They are made of the parts of requests in normal form ([`request`](crate::request)) by the hash that keys are made by, and not
//! by the recipe of a rule: whatever a rule puts into its keys, the purge of a path covers all variants of it. A salt of its own for each kind keeps a path, a prefix and a tag of one spelling apart.

use crate::hash::{self, KeyHash};

/// Most segments of a prefix; deeper ones are refused.
pub const MAX_DEPTH: usize = 38;

/// Most tags that a rule gives its requests.
pub const MAX_TAGS: usize = 4;

/// The bytes `twpurge/`, and the kind in the last: salts of hashes.
const PREFIX_SALT: u64 = u64::from_be_bytes(*b"twpurgeP");
const TAG_SALT: u64 = u64::from_be_bytes(*b"twpurgeT");
const NAMESPACE_SALT: u64 = u64::from_be_bytes(*b"twpurgeN");

/// What a request asks for, as purges may name it. Everything is in the normal form of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Object<'a> {
    /// The host.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query, without `?`.
    pub query: &'a str,
    /// The namespace that its rule is of; empty for none.
    pub namespace: &'a str,
    /// The tags that its rule gives it.
    pub tags: &'a [KeyHash],
}

impl Object<'_> {
    /// The hashes of everything that a purge of which would cover it.
    pub fn covering(&self) -> impl Iterator<Item = KeyHash> {
        let host = host(self.host);
        let path = path(host, self.path);
        let query = query(path, self.query);
        let all = (2 << MAX_DEPTH) - 2;
        let prefixes = prefixes(self.path, all).map(move |(_depth, text)| prefix(host, text));
        let whole = [path, query, host, namespace(self.namespace)].into_iter();
        whole.chain(prefixes).chain(self.tags.iter().copied())
    }
}

/// The hash of a host.
#[inline]
pub fn host(host: &str) -> KeyHash {
    hash::key(&[host.as_bytes()])
}

/// The hash of a path on a host, whatever its query.
#[inline]
pub fn path(host: KeyHash, path: &str) -> KeyHash {
    host.then(path.as_bytes())
}

/// The hash of a path with a query.
#[inline]
pub fn query(path: KeyHash, query: &str) -> KeyHash {
    path.then(query.as_bytes())
}

/// The hash of everything on a host at and below a path of whole segments, without a final slash.
#[inline]
pub fn prefix(host: KeyHash, prefix: &str) -> KeyHash {
    KeyHash(host.0 ^ PREFIX_SALT).then(prefix.as_bytes())
}

/// The hash of a tag of a namespace.
pub fn tag(namespace: &str, tag: &str) -> KeyHash {
    let space = hash::key(&[namespace.as_bytes()]);
    KeyHash(space.0 ^ TAG_SALT).then(tag.as_bytes())
}

/// The hash of everything of a namespace.
pub fn namespace(namespace: &str) -> KeyHash {
    KeyHash(NAMESPACE_SALT).then(namespace.as_bytes())
}

/// The prefixes that a path is below or at, the shortest first, each with its depth in segments: `/a/b` has `/a` at 1 and `/a/b`
/// at 2. Only those of depths that `wanted` has as bits.
#[inline]
pub fn prefixes(path: &str, wanted: u64) -> impl Iterator<Item = (usize, &str)> {
    let last = 64 - wanted.leading_zeros() as usize;
    let ends = path.bytes().enumerate().skip(1);
    let ends = ends.filter_map(|(at, byte)| (byte == b'/').then_some(at));
    let depths = (1..last).zip(ends.chain([path.len()]));
    depths
        .filter(move |(depth, _)| wanted >> depth & 1 == 1)
        .filter_map(|(depth, end)| Some((depth, path.get(..end)?)))
}

/// How many segments a prefix has: `/a/b` has 2, the empty one none.
pub fn depth(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, wanted: u64) -> Vec<(usize, &str)> {
        prefixes(path, wanted).collect()
    }

    #[test]
    fn prefixes_are_whole_segments_from_the_shortest() {
        assert_eq!(
            found("/a/bc/d.jpg", u64::MAX >> 25),
            [(1, "/a"), (2, "/a/bc"), (3, "/a/bc/d.jpg")]
        );
        assert_eq!(found("/a/bc/d.jpg", 0b100), [(2, "/a/bc")]);
        assert_eq!(found("/a/", 0b110), [(1, "/a"), (2, "/a/")]);
        assert_eq!(found("/", 0b10), [(1, "/")]);
        assert!(found("/a/b", 0).is_empty());
        assert!(found("/a/b", 1).is_empty());
    }

    #[test]
    fn a_prefix_is_as_deep_as_the_path_that_it_is_found_in() {
        for prefix in ["/a", "/a/b", "/a/b/c"] {
            let path = format!("{prefix}/x.jpg");
            let all = prefixes(&path, u64::MAX >> 24);
            let same: Vec<usize> = all.filter(|it| it.1 == prefix).map(|it| it.0).collect();
            assert_eq!(same, [depth(prefix)]);
        }
        assert_eq!(depth(""), 0);
    }

    /// Fleets compare versions only where sidecars hash alike, so these bits hold still.
    #[test]
    fn the_hashes_are_those_of_every_release() {
        let host = host("www.example.com");
        let hashes = [
            path(host, "/a/b"),
            query(path(host, "/a/b"), "w=1"),
            prefix(host, "/a"),
            tag("shop", "product/7"),
            namespace("shop"),
        ];
        let golden = hashes.map(|it| format!("{:016x}", it.0));
        let held = [
            "324c00272a5eb38d",
            "f3958df5398ad4bc",
            "ca5bdc3bebc20309",
            "107434983b2a5acb",
            "deb7366c2750db02",
        ];
        assert_eq!(golden, held);
        assert_eq!(
            path(host, "/a/b"),
            hash::key(&[b"www.example.com", b"/a/b"])
        );
    }
}
