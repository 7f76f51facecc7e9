//! Our side of the boundary: what Envoy looks for in a module, and calls.
//!
//! Every hook that Envoy 1.40 wants of an HTTP filter has to be there, also those that have nothing to do here; of an access
//! logger too. What they do is done elsewhere: here are the pointers, and nothing panics out of here.

#![expect(unsafe_code, reason = "the boundary to Envoy, which is C")]

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use crate::abi::{self, Buffer, Defining, Entry, Level, Stream};
use crate::filter::{Filter, Next};
use crate::logger::{Logger, LoggerConfig};
use tradewind_client::hosted::{contain, log};

/// `Continue`, of every hook that returns how to go on.
const CONTINUE: u32 = 0;

/// `StopIteration`, of requests that are answered.
const STOP: u32 = 1;

/// `envoy_dynamic_module_type_access_log_type_UpstreamEnd`: an attempt is over.
const ATTEMPT_ENDED: u32 = 9;

/// Called once, when the module is loaded; the version of the boundary that it is made for.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    contain::install();
    log::install(|level, line| abi::log(level.into(), line));
    abi::version().as_ptr()
}

/// What was made of a configuration goes to Envoy as a pointer; null refuses the configuration, and the log says why.
fn handed_over<T>(made: Option<Result<T, String>>) -> *const T {
    match made {
        Some(Ok(made)) => Arc::into_raw(Arc::new(made)),
        Some(Err(faults)) => {
            abi::log(Level::Error, &format!("tradewind: {faults}"));
            ptr::null()
        }
        // What panicked has said so.
        None => ptr::null(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: *mut c_void,
    name: Buffer,
    config: Buffer,
) -> *const Filter {
    handed_over(contain::contained(|| {
        // SAFETY: Envoy's texts live as long as this hook runs, and its configuration longer.
        let (name, config, defining) =
            unsafe { (name.bytes(), config.bytes(), Defining::new(envoy)) };
        Filter::new(name, config, &defining)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(filter: *const Filter) {
    if !filter.is_null() {
        contain::contained(|| {
            // SAFETY: it is from `Arc::into_raw` in `handed_over`, and Envoy gives each back once, when no stream has it.
            drop(unsafe { Arc::from_raw(filter) });
        });
    }
}

/// A stream has nothing of its own: what Envoy keeps for it is its filter.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    filter: *const Filter,
    _stream: *mut c_void,
) -> *const Filter {
    filter
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    stream: *mut c_void,
    filter: *const Filter,
    _is_all: bool,
) -> u32 {
    let next = contain::contained(|| {
        // SAFETY: it is what `..._http_filter_new` gave, a filter that lives at least as long as its streams.
        let filter = unsafe { filter.as_ref() };
        // SAFETY: the stream that this hook is called for, on its thread.
        let mut stream = unsafe { Stream::new(stream) };
        filter.map_or(Next::Continue, |filter| filter.request(&mut stream))
    });
    match next {
        Some(Next::Answered) => STOP,
        Some(Next::Continue) | None => CONTINUE,
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _stream: *mut c_void,
    _filter: *const Filter,
    _is_all: bool,
) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _stream: *mut c_void,
    _filter: *const Filter,
) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _stream: *mut c_void,
    _filter: *const Filter,
    _is_all: bool,
) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _stream: *mut c_void,
    _filter: *const Filter,
    _is_all: bool,
) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _stream: *mut c_void,
    _filter: *const Filter,
) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    _stream: *mut c_void,
    _filter: *const Filter,
) {
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(_filter: *const Filter) {}

// Nobody is called from here, and nothing is scheduled: of the hooks below none is ever called.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_headers() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_data() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_trailers() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_complete() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_reset() {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_scheduled() {}

// Called of any stream, with nothing to do.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
    _stream: *mut c_void,
    _filter: *const Filter,
) {
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
    _stream: *mut c_void,
    _filter: *const Filter,
) {
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    _envoy: *mut c_void,
    name: Buffer,
    config: Buffer,
) -> *const LoggerConfig {
    handed_over(contain::contained(|| {
        // SAFETY: Envoy's texts live as long as this hook runs.
        let (name, config) = unsafe { (name.bytes(), config.bytes()) };
        LoggerConfig::new(name, config)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(config: *const LoggerConfig) {
    if !config.is_null() {
        // SAFETY: it is from `Arc::into_raw` in `handed_over`, and Envoy gives each back once.
        drop(unsafe { Arc::from_raw(config) });
    }
}

/// Called on each of Envoy's threads.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_new(
    config: *const LoggerConfig,
    _entry: *mut c_void,
) -> *const Logger {
    if config.is_null() {
        return ptr::null();
    }
    // SAFETY: it is from `Arc::into_raw`, and Envoy has not given it back yet: one more is taken of it, and the first stays.
    let config = unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    };
    Box::into_raw(Box::new(Logger::new(config)))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_log(
    entry: *mut c_void,
    logger: *const Logger,
    kind: u32,
) {
    if kind != ATTEMPT_ENDED {
        return;
    }
    contain::contained(|| {
        // SAFETY: it is what `..._access_logger_new` gave, and Envoy has not given it back yet.
        let logger = unsafe { logger.as_ref() };
        // SAFETY: the entry that this hook is called for, on its thread.
        let entry = unsafe { Entry::new(entry) };
        if let Some(logger) = logger {
            logger.log(&entry);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_destroy(logger: *const Logger) {
    if !logger.is_null() {
        contain::contained(|| {
            // SAFETY: it is from `Box::into_raw` in `..._access_logger_new`, and Envoy gives each back once.
            drop(unsafe { Box::from_raw(logger.cast_mut()) });
        });
    }
}

#[cfg(test)]
mod tests;
