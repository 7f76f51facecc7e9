//! A made-up fleet, policy, geography and stream of requests for the benches; the same in every run.

#![expect(
    clippy::expect_used,
    reason = "a bench whose made-up fleet is wrong must stop"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::layer::{Layer, Record, compile};
use tradewind_engine::geo::place::{Asn, Country};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::snapshot::{GeoState, Parts};
use tradewind_engine::topology::{self, Topology};
use tradewind_wire::proto;

/// The same random numbers in every run.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(((self.0 >> 32) * u64::from(limit)) >> 32).unwrap_or_default()
    }

    fn location(&mut self) -> (f64, f64) {
        let latitude = f64::from(self.below(1_300_000)) / 10_000.0 - 55.0;
        (
            latitude,
            f64::from(self.below(3_600_000)) / 10_000.0 - 180.0,
        )
    }

    fn choice<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let limit = u32::try_from(among.len()).expect("a short list");
        among
            .get(self.below(limit) as usize)
            .expect("below the length")
    }
}

/// Edge nodes spread evenly over edge sites; one origin site with two nodes comes on top.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Edge nodes.
    pub nodes: usize,
    /// Edge sites.
    pub sites: usize,
}

impl Size {
    /// One site with all of 64 nodes.
    pub const POOL_OF_64: Self = Self {
        nodes: 64,
        sites: 1,
    };

    /// The topology file.
    pub fn topology_text(self) -> String {
        let mut random = Random(11);
        let mut text = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
        for site in 0..self.sites {
            let (lat, lon) = random.location();
            line(
                &mut text,
                format_args!(
                    "    - {{id: site-{site:04}, lat: {lat}, lon: {lon}, price_usd_per_gb: 0.0{}}}",
                    1 + site % 4
                ),
            );
        }
        text.push_str("    - {id: vault, lat: 50.1, lon: 8.7, tier: origin}\n  nodes:\n");
        for node in 0..self.nodes {
            let (site, capacity) = (node * self.sites / self.nodes, 100 * (1 + node % 4));
            line(
                &mut text,
                format_args!(
                    "    - {{id: node-{node:05}, site: site-{site:04}, address: \"node-{node:05}.example.net:8080\", capacity: {capacity}}}"
                ),
            );
        }
        for node in 0..2 {
            line(
                &mut text,
                format_args!(
                    "    - {{id: vault-{node}, site: vault, address: \"vault-{node}.example.net:8080\"}}"
                ),
            );
        }
        text
    }

    /// The topology.
    pub fn topology(self) -> Arc<Topology> {
        let compiled = topology::compile("topology.yaml", &self.topology_text());
        let why = format!("{:?}", compiled.diagnostics);
        Arc::new(compiled.topology.expect(&why))
    }
}

/// A policy of so many rules, and requests that match each of them equally often.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// Each names a host of its own.
    Hosts(usize),
    /// None names a host; each names a path prefix of four elements.
    Prefixes(usize),
    /// None names a host and all name the same path; a header tells them apart, so they are tried one by one.
    Header(usize),
    /// The same by an expression; at most 500.
    Expressions(usize),
}

impl Rules {
    /// How many rules.
    pub fn count(self) -> usize {
        match self {
            Self::Hosts(count)
            | Self::Prefixes(count)
            | Self::Header(count)
            | Self::Expressions(count) => count,
        }
    }

    /// The policy file.
    pub fn policy_text(self) -> String {
        let mut text = String::from(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  score: {cost: {weight: 1, ms_per_usd: 100}}\n  pools:\n\
             \x20   - {name: edge, select: {tier: edge}}\n    - {name: origin, select: {tier: origin}}\n  otherwise: refuse\n  rules:\n",
        );
        for rule in 0..self.count() {
            let matches = match self {
                Self::Hosts(_) => format!("hosts: [h{rule}.cdn.example.com]"),
                Self::Prefixes(_) => format!("paths: [{{value: /tenants/t{rule}/video/2024}}]"),
                Self::Header(_) => {
                    format!(
                        "paths: [{{value: /tenants}}], headers: [{{name: x-tenant, exact: t{rule}}}]"
                    )
                }
                Self::Expressions(_) => "paths: [{value: /tenants}]".to_owned(),
            };
            let when = match self {
                Self::Expressions(_) => format!(
                    "when: 'request.headers[\"x-tenant\"] == \"t{rule}\" && !request.path.endsWith(\".m3u8\")', "
                ),
                Self::Hosts(_) | Self::Prefixes(_) | Self::Header(_) => String::new(),
            };
            line(
                &mut text,
                format_args!(
                    "    - {{name: rule-{rule}, owner: edge-team, rollback: remove it, match: {{{matches}}}, {when}pools: [edge, origin]}}"
                ),
            );
        }
        text
    }

    /// The policy, for a fleet.
    pub fn policy(self, topology: &Topology) -> Arc<Policy> {
        let compiled = policy::compile("policy.yaml", &self.policy_text(), topology);
        let why = format!("{:?}", compiled.diagnostics);
        Arc::new(compiled.policy.expect(&why))
    }

