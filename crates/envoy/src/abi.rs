//! Envoy's side of the boundary: those of its callbacks that are used, which are the same in Envoy 1.38, 1.39 and 1.40, behind
//! types that can be used safely.
//!
//! These are declarations of our own, by `source/extensions/dynamic_modules/abi/abi.h`. A callback that an Envoy has not keeps
//! it from loading the file, and names it; what would not be found is one whose arguments changed. So they are few, and
//! `tests/proxies` runs them in a real Envoy of each version.

#![expect(unsafe_code, reason = "the boundary to Envoy, which is C")]

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;

/// Bytes of either side: where they begin, and how many.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Buffer {
    at: *const u8,
    length: usize,
}

impl Buffer {
    pub(crate) const NONE: Self = Self {
        at: ptr::null(),
        length: 0,
    };

    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self {
            at: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    #[cfg(test)]
    pub(crate) const fn is_null(self) -> bool {
        self.at.is_null()
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// Where it begins is null, or bytes of so many that live and stay as they are for `'b`.
    pub(crate) unsafe fn bytes<'b>(self) -> &'b [u8] {
        if self.at.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: not null, and by this function's own condition readable and unchanged for `'b`.
        unsafe { std::slice::from_raw_parts(self.at, self.length) }
    }
}

/// A header of an answer: `envoy_dynamic_module_type_module_http_header`.
#[repr(C)]
struct Header {
    name: Buffer,
    value: Buffer,
}

/// `envoy_dynamic_module_type_timing_info`: in ns since the start of the stream; -1 for what is not known.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
#[expect(clippy::struct_field_names, reason = "all are in ns")]
pub(crate) struct Timing {
    start_unix_ns: i64,
    complete_ns: i64,
    /// The first byte sent to the node.
    pub(crate) first_sent_ns: i64,
    last_sent_ns: i64,
    /// The first byte that came from it.
    pub(crate) first_received_ns: i64,
    /// The last byte that came from it.
    pub(crate) last_received_ns: i64,
    first_answered_ns: i64,
    last_answered_ns: i64,
}

/// `envoy_dynamic_module_type_bytes_info`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Bytes {
    received: u64,
    sent: u64,
    received_on_wire: u64,
    sent_on_wire: u64,
}

/// `envoy_dynamic_module_type_http_header_type`.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Part {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
}

/// `envoy_dynamic_module_type_log_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

/// `envoy_dynamic_module_type_attribute_id`: the address and port of who is at the other end of the connection.
const SOURCE_ADDRESS: u32 = 24;

unsafe extern "C" {
    fn envoy_dynamic_module_callback_log(level: Level, message: Buffer);
    fn envoy_dynamic_module_callback_is_validation_mode() -> bool;

    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Buffer,
        labels: *mut Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: *mut c_void,
        name: Buffer,
        labels: *mut Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_increment_counter(
        stream: *mut c_void,
        id: usize,
        labels: *mut Buffer,
        label_count: usize,
        by: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_set_gauge(
        stream: *mut c_void,
        id: usize,
        labels: *mut Buffer,
        label_count: usize,
        to: u64,
    ) -> u32;

    fn envoy_dynamic_module_callback_http_get_header(
        stream: *mut c_void,
        part: Part,
        name: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(
        stream: *mut c_void,
        part: Part,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_send_response(
        stream: *mut c_void,
        status: u32,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        details: Buffer,
    );
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        stream: *mut c_void,
        attribute: u32,
        value: *mut Buffer,
    ) -> bool;

    fn envoy_dynamic_module_callback_access_logger_get_header_value(
        entry: *mut c_void,
        part: Part,
        name: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_access_logger_get_response_code(entry: *mut c_void) -> u32;
    fn envoy_dynamic_module_callback_access_logger_get_response_flags(entry: *mut c_void) -> u64;
    fn envoy_dynamic_module_callback_access_logger_get_timing_info(
        entry: *mut c_void,
        timing: *mut Timing,
    );
    fn envoy_dynamic_module_callback_access_logger_get_bytes_info(
        entry: *mut c_void,
        bytes: *mut Bytes,
    );
    fn envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
        entry: *mut c_void,
        address: *mut Buffer,
        port: *mut u32,
    ) -> bool;
    fn envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason(
        entry: *mut c_void,
        reason: *mut Buffer,
    ) -> bool;

    /// Of the C library: what is called so among all that is loaded, where the first argument is null.
    fn dlsym(among: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The version of the boundary to say to this Envoy: its own, because it warns of any other. What is used here is the same in all.
pub(crate) fn version() -> &'static CStr {
    /// New in Envoy 1.40, which is also where the version changed.
    const OF_140: &CStr = c"envoy_dynamic_module_callback_log_v2";
    // SAFETY: a null handle is allowed (RTLD_DEFAULT), and the name ends with a null.
    let found = unsafe { dlsym(ptr::null_mut(), OF_140.as_ptr()) };
    if found.is_null() {
        c"v0.1.0"
    } else {
        c"v0.2.0"
    }
}

/// Writes a line into Envoy's log; from any thread.
pub(crate) fn log(level: Level, line: &str) {
    // SAFETY: the bytes live as long as the call, which keeps nothing of them.
    unsafe { envoy_dynamic_module_callback_log(level, Buffer::of(line.as_bytes())) }
}

/// Whether Envoy only looks at its configuration. To be asked on its main thread, as where configurations are made.
pub(crate) fn is_validation() -> bool {
    // SAFETY: it takes nothing.
    unsafe { envoy_dynamic_module_callback_is_validation_mode() }
}

/// A configuration of Envoy's, while one of ours is made for it.
#[derive(Debug)]
pub(crate) struct Defining<'h> {
    at: *mut c_void,
    hook: PhantomData<&'h ()>,
}

/// A counter or gauge among Envoy's own, by the number that Envoy gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric(usize);

impl Defining<'_> {
    /// # Safety
    ///
    /// `at` is the configuration that a hook was given which runs for `'h`.
    pub(crate) const unsafe fn new(at: *mut c_void) -> Self {
        Self {
            at,
            hook: PhantomData,
        }
    }

    /// Defines a counter; `None` if Envoy does not let us.
    pub(crate) fn counter(&self, name: &str) -> Option<Metric> {
        let mut id = 0;
        let name = Buffer::of(name.as_bytes());
        // SAFETY: the configuration lives for `'h`; the name and the number's place live as long as the call; no labels are given.
        let failed = unsafe {
            envoy_dynamic_module_callback_http_filter_config_define_counter(
                self.at,
                name,
                ptr::null_mut(),
                0,
                &raw mut id,
            )
        };
        (failed == 0).then_some(Metric(id))
    }

    /// The same of a gauge.
    pub(crate) fn gauge(&self, name: &str) -> Option<Metric> {
        let mut id = 0;
        let name = Buffer::of(name.as_bytes());
        // SAFETY: as in `counter`.
        let failed = unsafe {
            envoy_dynamic_module_callback_http_filter_config_define_gauge(
                self.at,
                name,
                ptr::null_mut(),
                0,
                &raw mut id,
            )
        };
        (failed == 0).then_some(Metric(id))
    }
}

/// A request on its way, while a hook of its filter runs.
#[derive(Debug)]
pub(crate) struct Stream<'h> {
    at: *mut c_void,
    hook: PhantomData<&'h ()>,
}

impl Stream<'_> {
    /// # Safety
    ///
    /// `at` is the stream that a hook was given which runs for `'h`, on the thread that it runs on.
    pub(crate) const unsafe fn new(at: *mut c_void) -> Self {
        Self {
            at,
            hook: PhantomData,
        }
    }

    /// The value of a line of a request header, and how many lines there are of it. The name is in lower case.
    fn line(&self, name: &str, index: usize) -> (Option<&[u8]>, usize) {
        let (mut value, mut count) = (Buffer::NONE, 0);
        // SAFETY: the stream lives for `'h`; the name and both places live as long as the call.
        let found = unsafe {
            envoy_dynamic_module_callback_http_get_header(
                self.at,
                Part::RequestHeaders,
                Buffer::of(name.as_bytes()),
                &raw mut value,
                index,
                &raw mut count,
            )
        };
        // SAFETY: Envoy's bytes stay until a header is set, for which this must be borrowed mutably.
        let value = found.then(|| unsafe { value.bytes() });
        (value, count)
    }

    /// The first line of a request header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.line(name, 0).0
    }

    /// The last line of a request header: of several it is the one that the proxy in front of us, or Envoy, has added.
    pub(crate) fn last_line(&self, name: &str) -> Option<&[u8]> {
        match self.line(name, 0) {
            (first, 0 | 1) => first,
            (_, count) => self.line(name, count - 1).0,
        }
    }

    /// All lines of a request header, in order.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let (first, count) = self.line(name, 0);
        let others = (1..count).filter_map(move |index| self.line(name, index).0);
        first.into_iter().chain(others)
    }

    /// Who is at the other end of the connection, as Envoy has it: address and port.
    pub(crate) fn peer(&self) -> Option<&[u8]> {
        let mut value = Buffer::NONE;
        // SAFETY: the stream lives for `'h`, and the place as long as the call.
        let found = unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.at,
                SOURCE_ADDRESS,
                &raw mut value,
            )
        };
        // SAFETY: Envoy's bytes are of the stream, which lives for `'h`.
        found.then(|| unsafe { value.bytes() })
    }

    /// Sets a request header, whatever was there.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.put(name, Buffer::of(value.as_bytes()));
    }

    /// Removes a request header.
    pub(crate) fn remove(&mut self, name: &str) {
        self.put(name, Buffer::NONE);
    }

    fn put(&mut self, name: &str, value: Buffer) {
        let name = Buffer::of(name.as_bytes());
        // SAFETY: the stream lives for `'h`; name and value live as long as the call, which copies both. Nothing that Envoy
        // gave is borrowed, for this is borrowed mutably. A null value removes.
        unsafe {
            envoy_dynamic_module_callback_http_set_header(
                self.at,
                Part::RequestHeaders,
                name,
                value,
            );
        }
    }

    /// Answers the request; no node sees it. `details` says why in Envoy's logs.
    pub(crate) fn respond<const N: usize>(
        &mut self,
        status: u16,
        headers: [(&str, &str); N],
        details: &str,
    ) {
        let headers = headers.map(|(name, value)| Header {
            name: Buffer::of(name.as_bytes()),
            value: Buffer::of(value.as_bytes()),
        });
        // SAFETY: as in `put`; the headers live as long as the call, and there are as many as is said.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                self.at,
                u32::from(status),
                headers.as_ptr(),
                headers.len(),
                Buffer::NONE,
                Buffer::of(details.as_bytes()),
            );
        }
    }

    /// Adds to a counter of this stream's configuration.
    pub(crate) fn count(&self, metric: Metric, by: u64) {
        // SAFETY: the stream lives for `'h`; Envoy looks the number up, and none of its counters has labels.
        unsafe {
            envoy_dynamic_module_callback_http_filter_increment_counter(
                self.at,
                metric.0,
                ptr::null_mut(),
                0,
                by,
            );
        }
    }

    /// Sets a gauge of this stream's configuration.
    pub(crate) fn show(&self, metric: Metric, value: u64) {
        // SAFETY: as in `count`.
        unsafe {
            envoy_dynamic_module_callback_http_filter_set_gauge(
                self.at,
                metric.0,
                ptr::null_mut(),
                0,
                value,
            );
        }
    }
}

