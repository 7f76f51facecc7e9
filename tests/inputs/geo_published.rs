//! Geo files as they are published: the npm family `@ip-location-db`, which `tests/geo_files/prepare` fetches.
//!
//! None of them describes itself, which this project once took for damage. Where they cannot be had, a test says so in a
//! line and passes, with `TRADEWIND_NO_SKIP=1` too: they come over the network and change every day, and no change here
//! should wait for that.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests are not seen as tests by the lints"
)]

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use maxminddb::Reader;
use tradewind::engine::geo::Location;
use tradewind::engine::geo::distance::{UnitVector, chord_squared, distance_km};
use tradewind::engine::geo::place::Place;
use tradewind::engine::geo::ranges::Ranges;
use tradewind::sidecar::geoip::{self, Limits, Reach};

/// An address, its country, and where it is.
type KnownPlace = (&'static str, &'static str, (f64, f64));

/// Networks that universities and research networks have had for decades: address, country, and where they are.
const KNOWN: [KnownPlace; 12] = [
    ("129.67.1.1", "GB", (51.75, -1.26)),
    ("129.187.1.1", "DE", (48.14, 11.58)),
    ("130.89.1.1", "NL", (52.24, 6.85)),
    ("133.11.1.1", "JP", (35.71, 139.76)),
    ("140.112.1.1", "TW", (25.02, 121.54)),
    ("146.164.1.1", "BR", (-22.86, -43.23)),
    ("150.203.1.1", "AU", (-35.28, 149.12)),
    ("128.8.1.1", "US", (38.99, -76.94)),
    ("2001:240::1", "JP", (35.7, 139.7)),
    ("2001:610::1", "NL", (52.1, 5.1)),
    ("2001:620::1", "CH", (47.4, 8.5)),
    ("2001:638::1", "DE", (52.5, 13.4)),
];

/// How far from there a city file may put them, for a few it does not know better than by country.
const NEAR_KM: f32 = 900.0;

/// The files of a kind, or why they cannot be had.
fn published(kind: &str) -> Result<Vec<PathBuf>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepared = Command::new(root.join("tests/geo_files/prepare"))
        .arg(kind)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("tests/geo_files/prepare does not run: {error}"))?;
    if prepared.status.success() {
        let paths = String::from_utf8_lossy(&prepared.stdout).into_owned();
        return Ok(paths.lines().map(PathBuf::from).collect());
    }
    let said = String::from_utf8_lossy(&prepared.stderr);
    Err(said.lines().last().unwrap_or("nothing said").to_owned())
}

/// Those files, or `None` after the line that says why the test is skipped.
fn published_or_skipped(test: &str, kind: &str) -> Option<Vec<PathBuf>> {
    published(kind)
        .inspect_err(|why| note(&format!("skipped: {test} because {why}")))
        .ok()
}

/// Says something to whoever runs the tests: not by `eprintln!`, which the harness keeps to itself while tests pass.
fn note(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn place(ranges: &Ranges, address: IpAddr) -> Option<Place> {
    ranges.lookup(address).map(|class| ranges.place(class))
}

/// Whether a file is about addresses of this family, by its name: `x-ipv4.mmdb`, `x-ipv6.mmdb`, or `x.mmdb` for both.
fn is_about(path: &Path, address: IpAddr) -> bool {
    let name = path.to_string_lossy();
    let other = if address.is_ipv4() { "ipv6" } else { "ipv4" };
    !name.contains(other)
}

/// A file loads, knows the known addresses, and says of a thousand others what the published reader says.
fn check_countries(path: &PathBuf) -> geoip::Loaded {
    let limits = Limits::default();
    let loaded = geoip::load(std::slice::from_ref(path), &limits)
        .unwrap_or_else(|faults| panic!("{faults}"));
    let ranges = &loaded.ranges;
    let reader = Reader::from_source(fs::read(path).expect("the file")).expect("a sound file");
    let known = KNOWN.map(|(address, ..)| address.parse().expect("an address"));
    let known = known.into_iter().filter(|address| is_about(path, *address));
    for address in ranges.sample(1000).into_iter().chain(known) {
        let record: Option<serde_json::Value> = reader
            .lookup(address)
            .expect("a sound file")
            .decode()
            .expect("a sound record");
        let code = record
            .as_ref()
            .and_then(|record| record.get("country_code"));
        let code = code.and_then(serde_json::Value::as_str).map(str::to_owned);
        let found = place(ranges, address).and_then(|place| place.country);
        assert_eq!(found.map(|found| found.to_string()), code, "{address}");
    }
    let mut wrong: Vec<String> = Vec::new();
    for (address, country, _) in KNOWN {
        let address: IpAddr = address.parse().expect("an address");
        if is_about(path, address) {
            let place = place(ranges, address);
            let found = place.and_then(|place| place.country);
            let found = found.map(|found| found.to_string());
            if found.as_deref() != Some(country) {
                wrong.push(format!("{address} is in {found:?}, not in {country}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
    loaded
}

#[test]
fn published_country_files_load_and_know_what_is_known() {
    let test = "published_country_files_load_and_know_what_is_known";
    let Some(paths) = published_or_skipped(test, "country") else {
        return;
    };
    assert!(paths.len() >= 4, "{paths:?}");
    for path in &paths {
        let loaded = check_countries(path);
        assert_eq!(Reach::of(&loaded.files), Reach::Countries);
    }
}

/// Takes some minutes in a quick build, and fetches 300 MB: `cargo test --release --test inputs geo_published -- --ignored`.
#[test]
#[ignore = "fetches some hundred megabytes"]
fn published_city_files_load_and_know_what_is_known() {
    let test = "published_city_files_load_and_know_what_is_known";
    let Some(paths) = published_or_skipped(test, "city") else {
        return;
    };
    for path in &paths {
        let loaded = check_countries(path);
        assert_eq!(Reach::of(&loaded.files), Reach::Coordinates);
        let file = loaded.files.first().expect("one file");
        note(&format!(
            "{}: {} networks, {} ranges, {} classes, {} cells, {} MB of tables",
            path.display(),
            file.network_count,
            file.range_count,
            file.class_count,
            loaded.ranges.cells().len(),
            loaded.ranges.memory_bytes() >> 20
        ));
        for (address, _, (latitude, longitude)) in KNOWN {
            let address: IpAddr = address.parse().expect("an address");
            if !is_about(path, address) {
                continue;
            }
            let found = place(&loaded.ranges, address).and_then(|place| place.location());
            let found = UnitVector::new(found.expect("a location"));
            let there = Location::new(latitude, longitude).expect("a location");
            let far_km = distance_km(chord_squared(found, UnitVector::new(there)));
            assert!(
                far_km < NEAR_KM,
                "{address} is {far_km} km off in {}",
                path.display()
            );
        }
    }
}
