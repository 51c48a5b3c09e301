//! When to poll while there is work anyway.
//!
//! An empty poll costs more than a callback. While jobs are ready, the engine polls only when
//! [`POLL_EVERY`] seconds have passed since the last poll, and looks at the clock for that only
//! every few callbacks: the stride doubles while callbacks are short and falls to one when they
//! are not. **The fairness bound**: I/O and timers wait for at most [`POLL_EVERY`] plus
//! `longest` callbacks, or for one turn if that is longer (asyncio: one turn).

use crate::moment::Moment;

/// Seconds between two polls while jobs are ready.
const POLL_EVERY: f64 = 50e-6;
/// The most callbacks between two looks at the clock, unless the host chooses.
const MAX_STRIDE: usize = 16;
/// Looks at the clock that are closer together than this (seconds) may be further apart.
const CLOSE_LOOKS: f64 = POLL_EVERY / 4.0;

#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    stride: usize,
    /// The most callbacks between two looks at the clock.
    pub(crate) longest: usize,
    looked: Moment,
    polled: Option<Moment>,
    /// Never skip: a clock that is not ours may jump at any callback.
    pub(crate) strict: bool,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        let looked = Moment::default();
        Budget { left: 0, stride: 1, longest: MAX_STRIDE, looked, polled: None, strict: false }
    }

    /// The next turn looks and polls, whatever happened before.
    pub(crate) fn reset(&mut self) {
        *self = Budget { strict: self.strict, longest: self.longest, ..Budget::new() };
    }

    /// Whether a turn of `jobs` callbacks may run without a look at the clock; pays for them.
    #[inline]
    pub(crate) fn spend(&mut self, jobs: usize) -> bool {
        if jobs >= self.left || self.strict {
            return false;
        }
        self.left -= jobs.max(1);
        true
    }

    /// The kernel was waited for before a turn of `jobs` callbacks: one more stride may run
    /// without a look, so that what an event has scheduled does not cost a second poll.
    pub(crate) fn waited(&mut self, jobs: usize) {
        self.left = self.left.max((self.stride + 1).saturating_sub(jobs));
    }

    /// Takes note of the time before a turn of `jobs` callbacks, which pays for them; says whether
    /// to poll.
    pub(crate) fn look(&mut self, now: Moment, jobs: usize) -> bool {
        let close = now.seconds_since(self.looked) < CLOSE_LOOKS;
        self.stride = if close { (self.stride * 2).min(self.longest) } else { 1 };
        self.left = (self.stride + 1).saturating_sub(jobs.max(1));
        self.looked = now;
        let due = self.polled.is_none_or(|then| {
            let since = now.seconds_since(then);
            // A clock that went backwards is no reason to stop polling.
            !(0.0..POLL_EVERY).contains(&since)
        });
        if due || self.strict {
            self.polled = Some(now);
            return true;
        }
        false
    }
}
