//! Purges as messages.

use arrayvec::ArrayVec;

use super::names::{CACHE_TTL, FRESHNESS, MAX_AGE, UNKNOWN, VERSION};
use super::proto::purge_selector::Of;
use super::proto::{PurgeSelector, Purged};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::freshness::purge::{Kind, Purge};
use tradewind_engine::freshness::selector::{Selector, SelectorFault};
use tradewind_engine::request::path::{EmptySegments, EscapedSlashes, PathForm};

/// How paths are read that are in normal form already: nothing of them is changed.
pub const AS_WRITTEN: PathForm = PathForm {
    empty_segments: EmptySegments::Keep,
    escaped_slashes: EscapedSlashes::Keep,
};

/// Reads what a purge is to cover; paths are read as those of requests are, which `form` says. `None` of one that says nothing.
pub fn selector(
    message: &PurgeSelector,
    form: PathForm,
) -> Option<Result<Selector, SelectorFault>> {
    Some(match message.of.as_ref()? {
        Of::Url(url) => Selector::url(url, message.exact_query, form),
        Of::Prefix(prefix) => Selector::prefix(prefix, form),
        Of::Tag(tag) => Selector::tag(tag),
        Of::Host(host) => Selector::host(host),
        Of::All(false) => return None,
        Of::All(true) => Ok(Selector::Namespace),
    })
}

/// The message of what a purge covers; it is read as the same again.
pub fn selector_message(selector: &Selector) -> PurgeSelector {
    // A star in a message would be a pattern.
    let url = |host: &str, rest: &str| format!("https://{host}{}", rest.replace('*', "%2A"));
    let of = match selector {
        Selector::Path { host, path } => Of::Url(url(host, path)),
        Selector::Query { host, path, query } => {
            let mut text = url(host, path);
            text.push('?');
            text.push_str(query);
            Of::Url(text)
        }
        Selector::Prefix { host, prefix } => Of::Prefix(url(host, prefix)),
        Selector::Host(host) => Of::Host(host.to_string()),
        Selector::Tag(tag) => Of::Tag(tag.to_string()),
        Selector::Namespace => Of::All(true),
    };
    PurgeSelector {
        of: Some(of),
        exact_query: matches!(selector, Selector::Query { .. }),
    }
}

/// The purge that a message of the log tells of, with all of it that can be read: what cannot, this release would not have
/// written.
pub fn purge(message: &Purged) -> Purge {
    let read = |it: &PurgeSelector| selector(it, AS_WRITTEN)?.ok();
    Purge {
        sequence: message.sequence,
        namespace: message.namespace.as_str().into(),
        selectors: message.selectors.iter().filter_map(read).collect(),
        kind: kind(message),
        over_ms: message.over.as_ref().map_or(0, duration_ms),
    }
}

/// What a purge asks of what is stored.
pub fn kind(message: &Purged) -> Kind {
    match message.not_older_than_unix_ms.div_ceil(1_000) {
        0 => Kind::Hard,
        not_older_than_s => Kind::Soft { not_older_than_s },
    }
}

/// A duration in whole ms; 0 for a negative one.
pub fn duration_ms(duration: &prost_types::Duration) -> u64 {
    let seconds = u64::try_from(duration.seconds).unwrap_or(0);
    let ms = u64::try_from(duration.nanos / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(ms)
}

/// A duration of so many ms.
pub fn duration(ms: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or_default(),
    }
}

/// What caches are told of an object's freshness, by the names of headers: nothing of one that never was purged and has no
/// lifetime of its own, unless it is not known whether it was. `unix_ms` is asked for the time, if it is needed.
pub fn headers(
    fresh: Fresh,
    is_known: bool,
    cache_ttl_ms: Option<u32>,
    unix_ms: impl FnOnce() -> u64,
) -> impl Iterator<Item = (&'static str, String)> {
    let version = (fresh.version > 0).then(|| (VERSION, version_text(fresh.version)));
    let max_age = (fresh.not_older_than_s > 0).then(|| {
        let age_s = age_s(fresh.not_older_than_s, unix_ms());
        (MAX_AGE, age_s.to_string())
    });
    let ttl = cache_ttl_ms.map(|ms| (CACHE_TTL, (ms / 1_000).to_string()));
    let unknown = (!is_known).then(|| (FRESHNESS, UNKNOWN.to_owned()));
    [version, max_age, ttl, unknown].into_iter().flatten()
}

/// How old that is which is of a time, both of Unix: in whole seconds.
pub fn age_s(not_older_than_s: u64, unix_ms: u64) -> u64 {
    (unix_ms / 1_000).saturating_sub(not_older_than_s)
}

/// A version as headers and people have it: base 36, upper case.
pub fn version_text(version: u64) -> String {
    let mut text = String::new();
    put_version(&mut text, version);
    text
}

/// Adds a version to a text, as [`version_text`] has it.
pub fn put_version(text: &mut impl Extend<char>, version: u64) {
    // The largest number has 13 digits.
    let (mut digits, mut rest) = (ArrayVec::<char, 13>::new(), version);
    loop {
        let digit = u32::try_from(rest % 36).unwrap_or(0);
        digits.extend(char::from_digit(digit, 36));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    let digits = digits.iter().rev();
    text.extend(digits.map(char::to_ascii_uppercase));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_as_the_same_again() {
        let form = PathForm::default();
        let all = [
            Selector::url("https://h/a%2Ab?w=1", false, form),
            Selector::url("https://h/a%2Ab/%3F?w=%2A", true, form),
            Selector::prefix("https://h/x%2A/y", form),
            Selector::host("H.example:80"),
            Selector::tag("product/7"),
            Ok(Selector::Namespace),
        ];
        for selector in all {
            let selector = selector.unwrap();
            let message = selector_message(&selector);
            let read = super::selector(&message, AS_WRITTEN);
            assert_eq!(read, Some(Ok(selector.clone())), "{selector}");
            let read = super::selector(&message, form);
            assert_eq!(read, Some(Ok(selector)));
        }
    }

    #[test]
    fn caches_are_told_what_there_is_to_tell() {
        let told = |fresh, ttl| headers(fresh, true, ttl, || 100_500).collect::<Vec<_>>();
        assert!(told(Fresh::default(), None).is_empty());
        let fresh = Fresh {
            version: 37,
            not_older_than_s: 90,
        };
        let all = [(VERSION, "11"), (MAX_AGE, "10"), (CACHE_TTL, "60")];
        assert_eq!(
            told(fresh, Some(60_000)),
            all.map(|(name, text)| (name, text.to_owned()))
        );
        let unknown: Vec<_> = headers(Fresh::default(), false, None, || 0).collect();
        assert_eq!(unknown, [(FRESHNESS, UNKNOWN.to_owned())]);
        // Of a moment that is not yet: nothing that is stored is new enough.
        let ahead = Fresh {
            not_older_than_s: 102,
            ..Fresh::default()
        };
        assert_eq!(told(ahead, None), [(MAX_AGE, "0".to_owned())]);
    }

    #[test]
    fn a_version_is_short() {
        let texts = [0, 1, 35, 36, 60_000_000_000].map(version_text);
        assert_eq!(texts, ["0", "1", "Z", "10", "RKAG8AO"]);
        assert_eq!(version_text(u64::MAX), "3W5E11264SGSF");
    }

    #[test]
    fn a_selector_that_says_nothing_is_none() {
        assert!(selector(&PurgeSelector::default(), PathForm::default()).is_none());
        let none = PurgeSelector {
            of: Some(Of::All(false)),
            exact_query: false,
        };
        assert!(selector(&none, PathForm::default()).is_none());
    }
}
