//! A geo file is refused, or answers for every address; it never panics, whatever its bytes.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use tradewind::sidecar::geoip::{self, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_networks: 100_000, ..Limits::default() };
    if let Ok(loaded) = geoip::decode_and_compile(bytes.to_vec(), &limits) {
        for k in 0..64_u32 {
            let v4 = IpAddr::V4(Ipv4Addr::from(k.wrapping_mul(0x0765_4321)));
            let v6 = IpAddr::V6(Ipv6Addr::from(u128::from(k) << 100 | 0x2001_0db8 << 96));
            for address in [v4, v6] {
                if let Some(class) = loaded.ranges.lookup(address) {
                    let cell = loaded.ranges.place(class).cell();
                    assert_eq!(cell.is_some(), loaded.ranges.cell_of(class).is_some());
                }
            }
        }
    }
});
