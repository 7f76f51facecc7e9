//! The geographic loader against published test databases, our own fixtures, and broken files.
//!
//! The published files are not part of the repository: tests that want them look in `../shared/data/geo` and say one
//! line and pass where it is missing.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are not seen as tests by the lints"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use maxminddb::{Reader, WithinOptions};
use serde_json::Value as Json;
use tradewind::engine::geo::Location;
use tradewind::engine::geo::cell::Cell;
use tradewind::engine::geo::countries;
use tradewind::engine::geo::place::{Asn, Confidence, Country, Place};
use tradewind::engine::geo::ranges::Ranges;
use tradewind::sidecar::geoip::error::GeoError;
use tradewind::sidecar::geoip::format::flaw::Flaw;
use tradewind::sidecar::geoip::probe::ProbePolicy;
use tradewind::sidecar::geoip::{self, Limits};

use crate::mmdb::{Database, Family, Value};

/// A published file, or `None` after the one line that says so.
fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    if directory.is_dir() {
        Some(directory.join("geo").join(name))
    } else {
        println!("skipped: {test}: ../shared/data is not here");
        None
    }
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn load(paths: &[PathBuf]) -> Ranges {
    geoip::load(paths, &Limits::default())
        .expect("a sound file")
        .ranges
}

/// The one fault of some files.
fn fault(paths: &[PathBuf]) -> GeoError {
    let faults = geoip::load(paths, &Limits::default()).expect_err("a fault");
    let [fault] = <[GeoError; 1]>::try_from(faults.0).expect("one fault");
    fault
}

fn ends(network: IpNet) -> [IpAddr; 2] {
    [network.network(), network.broadcast()]
}

fn place(ranges: &Ranges, address: IpAddr) -> Option<Place> {
    ranges.lookup(address).map(|class| ranges.place(class))
}

fn country(place: &Place) -> String {
    place
        .country
        .map(|country| country.to_string())
        .unwrap_or_default()
}

/// Networks and records of a published source file, which must not be nested for the tests below to be right.
fn expected(path: &Path) -> Vec<(IpNet, Json)> {
    let text = fs::read_to_string(path).expect("the source of the test file");
    let list: Vec<serde_json::Map<String, Json>> = serde_json::from_str(&text).expect("JSON");
    let mut networks: Vec<(IpNet, Json)> = list
        .into_iter()
        .flatten()
        .map(|(network, record)| (network.parse().expect("a network"), record))
        .collect();
    networks.sort_by_key(|(network, _)| *network);
    for pair in networks.windows(2) {
        assert!(
            !pair[0].0.contains(&pair[1].0),
            "{} lies in {}",
            pair[1].0,
            pair[0].0
        );
    }
    networks
}

#[test]
fn every_network_of_the_city_test_file_is_located() {
    let test = "every_network_of_the_city_test_file_is_located";
    let Some(path) = shared(test, "GeoLite2-City-Test.mmdb") else {
        return;
    };
    let ranges = load(std::slice::from_ref(&path));
    for (network, record) in expected(&path.with_extension("json")) {
        let number = |key: &str| {
            record
                .pointer(&format!("/location/{key}"))
                .and_then(Json::as_f64)
        };
        let location = number("latitude")
            .zip(number("longitude"))
            .and_then(|(lat, lon)| Location::new(lat, lon));
        let code = ["/country/iso_code", "/registered_country/iso_code"]
            .iter()
            .find_map(|key| record.pointer(key));
        for address in ends(network) {
            let place = place(&ranges, address)
                .unwrap_or_else(|| panic!("{address} of {network} has no class"));
            assert_eq!(place.cell(), location.map(Cell::of), "{address}");
            assert_eq!(
                country(&place),
                code.and_then(Json::as_str).unwrap_or_default(),
                "{address}"
            );
            let is_wide = number("accuracy_radius").is_some_and(|radius| radius > 500.0);
            let is_high = location.is_some() && !is_wide;
            assert_eq!(place.confidence() == Confidence::High, is_high, "{address}");
        }
    }
}

