//! The compiled table against an oracle that looks at every network, and against a file written and read back.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests are not seen as tests by the lint"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use tradewind::engine::geo::Location;
use tradewind::engine::geo::cell::Cell;
use tradewind::engine::geo::countries;
use tradewind::engine::geo::layer::{Layer, Record, compile};
use tradewind::engine::geo::place::{Asn, Confidence, Country};
use tradewind::sidecar::geoip::error::GeoError;
use tradewind::sidecar::geoip::{self, Limits};

use crate::mmdb::{Database, Family, Value};

/// A record of few possible values, so that equal neighbours and equal classes occur.
fn any_record() -> impl Strategy<Value = Record> {
    let latitude = prop_oneof![
        Just(None),
        (0..3_u8).prop_map(|n| Some(f64::from(n) * 10.0))
    ];
    let code = prop_oneof![
        Just(None),
        Just(Country::new(*b"FR")),
        Just(Country::new(*b"DE"))
    ];
    let radius = prop_oneof![Just(None), Just(Some(10.0)), Just(Some(501.0))];
    (latitude, code, 0..3_u32, radius).prop_map(|(latitude, country, asn, accuracy_radius_km)| {
        Record {
            location: latitude.and_then(|latitude| Location::new(latitude, 2.0)),
            accuracy_radius_km,
            country,
            asn: Asn::new(asn),
        }
    })
}

/// Disjoint networks in ascending order, crowded into a few small blocks of both families.
fn any_networks() -> impl Strategy<Value = Vec<(IpNet, Record)>> {
    let v4 = (
        prop_oneof![0..4_u32, 0xffff..0x1_0003_u32, Just(u32::MAX >> 6)],
        26..=32_u8,
        0..64_u32,
    )
        .prop_map(|(block, length, offset)| {
            let address = Ipv4Addr::from_bits((block << 6) | offset);
            IpNet::new(address.into(), length)
                .expect("a length up to 32")
                .trunc()
        });
    let v6 =
        (0..3_u128, 60..=70_u8, 0..64_u128, 0..4_u128).prop_map(|(block, length, high, low)| {
            let address =
                Ipv6Addr::from_bits(0x2001_0db8 << 96 | block << 70 | high << 64 | low << 62);
            IpNet::new(address.into(), length)
                .expect("a length up to 128")
                .trunc()
        });
    let network = prop_oneof![3 => v4, 1 => v6];
    proptest::collection::vec((network, any_record()), 0..60).prop_map(|mut networks| {
        networks.sort_by_key(|(network, _)| *network);
        let mut disjoint: Vec<(IpNet, Record)> = Vec::new();
        for (network, record) in networks {
            if !disjoint
                .last()
                .is_some_and(|(last, _)| last.contains(&network))
            {
                disjoint.push((network, record));
            }
        }
        disjoint
    })
}

fn layer_of(networks: &[(IpNet, Record)]) -> Layer {
    let mut layer = Layer::new();
    for (network, record) in networks {
        let record = layer.intern(record);
        layer.add(*network, record).expect("ascending and disjoint");
    }
    layer
}

/// What one layer says of an address, found by looking at every network.
fn naive(networks: &[(IpNet, Record)], address: IpAddr) -> Option<&Record> {
    networks
        .iter()
        .find(|(network, _)| network.contains(&address))
        .map(|(_, record)| record)
}

/// What matters of a place: cell, country, operator, confidence.
type Facts = (Option<Cell>, Option<Country>, Option<Asn>, Confidence);

/// The rule of precedence, written out plainly.
fn naive_overlay(layers: &[Vec<(IpNet, Record)>], address: IpAddr) -> Option<Facts> {
    let records: Vec<&Record> = layers
        .iter()
        .filter_map(|layer| naive(layer, address))
        .collect();
    let asn = records.iter().find_map(|record| record.asn);
    let mut cell = None;
    let mut country = None;
    let mut confidence = Confidence::Low;
    for record in &records {
        let fits = country.is_none() || record.country.is_none() || record.country == country;
        if let (None, Some(location), true) = (cell, record.location, fits) {
            cell = Some(Cell::of(location));
            let is_wide = record
                .accuracy_radius_km
                .is_some_and(|radius| radius > 500.0);
            confidence = if is_wide {
                Confidence::Low
            } else {
                Confidence::High
            };
            country = country.or(record.country);
            break;
        }
        country = country.or(record.country);
    }
    // Where only the country is known, its people are where the table of countries says.
    let centre = country.and_then(countries::centre);
    let cell = cell.or_else(|| centre.map(|centre| Cell::of(centre.location)));
    (cell.is_some() || country.is_some() || asn.is_some())
        .then_some((cell, country, asn, confidence))
}

proptest! {
    #[test]
    fn lookups_and_precedence_equal_a_naive_search(
        layers in proptest::collection::vec(any_networks(), 1..4),
        others in proptest::collection::vec(any::<u32>(), 8),
    ) {
        let ranges = compile(layers.iter().map(|networks| layer_of(networks)).collect());
        let edges = layers.iter().flatten().flat_map(|(network, _)| [network.network(), network.broadcast()]).flat_map(|address| match address {
            IpAddr::V4(v4) => [-1, 0, 1].map(|step| IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(step)))),
            IpAddr::V6(v6) => [-1, 0, 1].map(|step| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(step)))),
        });
        let others = others.into_iter().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        for address in edges.chain(others) {
            let found = ranges.lookup(address).map(|class| ranges.place(class)).map(|place| (place.cell(), place.country, place.asn, place.confidence()));
            prop_assert_eq!(found, naive_overlay(&layers, address), "{}", address);
        }
        let class_limit = ranges.class_count();
        for address in ranges.sample(100) {
            let class = ranges.lookup(address).expect("a sample is located");
            prop_assert!(class.index() < class_limit);
            let cell = ranges.cell_of(class).map(|cell| ranges.cells()[cell.index()]);
            prop_assert_eq!(cell, ranges.place(class).cell());
            prop_assert_eq!(cell.and_then(|cell| ranges.cell_index(cell)), ranges.cell_of(class));
        }
    }

    #[test]
    fn a_file_and_the_builder_give_the_same_table(networks in any_networks()) {
        let mut database = Database::new("Test", "Written and read back", Family::V6);
        for (network, record) in &networks {
            let mut entries = Vec::new();
            if let Some(country) = record.country {
                let country = Value::map([("iso_code", Value::Text(country.to_string()))]);
                entries.push(("country".to_owned(), country));
            }
            if let Some(location) = record.location {
                let mut location = vec![
                    ("latitude".to_owned(), Value::Double(location.latitude())),
                    ("longitude".to_owned(), Value::Double(location.longitude())),
                ];
                if let Some(radius) = record.accuracy_radius_km {
                    location.push(("accuracy_radius".to_owned(), Value::U16(if radius > 500.0 { 501 } else { 10 })));
                }
                entries.push(("location".to_owned(), Value::Map(location)));
            }
            if let Some(asn) = record.asn {
                entries.push(("autonomous_system_number".to_owned(), Value::U32(asn.get())));
            }
            database.insert(*network, Value::Map(entries));
        }
        let built = compile(vec![layer_of(&networks)]);
        match geoip::decode_and_compile(database.to_bytes(), &Limits::default()) {
            Ok(loaded) => prop_assert_eq!(loaded.ranges, built),
            Err(error) => {
                prop_assert!(matches!(error, GeoError::NothingKnown { .. }), "{}", error);
                prop_assert!(built.is_empty());
            }
        }
    }
}
