//! What goes wrong here must not end the proxy: panics stop at the call in which they happened.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tradewind_wire::clock;

/// So many panics within a minute are no accident.
const MOST: usize = 3;
const WITHIN: Duration = Duration::from_mins(1);

/// Panics since the library was loaded.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The last panics, newest first.
static LAST: Mutex<[Option<Instant>; MOST]> = Mutex::new([None; MOST]);

/// Has what a panic says go into the log ([`super::log`]), in one line and without a backtrace: nobody reads the standard error of
/// a proxy.
pub fn install() {
    panic::set_hook(Box::new(|said| {
        let line = said.to_string().replace('\n', " ");
        tracing::error!("{line}");
    }));
}

/// How often it came to that.
pub fn panics() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Runs what the proxy calls, or what of it may fail; `None` after a panic.
pub fn contained<T>(hook: impl FnOnce() -> T) -> Option<T> {
    // What a panic leaves half done is counters, and rooms that are begun anew with each request.
    let ran = panic::catch_unwind(AssertUnwindSafe(hook));
    ran.inspect_err(|_| note(clock::now())).ok()
}

fn note(now: Instant) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.rotate_right(1);
    if let Some(newest) = last.first_mut() {
        *newest = Some(now);
    }
    if is_too_often(&last, now) {
        tracing::error!("three panics within a minute: for a minute nothing is decided here");
    }
}

fn is_too_often(last: &[Option<Instant>; MOST], now: Instant) -> bool {
    let is_recent =
        |at: &Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < WITHIN);
    last.iter().all(is_recent)
}

/// Whether it came to that so often that nothing is decided for a while.
pub fn stands_aside() -> bool {
    // What is always so is told without a lock.
    panics() >= MOST as u64
        && is_too_often(
            &LAST.lock().unwrap_or_else(PoisonError::into_inner),
            clock::now(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stays_inside_and_three_in_a_minute_are_too_many() {
        assert_eq!(contained(|| 7), Some(7));
        let before = panics();
        assert_eq!(contained(|| -> u8 { panic!("for a test") }), None);
        assert_eq!(panics(), before + 1);
        let now = clock::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds));
        assert!(is_too_often(&[ago(0), ago(1), ago(59)], now));
        assert!(!is_too_often(&[ago(0), ago(1), ago(60)], now));
        assert!(!is_too_often(&[ago(0), ago(1), None], now));
    }
}
