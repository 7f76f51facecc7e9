//! What a node's cache did, from the headers that caches send.

use crate::sidecar::wire::proto::CacheStatus;

/// The headers looked at, best first: the standard one (RFC 9211), then what nginx, Varnish, Squid and CDNs send.
pub(super) const HEADERS: [&str; 4] = [
    "cache-status",
    "x-cache-status",
    "x-cache",
    "cf-cache-status",
];

/// What the cache did, by the first of its headers that is there.
pub(super) fn status<'a>(header: impl Fn(&str) -> Option<&'a str>) -> CacheStatus {
    let found = HEADERS.iter().find_map(|name| Some((*name, header(name)?)));
    match found {
        Some(("cache-status", value)) => standard(value),
        Some((_, value)) => word(value),
        None => CacheStatus::Unspecified,
    }
}

/// `Cache-Status: origin; hit, edge; fwd=stale`: the last in the list is the cache nearest to us.
fn standard(value: &str) -> CacheStatus {
    let nearest = value.rsplit(',').next().unwrap_or_default();
    let mut parameters = nearest.split(';').skip(1).map(str::trim);
    parameters
        .find_map(|parameter| match parameter.split_once('=') {
            None if parameter == "hit" => Some(CacheStatus::Hit),
            Some(("hit", "?1")) => Some(CacheStatus::Hit),
            Some(("fwd", "bypass" | "method")) => Some(CacheStatus::Bypass),
            Some(("fwd", "stale")) => Some(CacheStatus::Stale),
            Some(("fwd", _)) => Some(CacheStatus::Miss),
            _ => None,
        })
        .unwrap_or(CacheStatus::Unspecified)
}

/// `HIT`, `TCP_MISS`, `Hit from edge`: the first word that says something.
fn word(value: &str) -> CacheStatus {
    let words = value.split(|c: char| !c.is_ascii_alphabetic());
    words
        .map(str::to_ascii_lowercase)
        .find_map(|word| match word.as_str() {
            "hit" => Some(CacheStatus::Hit),
            "miss" | "expired" => Some(CacheStatus::Miss),
            "stale" | "updating" => Some(CacheStatus::Stale),
            "revalidated" | "refresh" => Some(CacheStatus::Revalidated),
            "bypass" | "pass" | "dynamic" => Some(CacheStatus::Bypass),
            _ => None,
        })
        .unwrap_or(CacheStatus::Unspecified)
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
        assert_eq!(
            of("cache-status", "Edge; fwd=stale; fwd-status=304"),
            CacheStatus::Stale
        );
        assert_eq!(of("cache-status", "Edge; fwd=method"), CacheStatus::Bypass);
        assert_eq!(of("cache-status", "Edge"), CacheStatus::Unspecified);
    }

    #[test]
    fn other_headers_are_read_word_by_word() {
        assert_eq!(of("x-cache", "HIT"), CacheStatus::Hit);
        assert_eq!(of("x-cache", "TCP_MISS from edge-1"), CacheStatus::Miss);
        assert_eq!(
            of("x-cache-status", "REVALIDATED"),
            CacheStatus::Revalidated
        );
        assert_eq!(of("cf-cache-status", "DYNAMIC"), CacheStatus::Bypass);
        assert_eq!(of("x-cache", "whatever"), CacheStatus::Unspecified);
        assert_eq!(of("age", "7"), CacheStatus::Unspecified);
    }
}
