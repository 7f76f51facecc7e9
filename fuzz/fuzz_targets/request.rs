//! Whatever is sent has one normal form, which is ASCII and its own, or is refused; nothing else of a request panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tradewind::engine::request::address::client_address;
use tradewind::engine::request::host::{HostRoom, normal_host};
use tradewind::engine::request::path::{EmptySegments, EscapedSlashes, PathForm, normal_path, normal_query};
use tradewind::engine::request::target::Target;
use tradewind::engine::request::text_of;

fuzz_target!(|bytes: &[u8]| {
    let text = text_of(bytes);
    if let Ok(Some(ip)) = client_address(&text) {
        assert_eq!(client_address(&ip.to_string()), Ok(Some(ip)), "{text:?}");
    }
    let host = normal_host(&text, &mut HostRoom::new()).to_owned();
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
    let Ok(target) = Target::split(&text) else { return };
    for empty_segments in [EmptySegments::Merge, EmptySegments::Keep] {
        for escaped_slashes in [EscapedSlashes::Decode, EscapedSlashes::Keep, EscapedSlashes::Refuse] {
            let form = PathForm { empty_segments, escaped_slashes };
            let mut room = String::new();
            let Ok(once) = normal_path(target.path, form, &mut room) else { continue };
            assert!(once.is_ascii() && (once.is_empty() || once == "*" || once.starts_with('/')), "{text:?}");
            assert!(once.split('/').all(|segment| segment != "." && segment != ".."), "{text:?}");
            let mut room = String::new();
            assert_eq!(normal_path(once, form, &mut room), Ok(once), "{text:?}");
        }
    }
    let mut room = String::new();
    if let Ok(once) = normal_query(target.query, &mut room) {
        let mut room = String::new();
        assert_eq!(normal_query(once, &mut room), Ok(once), "{text:?}");
    }
});
