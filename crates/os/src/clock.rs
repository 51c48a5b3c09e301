//! The monotonic clock, as `time.monotonic()` reads it.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since an unspecified start; never goes back. The arithmetic is that of CPython's
/// `time.monotonic()`, so both give the same number for the same instant.
#[inline]
pub fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec * 1_000_000_000 + now.tv_nsec) as f64 / 1e9
}
