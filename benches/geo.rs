//! What geography costs: lookups in the compiled table against lookups in the database it came from, distances, and
//! loading a large file. `cargo bench --bench geo` measures; with `-- --test` everything runs once on a small file.
//!
//! The large file is made here, in the nested layout: networks of /18 to /24 over IPv4 and of /32 to /48 over part of
//! IPv6, with 30,000 places and 3,000 operators. Times are the best of several rounds, since others use the machine.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run must stop")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use maxminddb::{Reader, geoip2};
use tradewind::engine::geo::Location;
use tradewind::engine::geo::cell::Cell;
use tradewind::engine::geo::distance::{UnitVector, chord_squared, distance_km};
use tradewind::engine::geo::layer::{Layer, Record, compile};
use tradewind::engine::geo::place::{Asn, Country};
use tradewind::engine::geo::ranges::{ClassIndex, Ranges};
use tradewind::engine::geo::stored;
use tradewind::sidecar::geoip::source::{ContentDigest, FileDigest};
use tradewind::sidecar::geoip::{self, Limits};

#[expect(
    dead_code,
    reason = "the writer knows more kinds of values than are used here"
)]
#[path = "../examples/fixtures/mmdb.rs"]
mod mmdb;

use mmdb::{Database, Family, Value};

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let scale = if is_test {
        Scale {
            networks: 2_000,
            rounds: 1,
        }
    } else {
        Scale {
            networks: 1_200_000,
            rounds: 7,
        }
    };
    let networks = made_up_networks(scale.networks);
    distances(scale);
    let bytes = file(&networks);
    load(scale, &bytes, &networks);
    lookups(scale, bytes, &networks);
}

#[derive(Clone, Copy)]
struct Scale {
    networks: usize,
    rounds: usize,
}

/// The best of several rounds.
fn best<T>(rounds: usize, mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = black_box(work());
        (start.elapsed(), result)
    };
    let mut best = timed();
    for _ in 1..rounds {
        let next = timed();
        if next.0 < best.0 {
            best = next;
        }
    }
    best
}

fn nanoseconds(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The same random numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(((self.0 >> 32) * u64::from(limit)) >> 32).unwrap_or_default()
    }

    fn bits(&mut self) -> u32 {
        self.below(u32::MAX)
    }
}

/// Networks in ascending order: five sixths IPv4, the rest IPv6.
fn made_up_networks(count: usize) -> Vec<(IpNet, Record)> {
    let mut random = Random(1);
    let places: Vec<Record> = (0..30_000).map(|_| made_up_record(&mut random)).collect();
    let mut networks = Vec::with_capacity(count);
    let mut next: u64 = 1 << 24;
    while networks.len() < count / 6 * 5 && next < 0xe000_0000 {
        // Mostly short ones, and small gaps between some.
        let length = 18 + random.below(4) + random.below(4);
        let size = 1_u64 << (32 - length);
        next = next.next_multiple_of(size);
        let address = Ipv4Addr::from_bits(u32::try_from(next).unwrap_or_default());
        networks.push((network(address.into(), length), place(&mut random, &places)));
        next += size;
    }
    // The blocks of the five registries, each with clusters of networks and gaps of some /29 between them.
    let v4_count = networks.len();
    for (number, registry) in (1..).zip([0x2400_u128, 0x2600, 0x2800, 0x2a00, 0x2c00]) {
        let mut next = registry << 112;
        while networks.len() < v4_count + (count - v4_count) * number / 5 {
            let length = 32 + random.below(17);
            let size = 1_u128 << (128 - length);
            next = next.next_multiple_of(size);
            let address = Ipv6Addr::from_bits(next);
            networks.push((network(address.into(), length), place(&mut random, &places)));
            next += size;
            if random.below(16) == 0 {
                next += u128::from(random.below(12)) << 99;
            }
        }
    }
    networks
}

fn network(address: IpAddr, length: u32) -> IpNet {
    IpNet::new(address, u8::try_from(length).unwrap_or_default())
        .expect("a length within the family")
}

fn made_up_record(random: &mut Random) -> Record {
    let letter = |random: &mut Random| b'A' + u8::try_from(random.below(15)).unwrap_or_default();
    Record {
        location: Location::new(
            f64::from(random.below(1_300_000)) / 10_000.0 - 55.0,
            f64::from(random.below(3_600_000)) / 10_000.0 - 180.0,
        ),
        country: Country::new([letter(random), letter(random)]),
        asn: Asn::new(64_496 + random.below(3_000)),
        accuracy_radius_km: None,
    }
}

fn place(random: &mut Random, places: &[Record]) -> Record {
    let number = usize::try_from(random.below(30_000)).unwrap_or_default();
    places.get(number).copied().unwrap_or_default()
}

