//! What a node's cache did, from the headers that caches send.
//!
//! Caches stand one behind another. In every header that lists several the last is the nearest to us, and it is the one
//! that the node has: what its parent did is not asked.

use arrayvec::ArrayString;

use super::proto::CacheStatus;

/// Bytes of the longest word that is known, `revalidated`.
const LONGEST_WORD: usize = 11;

/// The headers looked at, best first: the standard one (RFC 9211), then what nginx, Varnish, Squid and CDNs send.
pub const HEADERS: [&str; 4] = [
    "cache-status",
    "x-cache-status",
    "x-cache",
    "cf-cache-status",
];

/// What the cache did, by the first of its headers that is there.
pub fn status<'a>(header: impl Fn(&str) -> Option<&'a str>) -> CacheStatus {
    let found = HEADERS.iter().find_map(|name| Some((*name, header(name)?)));
    match found {
        Some(("cache-status", value)) => standard(value),
        Some((_, value)) => word(value),
        None => CacheStatus::Unspecified,
    }
}

/// What the cache did, by the value of a header whose name is not known: parameters are of the standard one only.
pub fn of_value(value: &str) -> CacheStatus {
    if value.contains(';') {
        standard(value)
    } else {
        word(value)
    }
}

/// `Cache-Status: origin; hit, edge; fwd=stale`. A request that was forwarded is a miss, also for a stale answer's sake,
/// unless what was stored proved to be current (RFC 9211, 2.2 and 2.3), or had changed.
fn standard(value: &str) -> CacheStatus {
    let nearest = value.rsplit(',').next().unwrap_or_default();
    let (mut status, mut is_stale) = (CacheStatus::Unspecified, false);
    for parameter in nearest.split(';').skip(1).map(str::trim) {
        status = match parameter.split_once('=') {
            None if parameter == "hit" => return CacheStatus::Hit,
            Some(("hit", "?1")) => return CacheStatus::Hit,
            Some(("fwd", "bypass" | "method")) => return CacheStatus::Bypass,
            Some(("fwd-status", "304")) => return CacheStatus::Revalidated,
            Some(("fwd-status", "200")) if is_stale => return CacheStatus::Changed,
            Some(("fwd", reason)) => {
                is_stale = reason == "stale";
                CacheStatus::Miss
            }
            _ => status,
        };
    }
    status
}

/// `HIT`, `TCP_MISS`, `Hit from edge`, `MISS, HIT`: the words of the last in the list.
fn word(value: &str) -> CacheStatus {
    let nearest = value.rsplit(',').next().unwrap_or_default();
    let words = nearest.split(|c: char| !c.is_ascii_alphabetic());
    let mut status = CacheStatus::Unspecified;
    for word in words.map(in_lower_case) {
        status = match &*word {
            // `TCP_REFRESH_HIT`, `RefreshHit`: asked, and current; `TCP_REFRESH_MISS`, `TCP_REFRESH_MODIFIED`: asked, and changed.
            // nginx says `EXPIRED` where it fetched what had expired: with `proxy_cache_revalidate` because it had changed.
            "hit" if status == CacheStatus::Revalidated => return status,
            "hit" => return CacheStatus::Hit,
            "miss" | "modified" if status == CacheStatus::Revalidated => {
                return CacheStatus::Changed;
            }
            "miss" => return CacheStatus::Miss,
            "expired" => return CacheStatus::Changed,
            "stale" | "updating" => return CacheStatus::Stale,
            "bypass" | "pass" | "dynamic" => return CacheStatus::Bypass,
            "refreshhit" => return CacheStatus::Revalidated,
            "revalidated" | "refresh" => CacheStatus::Revalidated,
            _ => status,
        };
    }
    status
}

/// A word as all are written that are known; empty for one that is longer than any of them.
fn in_lower_case(word: &str) -> ArrayString<LONGEST_WORD> {
    let mut lower = ArrayString::from(word).unwrap_or_default();
    lower.make_ascii_lowercase();
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &'static str) -> CacheStatus {
        status(|asked| (asked == name).then_some(value))
    }

    #[test]
    fn the_nearest_cache_of_the_standard_header_counts() {
        assert_eq!(of("cache-status", "Edge; hit"), CacheStatus::Hit);
        assert_eq!(
            of("cache-status", "Mid; hit, Edge; fwd=uri-miss"),
            CacheStatus::Miss
        );
        assert_eq!(of("cache-status", "Edge; fwd=method"), CacheStatus::Bypass);
        assert_eq!(of("cache-status", "Edge"), CacheStatus::Unspecified);
    }

    #[test]
    fn a_forwarded_request_is_a_hit_only_if_what_was_stored_is_current() {
        assert_eq!(
            of("cache-status", "Edge; fwd=stale; fwd-status=304"),
            CacheStatus::Revalidated
        );
        assert_eq!(
            of("cache-status", "Edge; fwd=stale; fwd-status=200; stored"),
            CacheStatus::Changed
        );
    }

    #[test]
    fn other_headers_are_read_word_by_word() {
        assert_eq!(of("x-cache", "HIT"), CacheStatus::Hit);
        assert_eq!(of("x-cache", "TCP_MISS from edge-1"), CacheStatus::Miss);
        assert_eq!(
            of("x-cache-status", "REVALIDATED"),
            CacheStatus::Revalidated
        );
        assert_eq!(of("x-cache", "TCP_REFRESH_HIT"), CacheStatus::Revalidated);
        assert_eq!(of("x-cache", "TCP_REFRESH_MISS"), CacheStatus::Changed);
        assert_eq!(of("x-cache", "TCP_REFRESH_MODIFIED"), CacheStatus::Changed);
        assert_eq!(
            of("x-cache", "TCP_REFRESH_UNMODIFIED"),
            CacheStatus::Revalidated
        );
        assert_eq!(of("x-cache-status", "EXPIRED"), CacheStatus::Changed);
        let cloudfront = "RefreshHit from cloudfront";
        assert_eq!(of("x-cache", cloudfront), CacheStatus::Revalidated);
        assert_eq!(of("cf-cache-status", "DYNAMIC"), CacheStatus::Bypass);
        assert_eq!(of("x-cache", "whatever"), CacheStatus::Unspecified);
        assert_eq!(of("age", "7"), CacheStatus::Unspecified);
    }

    /// nginx passes its parent's header on and adds its own: the first word is the parent's.
    #[test]
    fn a_parents_miss_is_not_the_nodes() {
        assert_eq!(of("x-cache", "MISS, HIT"), CacheStatus::Hit);
        assert_eq!(of("x-cache", "HIT,MISS"), CacheStatus::Miss);
    }

    #[test]
    fn a_value_without_its_name_is_read_by_its_form() {
        assert_eq!(of_value("Edge; fwd=uri-miss"), CacheStatus::Miss);
        assert_eq!(of_value("Hit from edge"), CacheStatus::Hit);
        assert_eq!(of_value("-"), CacheStatus::Unspecified);
    }
}
