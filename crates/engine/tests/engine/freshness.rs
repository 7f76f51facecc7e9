//! Versions against plain arithmetic: whatever is purged in whatever order, no object has a lower version than the last purge
//! that covers it.

use proptest::prelude::*;
use tradewind_engine::freshness::object::{self, Object};
use tradewind_engine::freshness::purge::{Kind, Purge};
use tradewind_engine::freshness::selector::Selector;
use tradewind_engine::freshness::{Bounds, Fresh, Ledger};
use tradewind_engine::time::Moment;

const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];
const SEGMENTS: [&str; 4] = ["x", "y", "img", "v1"];
const SPACES: [&str; 2] = ["", "shop"];
const HOUR_MS: u64 = 3_600_000;

/// An object in words.
#[derive(Debug, Clone)]
struct Asked {
    host: &'static str,
    path: String,
    query: &'static str,
    space: &'static str,
    tag: Option<&'static str>,
}

impl Asked {
    fn on<T>(&self, ask: impl FnOnce(&Object<'_>) -> T) -> T {
        let tag = self.tag.map(|tag| object::tag(self.space, tag));
        ask(&Object {
            host: self.host,
            path: &self.path,
            query: self.query,
            namespace: self.space,
            tags: tag.as_slice(),
        })
    }

    /// Whether a purge covers it, read word by word.
    fn is_covered(&self, selector: &Selector, space: &str) -> bool {
        match selector {
            Selector::Path { host, path } => **host == *self.host && **path == *self.path,
            Selector::Query { host, path, query } => {
                **host == *self.host && **path == *self.path && **query == *self.query
            }
            Selector::Prefix { host, prefix } => {
                let below = format!("{prefix}/");
                let is_at = self.path == **prefix || self.path.starts_with(&below);
                **host == *self.host && is_at
            }
            Selector::Host(host) => **host == *self.host,
            Selector::Tag(tag) => space == self.space && self.tag == Some(tag),
            Selector::Namespace => space == self.space,
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(prop::sample::select(&SEGMENTS[..]), 0..5);
    (segments, any::<bool>()).prop_map(|(segments, slash)| {
        let end = if slash && !segments.is_empty() {
            "/"
        } else {
            ""
        };
        format!("/{}{end}", segments.join("/"))
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let tags = prop::option::of(prop::sample::select(&["p1", "p2"][..]));
    let host = prop::sample::select(&HOSTS[..]);
    let query = prop::sample::select(&["", "w=1", "w=2"][..]);
    let space = prop::sample::select(&SPACES[..]);
    (host, path(), query, space, tags).prop_map(|(host, path, query, space, tag)| Asked {
        host,
        path,
        query,
        space,
        tag,
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    let whole = asked().prop_flat_map(|asked| {
        let Asked {
            host, path, query, ..
        } = asked;
        let prefix = path.trim_end_matches('/').to_owned();
        let by_prefix = if prefix.is_empty() {
            Selector::Host(host.into())
        } else {
            Selector::Prefix {
                host: host.into(),
                prefix: prefix.into(),
            }
        };
        prop_oneof![
            4 => Just(Selector::Path { host: host.into(), path: path.clone().into() }),
            2 => Just(Selector::Query { host: host.into(), path: path.into(), query: query.into() }),
            2 => Just(by_prefix),
            1 => Just(Selector::Host(host.into())),
        ]
    });
    prop_oneof![
        8 => whole,
        1 => prop::sample::select(&["p1", "p2"][..]).prop_map(|tag| Selector::Tag(tag.into())),
        1 => Just(Selector::Namespace),
    ]
}

/// A purge without its sequence: what it covers, its namespace, and whether it is soft.
type Drawn = (Vec<Selector>, &'static str, bool);

fn purges() -> impl Strategy<Value = Vec<Drawn>> {
    let selectors = prop::collection::vec(selector(), 1..6);
    let soft = prop::bool::weighted(0.3);
    let space = prop::sample::select(&SPACES[..]);
    prop::collection::vec((selectors, space, soft), 1..40)
}

/// When a soft purge was made.
fn second_of(sequence: u64) -> u64 {
    1_700_000_000 + sequence
}

fn purge(sequence: u64, (selectors, space, soft): &Drawn) -> Purge {
    let not_older_than_s = second_of(sequence);
    Purge {
        sequence,
        namespace: (*space).into(),
        selectors: selectors.clone(),
        kind: if *soft {
            Kind::Soft { not_older_than_s }
        } else {
            Kind::Hard
        },
        over_ms: 0,
    }
}

/// What should be served of an object, by going through all purges.
fn by_hand(asked: &Asked, purges: &[Purge]) -> Fresh {
    let mut fresh = Fresh::default();
    for purge in purges {
        let is_covered = |it: &Selector| asked.is_covered(it, &purge.namespace);
        if purge.selectors.iter().any(is_covered) {
            match purge.kind {
                Kind::Hard => fresh.version = fresh.version.max(purge.sequence),
                Kind::Soft { not_older_than_s } => {
                    fresh.not_older_than_s = fresh.not_older_than_s.max(not_older_than_s);
                }
            }
        }
    }
    fresh
}

fn applied(bounds: Bounds, purges: &[Purge]) -> Ledger {
    let mut ledger = Ledger::new(bounds);
    for purge in purges {
        ledger.apply(Moment(purge.sequence), 0, purge);
    }
    ledger
}

proptest! {
    /// V1, exactly: there is room for all, so nothing is higher than it must be but by a false match, of which these few make none.
    #[test]
    fn an_object_has_the_version_of_the_last_purge_that_covers_it(
        drawn in purges(),
        asked in prop::collection::vec(asked(), 1..40),
    ) {
        let purges: Vec<Purge> = (1..).zip(&drawn).map(|(at, it)| purge(at, it)).collect();
        let ledger = applied(Bounds::default(), &purges);
        for asked in &asked {
            let found = asked.on(|object| ledger.versions().look_up(object));
            prop_assert_eq!(found, by_hand(asked, &purges), "{:?}", asked);
        }
    }

    /// Twice, backwards or as it came: the same.
    #[test]
    fn order_and_repetition_do_not_matter(
        drawn in purges(),
        asked in prop::collection::vec(asked(), 1..40),
    ) {
        let purges: Vec<Purge> = (1..).zip(&drawn).map(|(at, it)| purge(at, it)).collect();
        let once = applied(Bounds::default(), &purges);
        let mut other_way = purges.clone();
        other_way.reverse();
        other_way.extend(purges);
        let again = applied(Bounds::default(), &other_way);
        for asked in &asked {
            asked.on(|object| {
                let versions = [&once, &again].map(|it| it.versions().look_up(object));
                assert_eq!(versions[0], versions[1], "{object:?}");
            });
        }
    }

    /// V1 at a bound of a few entries: purges become wider, and none is lost. Nor does a version fall that was seen.
    #[test]
    fn a_full_ledger_purges_more_and_never_less(
        drawn in purges(),
        asked in prop::collection::vec(asked(), 1..20),
        entries in 4_usize..40,
    ) {
        let purges: Vec<Purge> = (1..).zip(&drawn).map(|(at, it)| purge(at, it)).collect();
        let mut ledger = Ledger::new(Bounds { entries, ..Bounds::default() });
        let mut seen = vec![Fresh::default(); asked.len()];
        for (at, purge) in (1..).zip(&purges) {
            ledger.apply(Moment(purge.sequence), 0, purge);
            for (asked, last) in asked.iter().zip(&mut seen) {
                let found = asked.on(|object| ledger.versions().look_up(object));
                let least = by_hand(asked, &purges[..at]);
                prop_assert!(found.version >= least.version.max(last.version), "{found:?} {least:?} {last:?}");
                prop_assert!(found.not_older_than_s >= least.not_older_than_s.max(last.not_older_than_s));
                *last = found;
            }
        }
        prop_assert!(ledger.len() <= entries.max(5), "{} of {entries}", ledger.len());
    }

    /// An entry is there for as long as a cache may have what is older, and then it goes, whatever its age was when it came.
    #[test]
    fn an_entry_lives_as_long_as_what_it_covers(
        drawn in purges(),
        asked in prop::collection::vec(asked(), 1..20),
        age_ms in 0..20 * HOUR_MS,
    ) {
        let life_ms = 24 * HOUR_MS;
        let purges: Vec<Purge> = (1..).zip(&drawn).map(|(at, it)| purge(at, it)).collect();
        let mut ledger = Ledger::new(Bounds { life_ms, ..Bounds::default() });
        for purge in &purges {
            ledger.apply(Moment(0), age_ms, purge);
        }
        ledger.tick(Moment(life_ms - age_ms - 1));
        for asked in &asked {
            let found = asked.on(|object| ledger.versions().look_up(object));
            prop_assert_eq!(found, by_hand(asked, &purges));
        }
        let done = ledger.tick(Moment(life_ms - age_ms + HOUR_MS));
        prop_assert!(done.forgotten > 0 && ledger.is_empty());
        for asked in &asked {
            prop_assert_eq!(asked.on(|object| ledger.versions().look_up(object)), Fresh::default());
        }
    }
}

#[test]
fn a_paced_purge_grows_from_a_slice_to_all_of_it() {
    let mut ledger = Ledger::new(Bounds::default());
    let whole = Purge {
        sequence: 7,
        namespace: "".into(),
        selectors: vec![Selector::Host("a.example".into())],
        kind: Kind::Hard,
        over_ms: 64_000,
    };
    // It was made two seconds before this process began: it goes on where it was.
    ledger.apply(Moment(0), 2_000, &whole);
    let share_at = |ledger: &mut Ledger, now: u64| {
        ledger.tick(Moment(now));
        let of = |number: u32| {
            let path = format!("/{number}");
            let object = Object {
                host: "a.example",
                path: &path,
                ..Object::default()
            };
            ledger.versions().look_up(&object).version == 7
        };
        (0..6_400).filter(|number| of(*number)).count()
    };
    assert_eq!(ledger.next_slice(), Some(Moment(1_000)));
    let shares: Vec<usize> = [0, 29_000, 61_000, 62_000, 90_000]
        .into_iter()
        .map(|now| share_at(&mut ledger, now))
        .collect();
    assert!((200..400).contains(&shares[0]), "{shares:?}");
    assert!((2_900..3_500).contains(&shares[1]), "{shares:?}");
    assert_eq!(shares[2..], [6_400; 3]);
    assert_eq!(
        (ledger.next_slice(), ledger.paced(), ledger.len()),
        (None, 0, 1)
    );
}

#[test]
fn a_burst_on_one_directory_becomes_one_entry_and_other_entries_stay() {
    let mut ledger = Ledger::new(Bounds {
        entries: 1_000,
        ..Bounds::default()
    });
    let url = |path: String| Selector::Path {
        host: "a.example".into(),
        path: path.into(),
    };
    let mut widened = Vec::new();
    for sequence in 1..=2_000_u64 {
        let path = match sequence % 10 {
            0 => format!("/rare/{sequence}/x"),
            _ => format!("/products/{sequence}"),
        };
        let selectors = vec![url(path)];
        let drawn = (selectors, "", false);
        let done = ledger.apply(Moment(sequence), 0, &purge(sequence, &drawn));
        widened.extend(done.widened);
    }
    assert!(
        widened.iter().all(|it| it == "a.example/products/"),
        "{widened:?}"
    );
    assert!(!widened.is_empty());
    let version = |path: &str| {
        let object = Object {
            host: "a.example",
            path,
            ..Object::default()
        };
        ledger.versions().look_up(&object).version
    };
    assert!(version("/products/never-named") > 0);
    assert_eq!(version("/rare/10/x"), 10);
    assert_eq!(version("/rare/11/x"), 0);
}

#[test]
fn the_covering_hashes_of_an_object_are_those_that_it_is_found_by() {
    let asked = Asked {
        host: "a.example",
        path: "/x/y/z".to_owned(),
        query: "w=1",
        space: "shop",
        tag: Some("p1"),
    };
    let selectors = [
        Selector::url(
            "https://a.example/x/y/z",
            false,
            tradewind_engine::request::path::PathForm::default(),
        ),
        Selector::url(
            "https://a.example/x/y/z?w=1",
            true,
            tradewind_engine::request::path::PathForm::default(),
        ),
        Selector::prefix(
            "https://a.example/x/",
            tradewind_engine::request::path::PathForm::default(),
        ),
        Selector::prefix(
            "https://a.example/x/y",
            tradewind_engine::request::path::PathForm::default(),
        ),
        Selector::host("a.example"),
        Selector::tag("p1"),
        Ok(Selector::Namespace),
    ];
    let hashes: Vec<_> = asked.on(|object| object.covering().collect());
    for selector in selectors {
        let selector = selector.expect("a selector");
        assert!(hashes.contains(&selector.hash("shop")), "{selector}");
    }
    assert_eq!(
        hashes.len(),
        9 - 1,
        "the prefixes of three segments, and five more"
    );
}
