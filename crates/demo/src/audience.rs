//! Who asks for what: clients near three cities, and objects of which few are popular. The same from the same seed.

use std::net::Ipv4Addr;

use tradewind_engine::number::{from_u64, to_u64};
use tradewind_simulator::random::Random;
use tradewind_simulator::traffic::Zipf;

/// Clients of one city.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Town {
    /// Its name.
    pub name: &'static str,
    /// The first three bytes of its clients' addresses, from the networks kept for documentation (RFC 5737). The demo's
    /// policy says where they are.
    network: [u8; 3],
    /// Where it is, in degrees north and east.
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    /// How long the last mile of its clients takes on average, there and back.
    last_mile_ms: f32,
}

/// Where clients are, each with as many as the others.
pub const TOWNS: [Town; 3] = [
    Town {
        name: "Frankfurt",
        network: [192, 0, 2],
        latitude: 50.11,
        longitude: 8.68,
        last_mile_ms: 8.0,
    },
    Town {
        name: "Madrid",
        network: [198, 51, 100],
        latitude: 40.42,
        longitude: -3.70,
        last_mile_ms: 25.0,
    },
    Town {
        name: "Warsaw",
        network: [203, 0, 113],
        latitude: 52.23,
        longitude: 21.01,
        last_mile_ms: 53.0,
    },
];

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The object, from 0 by popularity.
    pub object: u32,
    /// Where the client is, a position in [`TOWNS`].
    pub town: usize,
    /// Its address.
    pub client: Ipv4Addr,
}

impl Ask {
    /// The path that is asked for.
    pub fn path(&self) -> String {
        format!("/object/{}", self.object)
    }

    /// How long the client's own last mile takes, there and back, to whichever site: half as long as is usual in its town
    /// to half as long again, so 4 to 80 ms over all towns.
    pub(super) fn last_mile_ms(&self) -> f32 {
        let usual = TOWNS.get(self.town).map_or(0.0, |town| town.last_mile_ms);
        let [.., host] = self.client.octets();
        usual * (0.5 + f32::from(host) / 256.0)
    }
}

/// An endless stream of requests.
#[derive(Debug, Clone)]
pub struct Audience {
    keys: Zipf,
    random: Random,
}

impl Audience {
    /// `objects` objects (at least one), the k-th most popular of which has a share in proportion to `1 / k^zipf`.
    pub fn new(seed: u64, objects: u32, zipf: f64) -> Self {
        Self {
            keys: Zipf::new(objects.max(1), zipf),
            random: Random::new(seed),
        }
    }
}

impl Iterator for Audience {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        let object = u32::try_from(self.keys.draw(&mut self.random)).unwrap_or(0);
        let town = pick(&mut self.random, TOWNS.len());
        let host = u8::try_from(1 + pick(&mut self.random, 254)).unwrap_or(1);
        let [a, b, c] = TOWNS.get(town)?.network;
        Some(Ask {
            object,
            town,
            client: Ipv4Addr::new(a, b, c, host),
        })
    }
}

/// A number below `count`, all alike.
pub(super) fn pick(random: &mut Random, count: usize) -> usize {
    let at = to_u64(random.unit() * from_u64(count as u64));
    usize::try_from(at).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_requests_and_all_towns_ask() {
        let asks: Vec<Ask> = Audience::new(7, 100, 0.9).take(3_000).collect();
        assert_eq!(
            asks,
            Audience::new(7, 100, 0.9).take(3_000).collect::<Vec<_>>()
        );
        assert_ne!(
            asks,
            Audience::new(8, 100, 0.9).take(3_000).collect::<Vec<_>>()
        );
        for town in 0..3 {
            let count = asks.iter().filter(|ask| ask.town == town).count();
            assert!((800..1_200).contains(&count), "{count}");
        }
        let first = asks.iter().filter(|ask| ask.object == 0).count();
        let last = asks.iter().filter(|ask| ask.object == 99).count();
        assert!(first > 10 * last, "{first} {last}");
        assert!(asks.iter().all(|ask| ask.object < 100));
    }
}
