//! Flow control: when the writer is to pause, and when it may go on.

/// Water marks, in bytes that wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub low: usize,
    pub high: usize,
}

impl Default for Limits {
    /// asyncio's.
    fn default() -> Self {
        Limits { low: 16 * 1024, high: 64 * 1024 }
    }
}

/// The writer is paused above the high mark and resumed at or below the low one; never told the
/// same thing twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) limits: Limits,
    pub(crate) paused: bool,
}

impl Flow {
    /// Whether the writer has to be told to pause, with `waiting` bytes queued.
    pub(crate) fn pauses(&mut self, waiting: usize) -> bool {
        let pauses = !self.paused && waiting > self.limits.high;
        self.paused |= pauses;
        pauses
    }

    /// Whether the writer has to be told to go on.
    pub(crate) fn resumes(&mut self, waiting: usize) -> bool {
        let resumes = self.paused && waiting <= self.limits.low;
        self.paused &= !resumes;
        resumes
    }
}
