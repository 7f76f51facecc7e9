//! Where clients are, as far as the sidecar said so: what stands in for geo files, which the client does not have.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use lru::LruCache;
use std::hash::BuildHasher as _;

use tradewind_engine::geo::place::Place;
use tradewind_engine::query::network_of;

/// How many places a part has: enough that the longest unused of a part is about the longest unused of all.
const PLACES_OF_A_PART: usize = 1_024;

/// Most parts. Two threads wait for each other only where their clients are of one.
const MAX_PARTS: usize = 64;

/// After so long without an answer a network is asked about again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// After so long what was said is asked for again: geo files change.
const RENEWED_AFTER: Duration = Duration::from_hours(1);

/// Places by network, least recently used first out.
///
/// Most networks (IPv4 /24, IPv6 /48) lie in one place, so that of their first client is taken for all of them; a client
/// that is elsewhere has an entry of its own.
#[derive(Debug)]
pub(super) struct Places {
    /// By network.
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Part {
    known: LruCache<Known, Noted, RandomState>,
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Network(IpAddr),
    Client(IpAddr),
}

/// What is noted of a network or client.
#[derive(Debug, Clone, Copy)]
struct Noted {
    place: Option<Place>,
    /// Whether the sidecar said so, rather than nobody yet.
    is_told: bool,
    /// When it was told or asked for.
    since: Instant,
}

impl Noted {
    fn is_wanted(&self, now: Instant) -> bool {
        let wait = if self.is_told {
            RENEWED_AFTER
        } else {
            AGAIN_AFTER
        };
        now.saturating_duration_since(self.since) >= wait
    }
}

impl Places {
    /// Room for so many places.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        let parts = (most / PLACES_OF_A_PART).clamp(1, MAX_PARTS);
        let part = || {
            Mutex::new(Part {
                known: LruCache::unbounded_with_hasher(RandomState::default()),
                most: most.div_ceil(parts),
            })
        };
        Self {
            parts: (0..parts).map(|_| part()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Takes what the geo files say of a client; `None` when they do not know it.
    pub(super) fn learn(&self, client: IpAddr, place: Option<Place>, now: Instant) {
        let of_network = network_of(client);
        let Some(mut part) = self.part(of_network) else {
            return;
        };
        let network = Known::Network(of_network);
        let own = Known::Client(client);
        let noted = Noted {
            place,
            is_told: true,
            since: now,
        };
        let told = part.known.get(&network).filter(|known| known.is_told);
        // What was said of a network long ago is no reason to set a client apart.
        if told.is_some_and(|known| known.place != place && !known.is_wanted(now)) {
            part.known.put(own, noted);
        } else {
            // It is where its network is, perhaps since a moment ago.
            part.known.pop(&own);
            part.known.put(network, noted);
        }
        part.keep_to_bound();
    }

    /// What the geo files said of a client, or of its network; `None` too when they did not know it.
    pub(super) fn find(&self, client: IpAddr) -> Option<Place> {
        let network = network_of(client);
        let mut part = self.part(network)?;
        let found = part.find(client, network);
        found.and_then(|found| found.place)
    }

    /// The same, and where that is not known, or was said long ago, whoever can ask is told so by `want`. Where it says that it will,
    /// nobody else is told for a while.
    pub(super) fn find_or(
        &self,
        client: IpAddr,
        now: Instant,
        want: impl FnOnce(IpAddr) -> bool,
    ) -> Option<Place> {
        let network = network_of(client);
        let mut part = self.part(network)?;
        let found = part.find(client, network);
        if found.is_none_or(|found| found.is_wanted(now)) && want(client) {
            let noted = found.unwrap_or(Noted {
                place: None,
                is_told: false,
                since: now,
            });
            // What was told stays in use meanwhile.
            let noted = Noted {
                is_told: false,
                since: now,
                ..noted
            };
            part.known.put(Known::Network(network), noted);
            part.keep_to_bound();
        }
        found.and_then(|found| found.place)
    }

    fn part(&self, network: IpAddr) -> Option<MutexGuard<'_, Part>> {
        let drawn = self.hasher.hash_one(network);
        let at = usize::try_from(drawn).unwrap_or(0) % self.parts.len();
        let part = self.parts.get(at)?;
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Part {
    fn find(&mut self, client: IpAddr, network: IpAddr) -> Option<Noted> {
        if let Some(own) = self.known.get(&Known::Client(client)) {
            return Some(*own);
        }
        self.known.get(&Known::Network(network)).copied()
    }

    fn keep_to_bound(&mut self) {
        while self.known.len() > self.most {
            self.known.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_engine::geo::Location;
    use tradewind_engine::geo::place::Source;
    use tradewind_wire::clock;

    fn place(latitude: f64) -> Place {
        Place::new(Location::new(latitude, 8.0), Source::Database)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn known(places: &Places) -> usize {
        let parts = places.parts.iter();
        parts.map(|part| part.lock().unwrap().known.len()).sum()
    }

    #[test]
    fn a_network_is_where_its_first_client_is_and_others_are_where_they_are() {
        let (places, now) = (Places::new(8), clock::now());
        let learn = |client, place| places.learn(ip(client), place, now);
        learn("192.0.2.1", Some(place(50.0)));
        learn("192.0.2.2", Some(place(10.0)));
        learn("2001:db8:1::1", Some(place(20.0)));
        learn("198.51.100.1", None);
        for (client, wanted) in [
            ("192.0.2.1", Some(place(50.0))),
            ("192.0.2.2", Some(place(10.0))),
            ("192.0.2.3", Some(place(50.0))),
            ("::ffff:192.0.2.3", Some(place(50.0))),
            ("2001:db8:1:ff::7", Some(place(20.0))),
            ("198.51.100.9", None),
            ("203.0.113.1", None),
        ] {
            assert_eq!(places.find(ip(client)), wanted, "{client}");
        }
        learn("192.0.2.2", Some(place(50.0)));
        assert_eq!(
            (places.find(ip("192.0.2.2")), known(&places)),
            (Some(place(50.0)), 3)
        );
    }

    #[test]
    fn the_longest_unused_are_forgotten() {
        let (places, now) = (Places::new(2), clock::now());
        for client in ["192.0.2.1", "198.51.100.1", "192.0.2.9", "203.0.113.1"] {
            places.learn(ip(client), Some(place(50.0)), now);
        }
        assert_eq!(places.find(ip("198.51.100.1")), None);
        assert_eq!(places.find(ip("192.0.2.1")), Some(place(50.0)));
        let many = Places::new(65_536);
        assert_eq!(many.parts.len(), 64);
        for number in 0..70_000_u32 {
            many.learn(IpAddr::from((number << 8).to_be_bytes()), None, now);
        }
        assert!(known(&many) <= 65_536);
    }

    #[test]
    fn an_unknown_network_is_asked_about_once_and_what_was_told_is_renewed() {
        let (places, now) = (Places::new(8), clock::now());
        let find = |client, after: u64, will| {
            let (mut wanted, at) = (None, now + Duration::from_secs(after));
            let found = places.find_or(ip(client), at, |client| {
                wanted = Some(client);
                will
            });
            (found, wanted.is_some())
        };
        assert_eq!(find("192.0.2.1", 0, false), (None, true), "nobody could");
        assert_eq!(find("192.0.2.1", 0, true), (None, true));
        assert_eq!(find("192.0.2.9", 4, true), (None, false), "it is asked");
        assert_eq!(find("192.0.2.9", 5, true), (None, true), "in vain");
        places.learn(ip("192.0.2.9"), Some(place(50.0)), now);
        let known = Some(place(50.0));
        assert_eq!(find("192.0.2.1", 3_599, true), (known, false));
        assert_eq!(find("192.0.2.1", 3_600, true), (known, true));
        assert_eq!(find("192.0.2.1", 3_601, true), (known, false));
        let later = now + Duration::from_secs(3_602);
        places.learn(ip("192.0.2.1"), Some(place(10.0)), later);
        assert_eq!(find("192.0.2.7", 3_603, true), (Some(place(10.0)), false));
    }
}
