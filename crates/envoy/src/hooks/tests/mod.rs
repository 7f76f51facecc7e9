//! The hooks called as Envoy calls them, beside a sidecar and without one.

mod lives;

use super::*;
use crate::fake::{FakeEntry, FakeStream, has_logged};

fn filter(config: &str) -> *const Filter {
    let name = Buffer::of(b"route");
    let config = Buffer::of(config.as_bytes());
    envoy_dynamic_module_on_http_filter_config_new(ptr::null_mut(), name, config)
}

fn ask(filter: *const Filter, stream: &mut FakeStream) -> u32 {
    let at = stream.pointer();
    let own = envoy_dynamic_module_on_http_filter_new(filter, at);
    let next = envoy_dynamic_module_on_http_filter_request_headers(at, own, true);
    envoy_dynamic_module_on_http_filter_stream_complete(at, own);
    envoy_dynamic_module_on_http_filter_destroy(own);
    next
}

#[test]
fn a_version_is_said() {
    let version = envoy_dynamic_module_on_program_init();
    // SAFETY: it is a text that ends with a null.
    let version = unsafe { std::ffi::CStr::from_ptr(version) };
    assert_eq!(version, c"v0.1.0");
    tracing::warn!(field = 7, "a line");
    assert!(has_logged("tradewind: a line field=7"));
}

#[test]
fn faults_of_a_configuration_refuse_it_and_are_logged() {
    assert!(filter("{\"sidecar\":\"nowhere\",\"more\":1}").is_null());
    assert!(has_logged("filter_config.sidecar is `nowhere`"));
    assert!(has_logged("filter_config.more is not known"));
    let (name, none) = (Buffer::of(b"attempts"), Buffer::NONE);
    let logger = envoy_dynamic_module_on_access_logger_config_new(ptr::null_mut(), name, none);
    assert!(logger.is_null() && has_logged("logger_config is missing"));
    let logger = envoy_dynamic_module_on_access_logger_new(ptr::null(), ptr::null_mut());
    assert!(logger.is_null());
    envoy_dynamic_module_on_access_logger_log(ptr::null_mut(), ptr::null(), ATTEMPT_ENDED);
    envoy_dynamic_module_on_access_logger_destroy(ptr::null());
    envoy_dynamic_module_on_http_filter_config_destroy(ptr::null());
}

#[test]
fn without_a_copy_what_a_client_sent_is_removed_or_the_request_is_refused() {
    let sent: [(&str, &[u8]); 4] = [
        (":path", b"/\xff"),
        ("x-gateway-destination-endpoint", b"192.0.2.1:80"),
        ("x-decision-id", b"1"),
        ("x-other", b"2"),
    ];
    let nobody = "\"sidecar\":\"127.0.0.1:9\"";
    let balance = filter(&format!("{{{nobody}}}"));
    let mut stream = FakeStream::with(&sent);
    assert_eq!(ask(balance, &mut stream), CONTINUE);
    let left: Vec<&str> = stream.headers.keys().map(String::as_str).collect();
    let unknown = "x-tradewind-freshness";
    assert_eq!(
        (left, stream.answer),
        (vec![":path", "x-other", unknown], None)
    );
    let refuse = filter(&format!("{{{nobody},\"without_copy\":\"refuse\"}}"));
    let mut stream = FakeStream::with(&sent);
    assert_eq!(ask(refuse, &mut stream), STOP);
    assert_eq!(stream.answer, Some((503, "no_copy".to_owned())));
    assert_eq!(ask(ptr::null(), &mut stream), CONTINUE);
    // One process follows a sidecar in one way.
    let other = filter(&format!("{{{nobody},\"reporter\":\"other\"}}"));
    assert!(other.is_null() && has_logged("filter_config.reporter is `other`, but 127.0.0.1:9"));

    let (name, config) = (Buffer::of(b"attempts"), format!("{{{nobody}}}"));
    let config = Buffer::of(config.as_bytes());
    let config = envoy_dynamic_module_on_access_logger_config_new(ptr::null_mut(), name, config);
    let logger = envoy_dynamic_module_on_access_logger_new(config, ptr::null_mut());
    // Envoy may give back the configuration first.
    envoy_dynamic_module_on_access_logger_config_destroy(config);
    let mut entry = FakeEntry::default();
    envoy_dynamic_module_on_access_logger_log(entry.pointer(), logger, ATTEMPT_ENDED);
    envoy_dynamic_module_on_access_logger_destroy(logger);
    for filter in [balance, refuse] {
        envoy_dynamic_module_on_http_filter_config_destroy(filter);
    }
}
