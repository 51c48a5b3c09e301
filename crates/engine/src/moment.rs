//! Points on the loop's clock.

use std::cmp::Ordering;
use std::time::Duration;

/// Seconds on the loop's clock, as `loop.time()` counts them; infinite is allowed, NaN is not.
/// Floats, because deadlines are: what `call_at` was given compares as Python compares it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment(f64);

/// The number was NaN: it has no place in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

impl Moment {
    pub fn from_seconds(seconds: f64) -> Result<Moment, NotATime> {
        if seconds.is_nan() { Err(NotATime) } else { Ok(Moment(seconds)) }
    }

    pub fn seconds(self) -> f64 {
        self.0
    }

    /// How long to wait from `self` until `later`, rounded up: zero if it is past.
    pub(crate) fn until(self, later: Moment) -> Duration {
        let nanos = ((later.0 - self.0) * 1e9).ceil();
        if nanos > 0.0 { Duration::from_nanos(nanos as u64) } else { Duration::ZERO }
    }

    pub(crate) fn seconds_since(self, earlier: Moment) -> f64 {
        self.0 - earlier.0
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Moment) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Moment) -> Ordering {
        // Not total_cmp, which tells -0.0 from 0.0; NaN is excluded by construction.
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}
