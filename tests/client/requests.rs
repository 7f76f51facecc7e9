//! Requests of all kinds, from a seed.

use tradewind::client::{Asker, Request};
use tradewind::sidecar::wire::proto::Location;

/// A stream of numbers that looks random and is the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A request for one of many objects, under one of several rules, by one of many clients. Dry, so that asking changes
/// nothing.
pub(crate) fn any(random: &mut Random) -> Request {
    let number = random.below(5_000);
    let (host, path) = match random.below(6) {
        0 => ("www.example.com", format!("/video/{number}.mp4?token=1")),
        1 => ("www.example.com", format!("/api/{number}")),
        2 => ("www.example.com", format!("/account/{number}")),
        3 => (
            "www.example.com",
            format!("/images/{number}?w={}", number % 3),
        ),
        4 => ("s3.static.example.com", format!("/{number}")),
        _ => ("other.example.org", format!("/{number}")),
    };
    // Where most of these clients are sent to.
    let nearby = [
        "lhr-2", "cdg-2", "fra-2", "ams-2", "mad-2", "lhr-3", "fra-3",
    ];
    let tried = if random.below(4) == 0 {
        nearby.to_vec()
    } else {
        Vec::new()
    };
    Request {
        request_id: format!("{}", random.below(1 << 30)),
        host: host.to_owned(),
        path,
        client: Some(asker(random)),
        candidates: u32::try_from(random.below(9)).unwrap(),
        tried_nodes: tried.into_iter().map(str::to_owned).collect(),
        dry_run: true,
        ..Request::default()
    }
}

/// Most are in the geo file; others are in the policy's overrides, nowhere, or say where they are.
fn asker(random: &mut Random) -> Asker {
    let (network, host) = (random.below(110), random.below(250) + 1);
    let ip = match random.below(10) {
        0 => format!("192.0.2.{host}"),
        1 => format!("203.0.113.{host}"),
        2 | 3 => format!("2001:db8:{network:x}::{host:x}"),
        _ => format!("198.18.{network}.{host}"),
    };
    let says_where = random.below(12) == 0;
    let says_country = random.below(12) == 0;
    Asker {
        ip,
        location: says_where.then_some(Location {
            latitude: 40.7,
            longitude: -74.0,
        }),
        country: if says_country { "FR" } else { "" }.to_owned(),
        asn: 0,
    }
}

/// A plain request of a client in London.
pub(crate) fn plain(path: &str) -> Request {
    Request {
        host: "other.example.org".to_owned(),
        path: path.to_owned(),
        client: Some(Asker {
            ip: "198.18.0.1".to_owned(),
            ..Asker::default()
        }),
        ..Request::default()
    }
}
