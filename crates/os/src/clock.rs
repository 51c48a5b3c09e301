//! The monotonic clock, as `time.monotonic()` reads it.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since an unspecified start; never goes back. Equal to `time.monotonic()` but for the
/// last bit: that bit would cost a division, and every `call_later` reads the clock.
#[inline]
pub fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}