#[test]
fn every_network_of_the_asn_test_file_has_its_operator() {
    let test = "every_network_of_the_asn_test_file_has_its_operator";
    let Some(path) = shared(test, "GeoLite2-ASN-Test.mmdb") else {
        return;
    };
    let ranges = load(std::slice::from_ref(&path));
    for (network, record) in expected(&path.with_extension("json")) {
        let number = record
            .get("autonomous_system_number")
            .and_then(Json::as_u64);
        let asn = number.and_then(|number| Asn::new(u32::try_from(number).expect("an ASN")));
        for address in ends(network) {
            assert_eq!(
                place(&ranges, address).and_then(|place| place.asn),
                asn,
                "{address} of {network}"
            );
        }
    }
}

/// A city file in which nothing says what it is: the format calls that optional, and many published files do so.
#[test]
fn files_that_do_not_describe_themselves_are_sound() {
    let mut database = Database::new("", "", Family::V6);
    database.insert(
        net("192.0.2.0/24"),
        Value::map([
            ("country_code", Value::text("FR")),
            ("latitude", Value::Float(48.5)),
            ("longitude", Value::Float(2.25)),
        ]),
    );
    let needed = [
        "binary_format_major_version",
        "ip_version",
        "node_count",
        "record_size",
    ];
    for bytes in [
        database.to_bytes(),
        database.to_bytes_with(|metadata| metadata.retain(|(name, _)| name != "description")),
        database.to_bytes_with(|metadata| metadata.retain(|(name, _)| needed.contains(&&**name))),
    ] {
        let loaded = geoip::decode_and_compile(bytes, &Limits::default()).expect("a sound file");
        let place = place(&loaded.ranges, ip("192.0.2.1")).expect("a class");
        assert_eq!(country(&place), "FR");
        assert!(place.cell().is_some());
        assert_eq!(loaded.files[0].database_type, "");
        assert_eq!(geoip::Reach::of(&loaded.files), geoip::Reach::Coordinates);
    }
    for field in needed {
        let bytes = database.to_bytes_with(|metadata| metadata.retain(|(name, _)| name != field));
        let error =
            geoip::decode_and_compile(bytes, &Limits::default()).expect_err("no such field");
        let GeoError::Malformed { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(source.to_string(), format!("its metadata has no `{field}`"));
    }
}

/// The same networks in trees of every width: the crate reads them, and we as it does.
#[test]
fn records_of_every_width_say_the_same() {
    let mut tables = Vec::new();
    for record_bits in [24, 28, 32] {
        let mut database = Database::new("Test", "Widths", Family::V6);
        database.record_bits = record_bits;
        for n in 0..200_u8 {
            let record = Value::map([("asn", Value::U32(64_496 + u32::from(n)))]);
            database.insert(net(&format!("198.18.{n}.0/25")), record.clone());
            database.insert(net(&format!("2001:db8:{n:x}::/48")), record);
        }
        let bytes = database.to_bytes();
        let reader = Reader::from_source(bytes.clone()).expect("a sound file");
        reader.verify().expect("a sound file");
        let loaded = geoip::decode_and_compile(bytes, &Limits::default()).expect("a sound file");
        assert_eq!(loaded.files[0].network_count, 400);
        tables.push(loaded.ranges);
    }
    assert_eq!(tables[0], tables[1]);
    assert_eq!(tables[1], tables[2]);
}

#[test]
fn what_a_set_of_files_can_say_is_known() {
    let reach = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(|name| own(name)).collect();
        let loaded = geoip::load(&paths, &Limits::default()).expect("sound files");
        geoip::Reach::of(&loaded.files)
    };
    assert_eq!(reach(&["geo/asn.mmdb"]), geoip::Reach::Nothing);
    assert_eq!(
        reach(&["geo/asn.mmdb", "geo/flat-ipv4.mmdb"]),
        geoip::Reach::Coordinates
    );
    let mut database = Database::new("", "", Family::V4);
    database.insert(
        net("192.0.2.0/24"),
        Value::map([("country", Value::map([("iso_code", Value::text("FR"))]))]),
    );
    let loaded = geoip::decode_and_compile(database.to_bytes(), &Limits::default());
    let files = loaded.expect("a sound file").files;
    assert_eq!(geoip::Reach::of(&files), geoip::Reach::Countries);
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Every network of a file, asked of our table and of the reader it came from.
#[test]
fn the_table_agrees_with_the_reader_everywhere() {
    let test = "the_table_agrees_with_the_reader_everywhere";
    for name in ["GeoLite2-City-Test.mmdb", "dbip-city-subset-nested.mmdb"] {
        let Some(path) = shared(test, name) else {
            return;
        };
        let reader = Reader::from_source(fs::read(&path).expect("the file")).expect("a sound file");
        let ranges = load(&[path]);
        let everything = WithinOptions::default().include_networks_without_data();
        for found in reader.networks(everything).expect("networks") {
            let found = found.expect("a network");
            let network = found.network().expect("a network");
            let record = found
                .decode::<maxminddb::geoip2::City<'_>>()
                .expect("a record")
                .unwrap_or_default();
            let location = record.location.latitude.zip(record.location.longitude);
            let cell = location
                .and_then(|(lat, lon)| Location::new(lat, lon))
                .map(Cell::of);
            let code = record
                .country
                .iso_code
                .or(record.registered_country.iso_code)
                .unwrap_or_default();
            let net = IpNet::new(network.ip(), network.prefix()).expect("a network");
            for address in ends(net) {
                let place = place(&ranges, address);
                assert_eq!(place.and_then(|place| place.cell()), cell, "{address}");
                assert_eq!(
                    place.as_ref().map(country).unwrap_or_default(),
                    code,
                    "{address}"
                );
            }
        }
    }
}

#[test]
fn both_layouts_of_one_database_give_the_same_table() {
    let test = "both_layouts_of_one_database_give_the_same_table";
    let Some(nested) = shared(test, "dbip-city-subset-nested.mmdb") else {
        return;
    };
    let flat = nested.with_file_name("dbip-city-subset-flat.mmdb");
    let limits = Limits::default();
    let nested = geoip::load(&[nested], &limits).expect("the nested file");
    let flat = geoip::load(&[flat], &limits).expect("the flat file");
    assert_eq!(
        (nested.files[0].network_count, flat.files[0].network_count),
        (1429, 1429)
    );
    assert_eq!(
        (
            nested.files[0].faulty_record_count,
            flat.files[0].faulty_record_count
        ),
        (0, 0)
    );
    // Equal ranges, classes and cells: so equal answers for every address there is.
    assert_eq!(nested.ranges, flat.ranges);
    assert!(nested.ranges.cells().len() > 100);
}

#[test]
fn published_broken_files_are_refused() {
    let test = "published_broken_files_are_refused";
    for name in [
        "GeoIP2-City-Test-Broken-Double-Format.mmdb",
        "GeoIP2-City-Test-Invalid-Node-Count.mmdb",
    ] {
        let Some(path) = shared(test, name) else {
            return;
        };
        let error = fault(&[path]);
        assert!(matches!(error, GeoError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn the_example_locates_its_networks_as_its_table_says() {
    let loaded = geoip::load(&[own("example/geo.mmdb")], &Limits::default()).expect("the example");
    let table = fs::read_to_string(own("example/geo.csv")).expect("the example's table");
    let mut count = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [network, _, code, latitude, longitude, radius] = fields[..] else {
            panic!("{line}")
        };
        let location = latitude.parse().ok().zip(longitude.parse().ok());
        let location = location.and_then(|(lat, lon)| Location::new(lat, lon));
        // Without coordinates it is where the country's people are.
        let centre = Country::from_str(code).ok().and_then(countries::centre);
        let cell = location
            .or(centre.map(|centre| centre.location))
            .map(Cell::of);
        let is_high = radius.parse::<f64>().is_ok_and(|radius| radius <= 500.0);
        for address in ends(network.parse().expect("a network")) {
            let place =
                place(&loaded.ranges, address).unwrap_or_else(|| panic!("{address} has no class"));
            assert_eq!(
                (place.cell(), country(&place).as_str()),
                (cell, code),
                "{address}"
            );
            assert_eq!(place.confidence() == Confidence::High, is_high, "{address}");
            if let IpAddr::V4(v4) = address {
                let mapped = IpAddr::V6(v4.to_ipv6_mapped());
                assert_eq!(loaded.ranges.lookup(mapped), loaded.ranges.lookup(address));
            }
        }
        count += 1;
    }
    // One record says nothing of use, and so makes no class.
    assert_eq!(loaded.files[0].network_count, count + 1);
    assert_eq!(
        place(&loaded.ranges, IpAddr::V4(Ipv4Addr::new(198, 19, 3, 1))),
        None
    );
    assert_eq!(loaded.files[0].database_type, "Tradewind-Example-City");
    assert!(
        loaded.ranges.memory_bytes() < 600_000,
        "{}",
        loaded.ranges.memory_bytes()
    );
}

#[test]
fn files_are_laid_over_each_other() {
    let [city, flat, asn] = ["example/geo.mmdb", "geo/flat-ipv4.mmdb", "geo/asn.mmdb"].map(own);
    let together = load(&[city.clone(), asn.clone(), flat]);
    let alone = load(&[city]);
    let operators = load(&[asn]);
    for address in alone.sample(1000).into_iter().chain(operators.sample(100)) {
        let both = place(&together, address).expect("a class");
        assert_eq!(
            both.cell(),
            place(&alone, address).and_then(|place| place.cell())
        );
        assert_eq!(
            both.country,
            place(&alone, address).and_then(|place| place.country)
        );
        assert_eq!(
            both.asn,
            place(&operators, address).and_then(|place| place.asn)
        );
    }
}

#[test]
fn generated_broken_files_are_refused() {
    for name in ["geo/truncated.mmdb", "geo/corrupt.mmdb", "example/geo.csv"] {
        let error = fault(&[own(name)]);
        assert!(matches!(error, GeoError::Malformed { .. }), "{error}");
    }
}

#[test]
fn faults_of_files_are_named() {
    let limits = Limits::default();
    let message = |paths: &[PathBuf], limits: &Limits| {
        geoip::load(paths, limits).expect_err("a fault").to_string()
    };
    assert_eq!(
        message(&[], &limits),
        "number of geo files is 0, must be between 1 and 8"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent.mmdb");
    assert_eq!(
        message(std::slice::from_ref(&absent), &limits),
        format!(
            "geo file `{}` cannot be read: No such file or directory (os error 2)",
            absent.display()
        )
    );
    assert!(message(&[directory.path().to_owned()], &limits).ends_with("is not a regular file"));
    let small = Limits {
        max_file_bytes: 1000,
        ..Limits::default()
    };
    assert!(
        message(&[own("example/geo.mmdb")], &small)
            .ends_with("has 8837 bytes, must have at most 1000")
    );
    let few = Limits {
        max_networks: 100,
        ..Limits::default()
    };
    assert!(
        message(&[own("example/geo.mmdb")], &few)
            .ends_with("has more networks than 100, the most allowed")
    );
}

#[test]
fn the_faults_of_all_files_are_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent.mmdb");
    let paths = [
        absent,
        own("example/geo.mmdb"),
        own("example/geo.csv"),
        directory.path().to_owned(),
    ];
    let faults = geoip::load(&paths, &Limits::default()).expect_err("faults");
    let lines = faults.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, words) in lines.iter().zip([
        ["absent.mmdb` cannot be read", "No such file"],
        [
            "geo.csv` is not a sound MaxMind DB file",
            "the mark before the metadata is not in",
        ],
        ["geo file `", "is not a regular file"],
    ]) {
        assert!(words.iter().all(|words| line.contains(words)), "{line}");
    }
    let (loaded, faults) = geoip::load_sound(&paths, &Limits::default());
    assert_eq!(loaded.expect("the sound one").files.len(), 1);
    assert_eq!(faults.0.len(), 3);
}

#[test]
fn a_sum_beside_the_file_must_fit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("geo.mmdb");
    let sum_path = directory.path().join("geo.mmdb.sha256");
    fs::copy(own("example/geo.mmdb"), &path).expect("a copy");
    let paths = [path];
    let limits = Limits::default();
    let digest = geoip::load(&paths, &limits)
        .expect("no sum, no check")
        .files[0]
        .digest
        .to_string();
    for sound in [
        digest.clone(),
        format!("{}  geo.mmdb\n", digest.to_uppercase()),
    ] {
        fs::write(&sum_path, sound).expect("a sum");
        assert!(geoip::load(&paths, &limits).is_ok());
    }
    let other = digest.chars().rev().collect::<String>();
    fs::write(&sum_path, &other).expect("a sum");
    let error = fault(&paths);
    assert!(
        matches!(&error, GeoError::SumDiffers { expected, .. } if *expected == other),
        "{error}"
    );
    fs::write(&sum_path, "not a sum").expect("a sum");
    let error = fault(&paths);
    assert!(
        matches!(&error, GeoError::SumMalformed { value, .. } if value == "not"),
        "{error}"
    );
}

#[test]
fn a_table_that_moves_everyone_is_refused() {
    let current = load(&[own("example/geo.mmdb")]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("one-place.mmdb");
    let mut database = Database::new("Test", "Everyone in one place", Family::V6);
    let (latitude, longitude) = (Value::Double(48.0), Value::Float(2.0));
    let record = Value::map([("latitude", latitude), ("longitude", longitude)]);
    database.insert(net("::/1"), record.clone());
    database.insert(net("8000::/1"), record);
    fs::write(&path, database.to_bytes()).expect("a file");
    let paths = [path];
    let limits = Limits::default();
    let error = geoip::reload(&paths, &limits, &current, ProbePolicy::Enforce)
        .expect_err("a suspicious file");
    assert!(
        error.to_string().starts_with("new geo files move "),
        "{error}"
    );
    let loaded =
        geoip::reload(&paths, &limits, &current, ProbePolicy::Report).expect("taken on request");
    assert!(
        loaded
            .probes
            .is_some_and(|report| report.changed_share() > 0.5)
    );
    // One record above the whole of IPv4 holds for IPv4 too.
    assert!(
        loaded
            .ranges
            .lookup(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .is_some()
    );
}

#[test]
fn a_sound_file_about_something_else_is_refused() {
    let mut database = Database::new("Test-Anonymous", "No geography", Family::V4);
    database.insert(
        net("192.0.2.0/24"),
        Value::map([("is_anonymous", Value::U16(1)), ("x", Value::U64(1 << 40))]),
    );
    let error = geoip::decode_and_compile(database.to_bytes(), &Limits::default())
        .expect_err("nothing known");
    assert_eq!(
        error.to_string(),
        "geo file `<memory>` of type `Test-Anonymous` has no record with coordinates, a country or an ASN"
    );
}

/// A tree whose every node leads to the next on both sides has 2^32 networks in 32 nodes.
#[test]
fn a_tree_that_multiplies_is_refused_at_once() {
    let mut database = Database::new("Test", "One network", Family::V4);
    database.insert(
        net("192.0.2.1/32"),
        Value::map([("country_code", Value::text("FR"))]),
    );
    let mut bytes = database.to_bytes();
    for node in 0..31_u8 {
        for side in 0..2 {
            bytes[usize::from(node) * 6 + side * 3 + 2] = node + 1;
        }
    }
    let error = geoip::decode_and_compile(bytes, &Limits::default()).expect_err("too many leaves");
    let GeoError::Malformed { source, .. } = error else {
        panic!("{error}")
    };
    let flaw = Flaw::TreeMultiplies {
        node_count: 32,
        limit: 96,
    };
    assert_eq!(source, flaw);
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// Whatever the bytes: a table that answers, or an error.
fn survives(bytes: Vec<u8>) -> bool {
    let Ok(loaded) = geoip::decode_and_compile(bytes, &Limits::default()) else {
        return false;
    };
    for address in loaded.ranges.sample(64) {
        assert!(place(&loaded.ranges, address).is_some());
    }
    for bits in [0, 1, u32::MAX, 0xc612_0001] {
        place(&loaded.ranges, IpAddr::V4(Ipv4Addr::from_bits(bits)));
        place(
            &loaded.ranges,
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 96)),
        );
    }
    true
}

#[test]
fn every_prefix_of_the_example_is_refused() {
    let bytes = fs::read(own("example/geo.mmdb")).expect("the example");
    for length in 0..bytes.len() {
        assert!(
            !survives(bytes[..length].to_vec()),
            "the first {length} bytes were taken"
        );
    }
    assert!(survives(bytes));
}

#[test]
fn thousands_of_mutations_are_refused_or_answered() {
    let mut taken = 0;
    // The same mutations in every run: a multiplier and a shift make the random numbers.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for name in ["example/geo.mmdb", "geo/flat-ipv4.mmdb", "geo/asn.mmdb"] {
        let sound = fs::read(own(name)).expect("a fixture");
        for _ in 0..2000 {
            let mut bytes = sound.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = u8::try_from(random(256)).expect("a byte"),
                    2 => drop(
                        bytes.splice(at..(at + random(8)).min(sound.len() - 8).max(at), [0xff; 2]),
                    ),
                    _ => {
                        let from = random(bytes.len());
                        bytes[at] = bytes[from];
                    }
                }
            }
            taken += usize::from(survives(bytes));
        }
    }
    println!("{taken} of 6000 mutations were taken");
}
