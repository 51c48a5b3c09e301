//! The process' descriptor that signals are written to, which is the loop's own while it waits in
//! the main thread. Without it a signal that comes just before the wait would be slept through.
//!
//! Invariant: the descriptor that is left in the process at the end of a run is nobody's but who had
//! set it before, or the loop's with signal handlers. A Python handler may raise between any two
//! steps of a Python program; so what is set, and that it is ours, are said here, where none runs.

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Loop;
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref};

/// What a run has done about signals.
pub(super) struct Signals(State);

enum State {
    /// It has not waited yet.
    Unarmed,
    /// Somebody else's descriptor is set, or this is another thread than the main one.
    LeftAlone,
    /// Ours is set; by this function it is taken back.
    Ours { set_wakeup_fd: Ref },
}

impl Signals {
    pub(super) fn new() -> Signals {
        Signals(State::Unarmed)
    }

    /// The loop is about to wait. May run Python, the first time.
    pub(super) fn arm(&mut self, slf: &Bound<'_, Loop>) -> PyResult<()> {
        if !matches!(self.0, State::Unarmed) {
            return Ok(());
        }
        self.0 = State::LeftAlone;
        let py = slf.py();
        let descriptor = slf.method0("_signal_descriptor")?;
        if descriptor.is_none() {
            return Ok(());
        }
        let set_wakeup_fd = hooks().get(py, "set_wakeup_fd")?;
        let quietly = PyDict::new(py);
        quietly.set_item(intern!(py, "warn_on_full_buffer"), false)?;
        let before = set_wakeup_fd.call((&descriptor,), Some(&quietly))?;
        self.0 = State::Ours { set_wakeup_fd: Ref::from(&set_wakeup_fd) };
        if before.eq(&descriptor)? || before.eq(-1)? {
            return Ok(());
        }
        match set_wakeup_fd.call1((before,)) {
            Ok(_) => self.0 = State::LeftAlone,
            // Closed by whoever had set it: nobody misses it.
            Err(error) if error.is_instance_of::<PyOSError>(py) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The run is over, with this result, which is kept. Signal handlers keep the descriptor: they
    /// work between runs, too.
    pub(super) fn disarm(self, slf: &Bound<'_, Loop>, result: PyResult<()>) -> PyResult<()> {
        let State::Ours { set_wakeup_fd } = self.0 else { return result };
        result.and(take_back(slf, &set_wakeup_fd))
    }
}

fn take_back(slf: &Bound<'_, Loop>, set_wakeup_fd: &Ref) -> PyResult<()> {
    let py = slf.py();
    let is_kept = slf.attribute("_signal_handlers")?.is_truthy()?;
    if is_kept || hooks().get(py, "is_finalizing")?.call0()?.is_truthy()? {
        return Ok(());
    }
    set_wakeup_fd.bind(py).call1((-1,)).map(drop)
}
