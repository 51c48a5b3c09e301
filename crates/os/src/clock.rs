//! The monotonic clock, as `time.monotonic()` reads it.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds since an unspecified start; never goes back. Equal to `time.monotonic()` but for the
/// last bit: that bit would cost a division, and every `call_later` reads the clock.
#[inline]
pub fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Does nothing for a while, or until a signal comes.
pub fn nap(duration: Duration) {
    let duration = Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    let _ = rustix::thread::nanosleep(&duration);
}
