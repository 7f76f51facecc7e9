//! What a piece of work takes: processor time and memory of the thread that does it.

#![expect(
    unsafe_code,
    reason = "an allocator cannot be written without; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::time::Duration;

/// What was used.
#[derive(Debug)]
pub(crate) struct Used {
    /// Most bytes allocated at once, beyond those from before.
    pub(crate) bytes: usize,
    /// Time on a processor, which other work on the machine does not prolong; `None` where the system does not tell.
    pub(crate) time: Option<Duration>,
}

/// Does some work.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, Used) {
    let before = LIVE.get();
    PEAK.set(before);
    let begun = processor_time();
    let result = work();
    let ended = processor_time();
    let used = Used {
        bytes: PEAK.get().saturating_sub(before),
        time: begun
            .zip(ended)
            .map(|(begun, ended)| ended.saturating_sub(begun)),
    };
    (result, used)
}

fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
pub(crate) struct Measuring;

fn count(grown: usize, shrunk: usize) {
    // What another thread allocated may be freed here.
    let live = (LIVE.get() + grown).saturating_sub(shrunk);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call is passed on as it is, and counting neither allocates nor panics.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those this call asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those this call asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promises are those this call asks for.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both are there while the content is copied.
        count(new_size, 0);
        count(0, layout.size());
        // SAFETY: the caller's promises are those this call asks for.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