    fn request(self, number: usize, random: &mut Random, client: IpAddr) -> proto::DecideRequest {
        let rules = u32::try_from(self.count()).expect("a few rules");
        let rule = random.below(rules);
        let host = match self {
            Self::Hosts(_) => format!("h{rule}.cdn.example.com"),
            Self::Prefixes(_) | Self::Header(_) | Self::Expressions(_) => {
                "cdn.example.com".to_owned()
            }
        };
        let headers = match self {
            Self::Header(_) | Self::Expressions(_) => vec![proto::Header {
                name: "x-tenant".into(),
                value: format!("t{rule}"),
            }],
            Self::Hosts(_) | Self::Prefixes(_) => Vec::new(),
        };
        let (title, part) = (random.below(100_000), random.below(10_000));
        proto::DecideRequest {
            request_id: format!("req-{number:08}"),
            host,
            path: format!("/tenants/t{rule}/video/2024/title-{title:05}/seg-{part:05}.m4s"),
            method: "GET".into(),
            headers,
            client: Some(proto::Client {
                ip: client.to_string(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
    text.push('\n');
}

/// A request and its client, read already.
#[derive(Debug)]
pub struct Ask {
    /// What is sent.
    pub message: proto::DecideRequest,
    client: Client,
    headers: Vec<(String, String)>,
}

impl Ask {
    /// The headers in the form a query borrows them.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let pairs = self.headers.iter();
        pairs.map(|(name, value)| (&**name, &**value)).collect()
    }

    /// What an engine is asked; `headers` as [`Ask::headers`] gives them.
    pub fn query<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Query<'a> {
        Query {
            host: &self.message.host,
            path: &self.message.path,
            method: &self.message.method,
            headers,
            request_id: self.message.request_id.as_bytes(),
            client: self.client,
            ..Query::default()
        }
    }
}

/// Where clients are: networks of /18 to /24 over IPv4 and of /32 to /48 over IPv6, with 30,000 places.
#[derive(Debug)]
pub struct Geography {
    /// The table.
    pub ranges: Arc<Ranges>,
    /// How many networks it has.
    pub networks: usize,
    clients: Vec<IpAddr>,
}

impl Geography {
    /// With about `networks` networks, five sixths of them IPv4; `clients` addresses are picked all over them.
    pub fn new(networks: usize, clients: usize) -> Self {
        let mut random = Random(1);
        let places: Vec<Record> = (0..30_000).map(|_| record(&mut random)).collect();
        let mut layer = Layer::new();
        let mut starts: Vec<IpAddr> = Vec::with_capacity(networks);
        let mut add = |network: IpNet, random: &mut Random| {
            let known = layer.intern(random.choice(&places));
            layer.add(network, known).expect("networks ascend");
            starts.push(network.network());
            starts.len()
        };
        let mut next: u64 = 1 << 24;
        let mut added = 0;
        while added < networks / 6 * 5 && next < 0xe000_0000 {
            let length = 18 + random.below(4) + random.below(4);
            next = next.next_multiple_of(1 << (32 - length));
            let address = Ipv4Addr::from_bits(u32::try_from(next).expect("below 2^32"));
            added = add(network(address.into(), length), &mut random);
            next += 1 << (32 - length);
        }
        let mut next = 0x2a00_u128 << 112;
        while added < networks {
            let length = 32 + random.below(17);
            next = next.next_multiple_of(1 << (128 - length));
            added = add(
                network(Ipv6Addr::from_bits(next).into(), length),
                &mut random,
            );
            next += 1 << (128 - length);
        }
        let clients = (0..clients)
            .map(|_| match *random.choice(&starts) {
                IpAddr::V4(start) => {
                    IpAddr::V4(Ipv4Addr::from_bits(start.to_bits() | random.below(256)))
                }
                IpAddr::V6(start) => IpAddr::V6(Ipv6Addr::from_bits(
                    start.to_bits() | u128::from(random.below(u32::MAX)),
                )),
            })
            .collect();
        drop(starts);
        Self {
            ranges: Arc::new(compile(vec![layer])),
            networks: added,
            clients,
        }
    }

    /// Requests that match the rules of a policy, each with a client and a key of its own.
    pub fn asks(&self, rules: Rules) -> Vec<Ask> {
        let mut random = Random(3);
        let clients = self.clients.iter().enumerate();
        clients
            .map(|(number, client)| {
                let message = rules.request(number, &mut random, *client);
                let headers = message.headers.iter();
                Ask {
                    headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
                    message,
                    client: Client {
                        ip: Some(*client),
                        ..Client::default()
                    },
                }
            })
            .collect()
    }
}

fn network(address: IpAddr, length: u32) -> IpNet {
    IpNet::new(
        address,
        u8::try_from(length).expect("a length within the family"),
    )
    .expect("a length within the family")
}

fn record(random: &mut Random) -> Record {
    let letter = |random: &mut Random| b'A' + u8::try_from(random.below(15)).unwrap_or_default();
    let (latitude, longitude) = random.location();
    Record {
        location: Location::new(latitude, longitude),
        country: Country::new([letter(random), letter(random)]),
        asn: Asn::new(64_496 + random.below(3_000)),
        accuracy_radius_km: None,
    }
}

/// What a snapshot of this fleet and policy is made of.
pub fn parts(topology: &Arc<Topology>, rules: Rules, geography: &Geography) -> Parts {
    Parts {
        topology: Arc::clone(topology),
        policy: rules.policy(topology),
        candidate: None,
        geo: Arc::clone(&geography.ranges),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    }
}
