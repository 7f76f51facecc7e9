//! Clients whose place is known badly or not at all: spread by capacity, each always to the same site, and nobody else moves.

#![expect(
    clippy::expect_used,
    reason = "a fleet that cannot be built is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use tradewind_engine::decision::{Decision, Note};
use tradewind_engine::evaluate::{Evaluation, evaluate, evaluate_at};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::layer::{self, Layer, Record};
use tradewind_engine::geo::place::{Confidence, Precision, Source};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::locate;
use tradewind_engine::query::{Client, Query};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::{policy, topology};

/// Sites with latitude, longitude, country and the capacity of their one node.
type Sites<'a> = &'a [(&'a str, f64, f64, &'a str, u16)];

/// Five sites in North America, of which three are in the United States, and one far away.
const AMERICA: Sites<'static> = &[
    ("dfw", 32.9, -97.0, "US", 300),
    ("den", 39.9, -104.7, "US", 200),
    ("ord", 42.0, -87.9, "US", 100),
    ("yyz", 43.7, -79.6, "CA", 400),
    ("fra", 50.0, 8.6, "DE", 500),
];

const POLICY: &str = "\
apiVersion: tradewind/v1
kind: Policy
spec:
  pools: [{name: edge, select: {tier: edge}}]
  rules: [{name: all, owner: web, rollback: none, pools: [edge]}]
";

fn topology_text(sites: Sites<'_>) -> String {
    let mut text = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n".to_owned();
    for (id, lat, lon, country, _) in sites {
        writeln!(
            text,
            "  - {{id: {id}, lat: {lat}, lon: {lon}, country: {country}}}"
        )
        .expect("a string takes all");
    }
    text.push_str("  nodes:\n");
    for (at, (id, .., capacity)) in sites.iter().enumerate() {
        writeln!(
            text,
            "  - {{id: {id}-1, site: {id}, address: 10.0.0.{at}:80, capacity: {capacity}}}"
        )
        .expect("a string takes all");
    }
    text
}

/// A table in which every IPv4 address has this record.
fn everywhere(record: Record) -> Ranges {
    let mut layer = Layer::new();
    let known = layer.intern(&record);
    let net = "0.0.0.0/0".parse().expect("a network");
    layer.add(net, known).expect("it is the first");
    layer::compile(vec![layer])
}

fn snapshot(sites: Sites<'_>, geo: Ranges, here: Option<Location>) -> Snapshot {
    let compiled = topology::compile("t", &topology_text(sites));
    let fleet = compiled.topology.expect("the topology is good");
    let compiled = policy::compile("p", POLICY, &fleet);
    let policy = compiled.policy.expect("the policy is good");
    let parts = Parts {
        topology: Arc::new(fleet),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(geo),
        geo_state: GeoState::Good,
        here,
        signals: Arc::default(),
    };
    Snapshot::build(1, parts, None)
}

fn at(latitude: f64, longitude: f64) -> Option<Location> {
    Location::new(latitude, longitude)
}

/// "Somewhere in the United States", as geo files have it.
fn somewhere_in_the_us() -> Record {
    Record {
        location: at(37.751, -97.822),
        accuracy_radius_km: Some(1_000.0),
        country: "US".parse().ok(),
        asn: None,
    }
}

fn country_only(country: &str) -> Record {
    Record {
        country: country.parse().ok(),
        ..Record::default()
    }
}

fn query(client: Client, path: &str) -> Query<'_> {
    Query {
        host: "www.example.com",
        path,
        client,
        ..Query::default()
    }
}

fn of_ip(ip: u32) -> Client {
    Client {
        ip: Some(IpAddr::V4(Ipv4Addr::from_bits(ip))),
        ..Client::default()
    }
}

fn first_site<'s>(snapshot: &'s Snapshot, evaluation: &Evaluation) -> &'s str {
    let site = evaluation.sites.first().expect("a site is chosen").site;
    &snapshot.topology().site(site).id
}

/// Where clients of many networks go.
fn shares(snapshot: &Snapshot, networks: u32) -> BTreeMap<&str, u32> {
    let mut counts = BTreeMap::new();
    for network in 0..networks {
        // Hosts of one network, each time another.
        let client = of_ip((network << 8) | (network % 251));
        let evaluation = evaluate(snapshot, &query(client, "/a"));
        *counts.entry(first_site(snapshot, &evaluation)).or_insert(0) += 1;
    }
    counts
}