fn file(networks: &[(IpNet, Record)]) -> Vec<u8> {
    let mut database = Database::new("Bench", "Made-up networks", Family::V6);
    for (network, record) in networks {
        let location = record.location.expect("made with a location");
        let country = record
            .country
            .map(|country| country.to_string())
            .unwrap_or_default();
        let name = Value::Text(format!("City {}", Cell::of(location)));
        let value = Value::map([
            (
                "autonomous_system_number",
                Value::U32(record.asn.map_or(0, Asn::get)),
            ),
            ("city", Value::map([("names", Value::map([("en", name)]))])),
            ("country", Value::map([("iso_code", Value::Text(country))])),
            (
                "location",
                Value::map([
                    ("latitude", Value::Double(location.latitude())),
                    ("longitude", Value::Double(location.longitude())),
                ]),
            ),
        ]);
        database.insert(*network, value);
    }
    database.to_bytes()
}

fn distances(scale: Scale) {
    let mut random = Random(2);
    let locations: Vec<Location> = (0..4096)
        .filter_map(|_| made_up_record(&mut random).location)
        .collect();
    let vectors: Vec<UnitVector> = locations.iter().copied().map(UnitVector::new).collect();
    let repeats = 200;
    let (time, _) = best(scale.rounds, || {
        let mut sum = 0.0_f32;
        for client in vectors.iter().take(repeats) {
            for site in &vectors {
                sum += distance_km(chord_squared(*black_box(client), *site));
            }
        }
        sum
    });
    println!(
        "distance                {:8.2} ns each, many in a row",
        nanoseconds(time, repeats * vectors.len())
    );
    let (time, _) = best(scale.rounds, || {
        let mut at = 0;
        for _ in 0..100_000 {
            // The next pair depends on this result, so no two overlap.
            let from = vectors.get(at).copied().expect("below 4096");
            let to = vectors.get(4095 - at).copied().expect("below 4096");
            at = (at + 1 + usize::from(distance_km(chord_squared(from, to)) > 30_000.0)) % 4096;
        }
        at
    });
    println!(
        "distance                {:8.2} ns each, one waiting for the other",
        nanoseconds(time, 100_000)
    );
    let (time, _) = best(scale.rounds, || {
        locations
            .iter()
            .map(|location| Cell::of(*location).id())
            .fold(0, u32::wrapping_add)
    });
    println!(
        "cell of a location      {:8.2} ns",
        nanoseconds(time, locations.len())
    );
    let (time, _) = best(scale.rounds, || {
        locations
            .iter()
            .map(|location| UnitVector::new(*location).z)
            .sum::<f32>()
    });
    println!(
        "unit vector             {:8.2} ns",
        nanoseconds(time, locations.len())
    );
}

fn load(scale: Scale, bytes: &[u8], networks: &[(IpNet, Record)]) {
    println!(
        "file                    {:8.1} MB, {} networks",
        megabytes(bytes.len()),
        networks.len()
    );
    let limits = Limits::default();
    let rounds = scale.rounds.min(3);
    let (time, loaded) = best(rounds, || {
        geoip::decode_and_compile(bytes.to_vec(), &limits).expect("a sound file")
    });
    let (v4, v6) = loaded.ranges.range_counts();
    println!(
        "digest, check, compile  {:8.0} ms",
        time.as_secs_f64() * 1e3
    );
    println!(
        "table                   {:8.1} MB, {v4} IPv4 and {v6} IPv6 ranges, {} classes, {} cells",
        megabytes(loaded.ranges.memory_bytes()),
        loaded.ranges.class_count(),
        loaded.ranges.cells().len()
    );
    let (time, _) = best(rounds, || FileDigest::of(bytes));
    println!(
        "  of it digest          {:8.0} ms",
        time.as_secs_f64() * 1e3
    );
    let (time, _) = best(rounds, || ContentDigest::of(bytes));
    println!(
        "  of it quick digest    {:8.0} ms",
        time.as_secs_f64() * 1e3
    );
    let reader = Reader::from_source(bytes).expect("a sound file");
    let (time, ()) = best(rounds, || reader.verify().expect("a sound file"));
    println!(
        "the reader's own check  {:8.0} ms",
        time.as_secs_f64() * 1e3
    );
    keep(rounds, &loaded.ranges);
    join(rounds, networks);
}

/// A table written as bytes and read back.
fn keep(rounds: usize, table: &Ranges) {
    let mut kept = Vec::new();
    let (time, ()) = best(rounds, || {
        kept.clear();
        stored::write(table, &mut |piece| kept.extend_from_slice(piece));
    });
    println!(
        "table to bytes          {:8.0} ms, {:.1} MB",
        time.as_secs_f64() * 1e3,
        megabytes(kept.len())
    );
    let (time, read) = best(rounds, || read_back(&kept));
    assert_eq!(read.as_ref(), Some(table), "what was written");
    println!(
        "bytes to table          {:8.0} ms, checked",
        time.as_secs_f64() * 1e3
    );
}

