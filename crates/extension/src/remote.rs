//! A loop for other threads.

use std::fmt;
use std::ptr::NonNull;

use oxloop_abi::{Api, Call};
use pyo3::prelude::*;

use crate::api::{api, pointer};
use crate::glue::{call_of, take_back};

/// Schedules calls on a loop from any thread, attached to the interpreter or not. Cheap to clone; may
/// outlive the loop.
///
/// ```no_run
/// # use oxloop_extension::RunningLoop;
/// # use pyo3::prelude::*;
/// # fn example(py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
/// let remote = RunningLoop::current(py)?.remote();
/// std::thread::spawn(move || {
///     let answer = 42; // found without holding up the interpreter
///     let told = remote.call_soon_threadsafe(move |py| callback.call1(py, (answer,)).map(drop));
///     if told.is_err() {
///         eprintln!("the loop is closed");
///     }
/// });
/// # Ok(())
/// # }
/// ```
pub struct Remote {
    api: &'static Api,
    raw: NonNull<oxloop_abi::Remote>,
}

// SAFETY: the functions that are called with it may be called by any thread.
unsafe impl Send for Remote {}
// SAFETY: as above.
unsafe impl Sync for Remote {}

/// The loop is closed, or there was no memory: the call was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is closed")
    }
}

impl std::error::Error for Closed {}

impl Remote {
    pub(crate) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Remote> {
        let (py, api) = (event_loop.py(), api(event_loop.py())?);
        // SAFETY: alive for the call; a reference of ours, or null with an exception.
        let raw = unsafe { (api.remote_new)(pointer(event_loop)) };
        match NonNull::new(raw.cast_mut()) {
            Some(raw) => Ok(Remote { api, raw }),
            None => Err(PyErr::fetch(py)),
        }
    }

    /// Calls `callback` on the loop's thread, in the next turn; wakes the loop if it sleeps. What it
    /// returns or panics with goes to the loop's exception handler.
    ///
    /// # Errors
    /// [`Closed`] after the end of the loop.
    pub fn call_soon_threadsafe<F>(&self, callback: F) -> Result<(), Closed>
    where
        F: FnOnce(Python<'_>) -> PyResult<()> + Send + 'static,
    {
        let call = call_of(callback);
        // SAFETY: of the right thread or sent there: the closure is Send.
        unsafe { self.post(call) }.map_err(|call| {
            take_back(call);
            Closed
        })
    }

    /// Whether the loop is closed.
    pub fn is_closed(&self) -> bool {
        // SAFETY: alive while `self` is.
        unsafe { (self.api.remote_is_closed)(self.raw.as_ptr()) != 0 }
    }

    /// Gives the call back if the loop is closed.
    ///
    /// # Safety
    /// What it owns may go to the loop's thread.
    #[inline]
    pub(crate) unsafe fn post(&self, call: Call) -> Result<(), Call> {
        // SAFETY: alive while `self` is; the rest by contract.
        match unsafe { (self.api.remote_post)(self.raw.as_ptr(), call) } {
            0 => Ok(()),
            _ => Err(call),
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Remote {
        // SAFETY: alive while `self` is.
        unsafe { (self.api.remote_clone)(self.raw.as_ptr()) };
        Remote { api: self.api, raw: self.raw }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // SAFETY: a reference of ours, given up once.
        unsafe { (self.api.remote_free)(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("closed", &self.is_closed()).finish()
    }
}