/// Whether each site got what its capacity is of all, within four standard deviations.
fn assert_in_proportion(counts: &BTreeMap<&str, u32>, expected: &[(&str, f64)]) {
    let total: f64 = counts.values().map(|count| f64::from(*count)).sum();
    let capacity: f64 = expected.iter().map(|(_, capacity)| capacity).sum();
    let known: BTreeSet<&str> = expected.iter().map(|(site, _)| *site).collect();
    assert_eq!(counts.keys().copied().collect::<BTreeSet<_>>(), known);
    for (site, own) in expected {
        let share = own / capacity;
        let deviation = (total * share * (1.0 - share)).sqrt();
        let off = (f64::from(counts[site]) - total * share).abs();
        assert!(off < 4.0 * deviation, "{site}: {counts:?}");
    }
}

#[test]
fn a_vague_place_is_shared_by_the_sites_in_it_in_proportion_to_capacity() {
    let snapshot = snapshot(AMERICA, everywhere(somewhere_in_the_us()), None);
    // Toronto is 1,600 km from the middle, Frankfurt 8,000.
    let expected = [("dfw", 300.0), ("den", 200.0), ("ord", 100.0)];
    assert_in_proportion(&shares(&snapshot, 12_000), &expected);
}

#[test]
fn a_client_nobody_can_place_goes_to_any_site_in_proportion_to_capacity() {
    let snapshot = snapshot(AMERICA, Ranges::default(), None);
    let expected: Vec<_> = AMERICA
        .iter()
        .map(|site| (site.0, f64::from(site.4)))
        .collect();
    assert_in_proportion(&shares(&snapshot, 12_000), &expected);
    let evaluation = evaluate(&snapshot, &query(of_ip(7), "/a"));
    let decision = Decision::new(&snapshot, &evaluation);
    assert!(
        decision
            .candidates()
            .all(|candidate| candidate.expected_ms.is_none())
    );
    assert_eq!(evaluation.located.place.source, Source::Nowhere);
    // Without an address there is the object: not everybody goes to one site either.
    let mut sites = BTreeSet::new();
    for object in 0..64 {
        let path = format!("/{object}");
        let evaluation = evaluate(&snapshot, &query(Client::default(), &path));
        sites.insert(first_site(&snapshot, &evaluation).to_owned());
    }
    assert_eq!(sites.len(), AMERICA.len());
}

#[test]
fn a_client_keeps_its_site_and_so_do_its_neighbours() {
    for geo in [everywhere(somewhere_in_the_us()), Ranges::default()] {
        let snapshot = snapshot(AMERICA, geo, None);
        for network in 0..200_u32 {
            let site_of = |host: u32, path: &str| {
                let evaluation = evaluate(&snapshot, &query(of_ip((network << 8) | host), path));
                first_site(&snapshot, &evaluation).to_owned()
            };
            let site = site_of(1, "/a");
            for (host, path) in [(1, "/b"), (77, "/a"), (255, "/c")] {
                assert_eq!(site_of(host, path), site);
            }
        }
    }
}

#[test]
fn a_site_that_goes_takes_its_own_share_only() {
    let all = snapshot(AMERICA, Ranges::default(), None);
    let rest: Vec<_> = AMERICA
        .iter()
        .filter(|site| site.0 != "yyz")
        .copied()
        .collect();
    let fewer = snapshot(&rest, Ranges::default(), None);
    let mut moved = 0;
    for network in 0..2_000_u32 {
        let query = query(of_ip(network << 8), "/a");
        let before = evaluate(&all, &query);
        let after = evaluate(&fewer, &query);
        let before = first_site(&all, &before);
        if before == "yyz" {
            moved += 1;
        } else {
            assert_eq!(first_site(&fewer, &after), before);
        }
    }
    assert!(moved > 300, "{moved}");
}

#[test]
fn sites_of_the_country_come_first_whatever_is_nearer() {
    // Toronto is nearer to where Americans live on average than Hawaii and Alaska are.
    let sites: Sites<'_> = &[
        ("anc", 61.2, -149.9, "US", 100),
        ("hnl", 21.3, -157.9, "US", 100),
        ("yyz", 43.7, -79.6, "CA", 100),
    ];
    for geo in [everywhere(country_only("US")), Ranges::default()] {
        let by_caller = geo.is_empty();
        let snapshot = snapshot(sites, geo, None);
        for network in 0..50_u32 {
            let mut client = of_ip(network << 8);
            client.country = "US".parse().ok().filter(|_| by_caller);
            let evaluation = evaluate(&snapshot, &query(client, "/a"));
            assert!(["anc", "hnl"].contains(&first_site(&snapshot, &evaluation)));
            let place = evaluation.located.place;
            assert_eq!(place.precision(), Precision::Country);
            assert_eq!(place.confidence(), Confidence::Low);
            let decision = Decision::new(&snapshot, &evaluation);
            let notes: Vec<_> = decision.notes().map(Note::name).collect();
            assert_eq!(notes, ["low_confidence_location", "country_only"]);
            assert!(
                decision
                    .candidates()
                    .all(|c| c.expected_ms.is_some_and(|ms| ms > 5.0))
            );
        }
    }
}

