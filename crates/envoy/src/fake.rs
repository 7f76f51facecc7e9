//! A fake Envoy: the callbacks, for tests that call the hooks as Envoy does. A stream is a map of headers, an entry what is known of
//! an attempt. What this allocates itself is not counted as the hooks' own.

#![expect(unsafe_code, reason = "it stands in for Envoy, which is C")]
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
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

/// An entry of the fake Envoy's access log.
#[derive(Debug, Default)]
pub(crate) struct FakeEntry {
    /// Of the request, and of the answer.
    pub(crate) asked: BTreeMap<String, String>,
    pub(crate) answered: BTreeMap<String, String>,
    pub(crate) node: Option<(String, u32)>,
    pub(crate) status: u32,
    pub(crate) flags: u64,
    pub(crate) timing: Timing,
}

impl FakeEntry {
    pub(crate) fn pointer(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }
}

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: it does as the system's allocator does, and counts beside it in a cell that needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may have no cell any more.
        let _gone = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: by this function's own condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by this function's own condition; it is from `alloc`, which is the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread has allocated.
pub(crate) fn allocated() -> u64 {
    ALLOCATED.get()
}

/// Does something that is not counted: it is Envoy's part.
fn uncounted<T>(act: impl FnOnce() -> T) -> T {
    let before = ALLOCATED.get();
    let done = act();
    ALLOCATED.set(before);
    done
}

/// What is shown among Envoy's metrics, by name and by the number that it was given.
static METRICS: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

/// A metric that was defined, however often; 0 for one that was not.
pub(crate) fn metric(name: &str) -> u64 {
    let metrics = METRICS.lock().unwrap();
    let all = metrics.iter().filter(|(defined, _)| defined == name);
    all.map(|(_, value)| value).sum()
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

fn define(name: Buffer, id: *mut usize) -> u32 {
    let mut metrics = METRICS.lock().unwrap();
    // SAFETY: the hooks give a place.
    unsafe { *id = metrics.len() };
    metrics.push((text(name), 0));
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    _config: *mut c_void,
    name: Buffer,
    _labels: *mut Buffer,
    _label_count: usize,
    id: *mut usize,
) -> u32 {
    define(name, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
    _config: *mut c_void,
    name: Buffer,
    _labels: *mut Buffer,
    _label_count: usize,
    id: *mut usize,
) -> u32 {
    define(name, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter(
    _stream: *mut c_void,
    id: usize,
    _labels: *mut Buffer,
    _label_count: usize,
    by: u64,
) -> u32 {
    uncounted(|| METRICS.lock().unwrap()[id].1 += by);
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_set_gauge(
    _stream: *mut c_void,
    id: usize,
    _labels: *mut Buffer,
    _label_count: usize,
    to: u64,
) -> u32 {
    uncounted(|| METRICS.lock().unwrap()[id].1 = to);
    0
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
    let lines = uncounted(|| stream.headers.get(&text(name)));
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
    uncounted(|| {
        if value.is_null() {
            stream.headers.remove(&text(name));
        } else {
            let value = vec![text(value).into_bytes()];
            stream.headers.insert(text(name), value);
        }
    });
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

/// # Safety
///
/// It is the pointer of an entry that lives.
unsafe fn entry<'e>(at: *mut c_void) -> &'e FakeEntry {
    // SAFETY: by this function's own condition.
    unsafe { &*at.cast::<FakeEntry>() }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_header_value(
    at: *mut c_void,
    part: Part,
    name: Buffer,
    value: *mut Buffer,
    _index: usize,
    _count: *mut usize,
) -> bool {
    // SAFETY: tests give entries that live, and the hooks give a place.
    let (entry, value) = unsafe { (entry(at), &mut *value) };
    let found = match part {
        Part::RequestHeaders => uncounted(|| entry.asked.get(&text(name))),
        Part::ResponseHeaders => uncounted(|| entry.answered.get(&text(name))),
        Part::ResponseTrailers => None,
    };
    *value = found.map_or(Buffer::NONE, |found| Buffer::of(found.as_bytes()));
    found.is_some()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_response_code(
    at: *mut c_void,
) -> u32 {
    // SAFETY: tests give entries that live.
    unsafe { entry(at) }.status
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_response_flags(
    at: *mut c_void,
) -> u64 {
    // SAFETY: tests give entries that live.
    unsafe { entry(at) }.flags
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_timing_info(
    at: *mut c_void,
    timing: *mut Timing,
) {
    // SAFETY: tests give entries that live, and the hooks give a place.
    unsafe { *timing = entry(at).timing };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_bytes_info() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
    at: *mut c_void,
    address: *mut Buffer,
    port: *mut u32,
) -> bool {
    // SAFETY: tests give entries that live.
    let Some((ip, number)) = &unsafe { entry(at) }.node else {
        return false;
    };
    // SAFETY: the hooks give places.
    unsafe {
        *address = Buffer::of(ip.as_bytes());
        *port = *number;
    }
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason()
-> bool {
    false
}
