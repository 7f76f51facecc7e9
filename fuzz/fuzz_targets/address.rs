//! An address that is accepted prints to a text that is accepted again as the same address, and injects nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tradewind::engine::topology::{Address, AddressPattern};

fuzz_target!(|text: &str| {
    drop(AddressPattern::parse(text));
    if let Ok(address) = Address::parse(text) {
        let printed = address.to_string();
        assert!(printed.bytes().all(|b| b.is_ascii_graphic() && b != b'@' && b != b'/'));
        assert_eq!(Address::parse(&printed).as_ref(), Ok(&address), "{text:?}");
        assert!(address.port() > 0);
    }
});