#[test]
fn a_site_of_the_country_that_costs_too_much_does_not_come_first() {
    let topology = topology_text(AMERICA);
    let fleet = topology::compile("t", &topology)
        .topology
        .expect("it is good");
    let bias = "spec:\n  score: {bias: [{site: fra, ms: 300}]}\n";
    let compiled = policy::compile("p", &POLICY.replace("spec:\n", bias), &fleet);
    let parts = Parts {
        policy: Arc::new(compiled.policy.expect("it is good")),
        candidate: None,
        topology: Arc::new(fleet),
        geo: Arc::new(everywhere(country_only("DE"))),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    let snapshot = Snapshot::build(1, parts, None);
    let evaluation = evaluate(&snapshot, &query(of_ip(7), "/a"));
    assert_eq!(first_site(&snapshot, &evaluation), "yyz");
}

#[test]
fn the_sidecars_own_place_stands_in_before_the_default() {
    let snapshot = snapshot(AMERICA, Ranges::default(), at(41.0, -88.0));
    let evaluation = evaluate(&snapshot, &query(of_ip(7), "/a"));
    assert_eq!(first_site(&snapshot, &evaluation), "ord");
    assert_eq!(evaluation.located.place.source, Source::Here);
    // The country of the sidecar is not the client's.
    assert_eq!(evaluation.located.place.country, None);
    let decision = Decision::new(&snapshot, &evaluation);
    let notes: Vec<_> = decision.notes().map(Note::name).collect();
    assert_eq!(notes, ["here_location"]);
}

#[test]
fn the_same_shares_come_out_however_long_a_list_is_asked_for() {
    let snapshot = snapshot(AMERICA, everywhere(somewhere_in_the_us()), None);
    for network in 0..300_u32 {
        let client = of_ip(network << 8);
        let usual = evaluate(&snapshot, &query(client, "/a"));
        for candidates in [1, 2, 8] {
            let longer = Query {
                candidates: Some(candidates),
                ..query(client, "/a")
            };
            let longer = evaluate(&snapshot, &longer);
            assert_eq!(usual.picks[0].node, longer.picks[0].node);
        }
    }
}

proptest! {
    #[test]
    fn who_is_told_a_place_decides_as_who_looks_it_up(
        latitude in -60.0..=70.0_f64, longitude in -180.0..=180.0_f64,
        radius in prop_oneof![Just(0.0), 1.0..=5_000.0_f32], has_place: bool,
        country in prop_oneof![Just(""), Just("US"), Just("CA"), Just("LU"), Just("EU")],
        callers in prop_oneof![Just(""), Just("US"), Just("DE"), Just("XX")],
        ip: u32, has_here: bool,
    ) {
        let record = Record {
            location: at(latitude, longitude).filter(|_| has_place),
            accuracy_radius_km: Some(radius),
            country: country.parse().ok(),
            asn: None,
        };
        let here = at(40.0, -100.0).filter(|_| has_here);
        let knows = snapshot(AMERICA, everywhere(record), here);
        let told = snapshot(AMERICA, Ranges::default(), here);
        let client = Client { country: callers.parse().ok(), ..of_ip(ip) };
        let query = query(client, "/a");
        let class = knows.geo().lookup(client.ip.expect("it has an address"));
        let place = class.map(|class| knows.geo().place(class));
        let first = evaluate(&knows, &query);
        let second = evaluate_at(&told, &query, locate::locate_told(&told, &query, place));
        prop_assert_eq!(&first.picks, &second.picks);
        prop_assert_eq!(&first.sites, &second.sites);
        prop_assert_eq!(first.scope, second.scope);
        // And who asks again gets the same.
        prop_assert_eq!(&evaluate(&knows, &query).picks, &first.picks);
    }

    #[test]
    fn a_point_goes_to_its_nearest_site_whatever_its_radius_says(
        latitude in 25.0..=50.0_f64, longitude in -125.0..=-70.0_f64, radius in 0.0..=250.0_f32, ip: u32,
    ) {
        let record = |radius| Record {
            location: at(latitude, longitude),
            accuracy_radius_km: radius,
            country: "US".parse().ok(),
            asn: None,
        };
        let plain = snapshot(AMERICA, everywhere(record(None)), None);
        let stated = snapshot(AMERICA, everywhere(record(Some(radius))), None);
        let query = query(of_ip(ip), "/a");
        let (plain, stated) = (evaluate(&plain, &query), evaluate(&stated, &query));
        prop_assert_eq!(&plain.sites, &stated.sites);
        prop_assert_eq!(&plain.picks, &stated.picks);
        prop_assert!(!plain.located.place.is_vague());
        let totals: Vec<f32> = plain.sites.iter().map(|site| site.total_ms).collect();
        prop_assert!(totals.is_sorted(), "{totals:?}");
    }
}
