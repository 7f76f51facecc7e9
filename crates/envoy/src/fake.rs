//! A fake Envoy: the callbacks, for tests that call the hooks as Envoy does. A stream and an entry are a map of headers.

#![expect(unsafe_code, reason = "it stands in for Envoy, which is C")]
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Mutex;

use crate::abi::{Buffer, Level, Part, Timing};

/// A stream of the fake Envoy.
#[derive(Debug, Default)]
pub(crate) struct FakeStream {
    pub(crate) headers: BTreeMap<String, Vec<Vec<u8>>>,
    /// Status and details of the answer, if the filter gave one.
    pub(crate) answer: Option<(u32, String)>,
}

impl FakeStream {
    pub(crate) fn with(headers: &[(&str, &[u8])]) -> Self {
        let mut stream = Self::default();
        for (name, value) in headers {
            let lines = stream.headers.entry((*name).to_owned()).or_default();
            lines.push(value.to_vec());
        }
        stream
    }

    pub(crate) fn pointer(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }
}

/// Lines that went into the log.
pub(crate) static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the log has a line with this.
pub(crate) fn has_logged(part: &str) -> bool {
    LOG.lock().unwrap().iter().any(|line| line.contains(part))
}

fn text(buffer: Buffer) -> String {
    // SAFETY: what is given to a callback lives as long as the call.
    String::from_utf8_lossy(unsafe { buffer.bytes() }).into_owned()
}

/// # Safety
///
/// It is the pointer of a stream that lives.
unsafe fn stream<'s>(at: *mut c_void) -> &'s mut FakeStream {
    // SAFETY: by this function's own condition.
    unsafe { &mut *at.cast::<FakeStream>() }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(_level: Level, message: Buffer) {
    LOG.lock().unwrap().push(text(message));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_is_validation_mode() -> bool {
    false
}

/// Nothing may be defined any more, as after Envoy has started with frozen metrics.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter() -> u32 {
    3
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_gauge() -> u32 {
    3
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter() -> u32 {
    unreachable!("none is defined")
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_set_gauge() -> u32 {
    unreachable!("none is defined")
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_header(
    at: *mut c_void,
    _part: Part,
    name: Buffer,
    value: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    // SAFETY: tests give streams that live, and the hooks give places.
    let (stream, value) = unsafe { (stream(at), &mut *value) };
    let lines = stream.headers.get(&text(name));
    let lines = lines.map(Vec::as_slice).unwrap_or_default();
    if !count.is_null() {
        // SAFETY: as above.
        unsafe { *count = lines.len() };
    }
    let line = lines.get(index);
    *value = line.map_or(Buffer::NONE, |line| Buffer::of(line));
    line.is_some()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    at: *mut c_void,
    _part: Part,
    name: Buffer,
    value: Buffer,
) -> bool {
    // SAFETY: tests give streams that live.
    let stream = unsafe { stream(at) };
    if value.is_null() {
        stream.headers.remove(&text(name));
    } else {
        stream
            .headers
            .insert(text(name), vec![text(value).into_bytes()]);
    }
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response(
    at: *mut c_void,
    status: u32,
    _headers: *const c_void,
    _count: usize,
    _body: Buffer,
    details: Buffer,
) {
    // SAFETY: tests give streams that live.
    unsafe { stream(at) }.answer = Some((status, text(details)));
}

/// Nobody is at the other end.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_get_attribute_string() -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_header_value() -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_response_code() -> u32 {
    200
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_response_flags() -> u64 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_timing_info(
    _entry: *mut c_void,
    timing: *mut Timing,
) {
    // SAFETY: the hooks give a place.
    unsafe { *timing = Timing::default() };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_bytes_info() {}

/// No node was chosen.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_upstream_remote_address() -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason()
-> bool {
    false
}
