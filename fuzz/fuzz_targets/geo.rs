//! A geo file is refused, or answers for every address, and its tables come back from disk as they were; bytes of kept
//! tables are refused, or answer too. Neither panics, whatever the bytes.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use tradewind::engine::geo::ranges::Ranges;
use tradewind::engine::geo::stored;
use tradewind::sidecar::geoip::{self, Limits};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(loaded) = geoip::decode_and_compile(bytes.to_vec(), &Limits::default()) {
        answers(&loaded.ranges);
        let mut kept = Vec::new();
        stored::write(&loaded.ranges, &mut |piece| kept.extend_from_slice(piece));
        assert_eq!(read(&kept), Some(loaded.ranges));
    }
    if let Some(ranges) = read(bytes) {
        answers(&ranges);
    }
});

/// The tables that some bytes are.
fn read(bytes: &[u8]) -> Option<Ranges> {
    let mut rest = bytes;
    let mut fill = |into: &mut [u8]| {
        let Some((taken, left)) = rest.split_at_checked(into.len()) else { return false };
        into.copy_from_slice(taken);
        rest = left;
        true
    };
    stored::read(bytes.len() as u64, &mut fill).ok()
}

fn answers(ranges: &Ranges) {
    let anywhere = (0..64_u32).flat_map(|k| {
        let v4 = IpAddr::V4(Ipv4Addr::from(k.wrapping_mul(0x0765_4321)));
        let v6 = IpAddr::V6(Ipv6Addr::from(u128::from(k) << 100 | 0x2001_0db8 << 96));
        [v4, v6]
    });
    for address in anywhere.chain(ranges.sample(32)) {
        if let Some(class) = ranges.lookup(address) {
            let cell = ranges.place(class).cell();
            assert_eq!(cell.is_some(), ranges.cell_of(class).is_some());
        }
    }
}