/// An entry of an access log, while its hook runs.
#[derive(Debug)]
pub(crate) struct Entry<'h> {
    at: *mut c_void,
    hook: PhantomData<&'h ()>,
}

impl Entry<'_> {
    /// # Safety
    ///
    /// `at` is the entry that a hook was given which runs for `'h`, on the thread that it runs on.
    pub(crate) const unsafe fn new(at: *mut c_void) -> Self {
        Self {
            at,
            hook: PhantomData,
        }
    }

    /// The first line of a header or trailer, if it is text.
    pub(crate) fn header(&self, part: Part, name: &str) -> Option<&str> {
        let mut value = Buffer::NONE;
        // SAFETY: the entry lives for `'h`; the name and the place live as long as the call; the count is not wanted.
        let found = unsafe {
            envoy_dynamic_module_callback_access_logger_get_header_value(
                self.at,
                part,
                Buffer::of(name.as_bytes()),
                &raw mut value,
                0,
                ptr::null_mut(),
            )
        };
        // SAFETY: Envoy's bytes are of the entry, which lives for `'h` and is not changed.
        let value = found.then(|| unsafe { value.bytes() });
        std::str::from_utf8(value?).ok()
    }

    /// The status of the answer; 0 for none.
    pub(crate) fn status(&self) -> u32 {
        // SAFETY: the entry lives for `'h`.
        unsafe { envoy_dynamic_module_callback_access_logger_get_response_code(self.at) }
    }

    /// What went wrong, as flags in Envoy's numbering.
    pub(crate) fn flags(&self) -> u64 {
        // SAFETY: the entry lives for `'h`.
        unsafe { envoy_dynamic_module_callback_access_logger_get_response_flags(self.at) }
    }

    /// When what came and went.
    pub(crate) fn timing(&self) -> Timing {
        let mut timing = Timing::default();
        // SAFETY: the entry lives for `'h`; the place has the form that Envoy fills, and lives as long as the call.
        unsafe {
            envoy_dynamic_module_callback_access_logger_get_timing_info(self.at, &raw mut timing);
        }
        timing
    }

    /// How many bytes of the answer's body came.
    pub(crate) fn body_bytes(&self) -> u64 {
        let mut bytes = Bytes::default();
        // SAFETY: as in `timing`.
        unsafe {
            envoy_dynamic_module_callback_access_logger_get_bytes_info(self.at, &raw mut bytes);
        }
        bytes.received
    }

    /// The address and port of the node; `None` if none was chosen.
    pub(crate) fn node(&self) -> Option<(&str, u32)> {
        let (mut address, mut port) = (Buffer::NONE, 0);
        // SAFETY: the entry lives for `'h`, and both places as long as the call.
        let found = unsafe {
            envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
                self.at,
                &raw mut address,
                &raw mut port,
            )
        };
        // SAFETY: Envoy's bytes are of the node's host, which the entry holds for `'h`.
        let address = found.then(|| unsafe { address.bytes() });
        Some((std::str::from_utf8(address?).ok()?, port))
    }

    /// Whether the connection to the node came to nothing for a reason of its own, such as TLS.
    pub(crate) fn failed_to_connect(&self) -> bool {
        let mut reason = Buffer::NONE;
        // SAFETY: the entry lives for `'h`, and the place as long as the call.
        let found = unsafe {
            envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason(
                self.at,
                &raw mut reason,
            )
        };
        found && reason.length > 0
    }
}
