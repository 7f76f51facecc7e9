//! Where clients are, as far as the sidecar said so: what stands in for geo files, which the client does not have.

use std::net::IpAddr;

use foldhash::quality::RandomState;
use lru::LruCache;

use tradewind_engine::geo::place::Place;
use tradewind_engine::query::network_of;

/// Places by network, least recently used first out.
///
/// Most networks (IPv4 /24, IPv6 /48) lie in one place, so that of their first client is taken for all of them; a client
/// that is elsewhere has an entry of its own.
#[derive(Debug)]
pub(super) struct Places {
    known: LruCache<Known, Option<Place>, RandomState>,
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Network(IpAddr),
    Client(IpAddr),
}

impl Places {
    /// Room for so many places.
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: LruCache::unbounded_with_hasher(RandomState::default()),
            most: most.max(1),
        }
    }

    /// Takes what the geo files say of a client; `None` when they do not know it.
    pub(super) fn learn(&mut self, client: IpAddr, place: Option<Place>) {
        let network = Known::Network(network_of(client));
        let own = Known::Client(client);
        let of_network = self.known.get(&network).copied();
        if of_network.is_some_and(|known| known != place) {
            self.known.put(own, place);
        } else {
            // It is where its network is, perhaps since a moment ago.
            self.known.pop(&own);
            self.known.put(network, place);
        }
        while self.known.len() > self.most {
            self.known.pop_lru();
        }
    }

    /// What the geo files said of a client, or of its network; `None` too when they did not know it.
    pub(super) fn find(&mut self, client: IpAddr) -> Option<Place> {
        if let Some(own) = self.known.get(&Known::Client(client)) {
            return *own;
        }
        let network = Known::Network(network_of(client));
        self.known.get(&network).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_engine::geo::Location;
    use tradewind_engine::geo::place::Source;

    fn place(latitude: f64) -> Place {
        Place::new(Location::new(latitude, 8.0), Source::Database)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_where_its_first_client_is_and_others_are_where_they_are() {
        let mut places = Places::new(8);
        places.learn(ip("192.0.2.1"), Some(place(50.0)));
        places.learn(ip("192.0.2.2"), Some(place(10.0)));
        places.learn(ip("2001:db8:1::1"), Some(place(20.0)));
        places.learn(ip("198.51.100.1"), None);
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
        places.learn(ip("192.0.2.2"), Some(place(50.0)));
        assert_eq!(
            (places.find(ip("192.0.2.2")), places.known.len()),
            (Some(place(50.0)), 3)
        );
    }

    #[test]
    fn the_longest_unused_are_forgotten() {
        let mut places = Places::new(2);
        for client in ["192.0.2.1", "198.51.100.1", "192.0.2.9", "203.0.113.1"] {
            places.learn(ip(client), Some(place(50.0)));
        }
        assert_eq!(places.find(ip("198.51.100.1")), None);
        assert_eq!(places.find(ip("192.0.2.1")), Some(place(50.0)));
    }
}
