//! Every format reads any line or refuses it; what is read can be asked, or is refused for what the client sent.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use tradewind::command::trace::log::Format;
use tradewind::engine::request::Reading;
use tradewind::sidecar::wire::{QueryBuffer, QueryRoom};

fuzz_target!(|bytes: &[u8]| {
    // The first line may be a format itself: a pattern, or a name with choices.
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let given = first.and_then(|line| line.parse::<Format>().ok());
    for mut format in Format::detected().chain(given) {
        assert!(!format.describe().is_empty());
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(Some(entry)) = format.read(line) else { continue };
            let known = entry.knows_client();
            let request = entry.request("www.example.com");
            let ip = request.client.as_ref().map(|client| client.ip.parse::<IpAddr>().is_ok());
            assert_eq!(ip, Some(known));
            let mut room = QueryRoom::default();
            if let Err(error) = QueryBuffer::default().read(&request, &mut room, &Reading::default()) {
                assert!(error.client_status().is_some(), "{error}");
            }
        }
    }
});