/// The builder by itself, and two layers that become one.
fn join(rounds: usize, networks: &[(IpNet, Record)]) {
    let (time, _) = best(rounds, || {
        let mut layer = Layer::new();
        for (network, record) in networks {
            let record = layer.intern(record);
            layer.add(*network, record).expect("ascending");
        }
        compile(vec![layer])
    });
    println!(
        "builder alone           {:8.0} ms, every record interned",
        time.as_secs_f64() * 1e3
    );
    let (mut city, mut operators) = (Layer::new(), Layer::new());
    for (network, record) in networks {
        let place = city.intern(&Record {
            asn: None,
            ..*record
        });
        let operator = operators.intern(&Record {
            asn: record.asn,
            ..Record::default()
        });
        city.add(*network, place).expect("ascending");
        operators.add(*network, operator).expect("ascending");
    }
    let (time, _) = best(rounds, || compile(vec![city.clone(), operators.clone()]));
    println!(
        "two layers joined       {:8.0} ms",
        time.as_secs_f64() * 1e3
    );
}

/// The table that some bytes are.
fn read_back(bytes: &[u8]) -> Option<Ranges> {
    let mut rest = bytes;
    let mut fill = |into: &mut [u8]| {
        let Some((taken, left)) = rest.split_at_checked(into.len()) else {
            return false;
        };
        into.copy_from_slice(taken);
        rest = left;
        true
    };
    stored::read(bytes.len() as u64, &mut fill).ok()
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

fn lookups(scale: Scale, bytes: Vec<u8>, networks: &[(IpNet, Record)]) {
    let loaded =
        geoip::decode_and_compile(bytes.clone(), &Limits::default()).expect("a sound file");
    let reader = Reader::from_source(bytes).expect("a sound file");
    let (v4, v6) = addresses(networks);
    for (family, addresses) in [("IPv4", &v4), ("IPv6", &v6)] {
        let print = |what: &str, time: Duration| {
            println!(
                "{family} {what:<19} {:8.2} ns",
                nanoseconds(time, addresses.len())
            );
        };
        let (time, _) = best(scale.rounds, || {
            classes(&loaded.ranges, addresses)
                .map(ClassIndex::index)
                .sum::<usize>()
        });
        print("class", time);
        let (time, _) = best(scale.rounds, || dependent(&loaded.ranges, addresses));
        print("class, dependent", time);
        let (time, _) = best(scale.rounds, || {
            let places = classes(&loaded.ranges, addresses).map(|class| loaded.ranges.place(class));
            places
                .filter_map(|place| place.location())
                .map(Location::latitude)
                .sum::<f64>()
        });
        print("class and place", time);
        let (time, _) = best(scale.rounds, || {
            let found = addresses
                .iter()
                .filter_map(|address| reader.lookup(*address).ok());
            let records =
                found.filter_map(|found| found.decode::<geoip2::City<'_>>().ok().flatten());
            records
                .filter_map(|record| record.location.latitude)
                .sum::<f64>()
        });
        print("reader and decode", time);
    }
}

/// Addresses all over the networks of the file, in no order, of each family.
fn addresses(networks: &[(IpNet, Record)]) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let mut random = Random(3);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    while v4.len().min(v6.len()) < 50_000 {
        let number = usize::try_from(random.bits()).unwrap_or_default() % networks.len();
        let Some((network, _)) = networks.get(number) else {
            continue;
        };
        match network.network() {
            IpAddr::V4(net) => v4.push(IpAddr::V4(Ipv4Addr::from_bits(
                net.to_bits() | random.below(256),
            ))),
            IpAddr::V6(net) => v6.push(IpAddr::V6(Ipv6Addr::from_bits(
                net.to_bits() | u128::from(random.bits()),
            ))),
        }
    }
    (v4, v6)
}

fn classes(ranges: &Ranges, addresses: &[IpAddr]) -> impl Iterator<Item = ClassIndex> {
    addresses
        .iter()
        .filter_map(|address| ranges.lookup(*address))
}

/// Lookups of which each must wait for the one before, as the next address depends on the class found.
fn dependent(ranges: &Ranges, addresses: &[IpAddr]) -> usize {
    let mut at = 0;
    for _ in 0..addresses.len() {
        let class = addresses
            .get(at)
            .and_then(|address| ranges.lookup(*address));
        at = (at + 1 + class.map_or(0, |class| class.index() >> 40)) % addresses.len();
    }
    at
}
