//! Running a callback, natively, with the errors and the debug mode of asyncio.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{HandleRef, INLINE, layout, new_handle};
use crate::event_loop::Loop;
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Ref, enter_context};

/// Runs a job. Errors of callbacks go to the loop's exception handler; only SystemExit and
/// KeyboardInterrupt come out, and errors of the exception handler itself.
#[inline]
pub(crate) fn run_job(py: Python<'_>, owner: &Bound<'_, Loop>, job: Job) -> PyResult<()> {
    if let Some(context) = &job.context {
        return run_bare(py, owner, &job, context);
    }
    match HandleRef::of(&job.target) {
        Some(handle) => handle.run(py, owner),
        None => run_foreign(py, &job.target),
    }
}

/// Runs a handle as asyncio does in debug mode: known to the loop as the current one, and timed.
pub(crate) fn debug_run(py: Python<'_>, owner: &Bound<'_, Loop>, handle: &Ref) -> PyResult<()> {
    hooks().get(py, "run_in_debug_mode")?.call1((owner, handle.bind(py)))?;
    Ok(())
}

/// A C Task's step: no handle was made, for nobody could have seen it.
#[inline]
fn run_bare(py: Python<'_>, owner: &Bound<'_, Loop>, job: &Job, context: &Ref) -> PyResult<()> {
    let result = enter_context(py, context, || {
        let (argument, count) = match &job.argument {
            Some(argument) => (argument.as_ptr(), 1),
            None => (std::ptr::null_mut(), 0),
        };
        let arguments = [std::ptr::null_mut(), argument];
        call(py, job.target.as_ptr(), &arguments[1..], count)
    });
    let Err(error) = result else { return Ok(()) };
    if is_exit(py, &error) {
        return Err(error);
    }
    let arguments: Vec<_> = job.argument.iter().map(Ref::as_ptr).collect();
    let context = context.clone_ref(py);
    let handle = new_handle(py, owner.as_ptr(), job.target.as_ptr(), &arguments, context, None)?;
    report(py, owner, &handle, error)
}

/// A handle that is not ours came in through `_add_callback`.
fn run_foreign(py: Python<'_>, handle: &Ref) -> PyResult<()> {
    let (handle, names) = (handle.bind(py), &hooks().names);
    if !handle.getattr(names._cancelled.bind(py).cast::<pyo3::types::PyString>()?)?.is_truthy()? {
        handle.call_method0(names._run.bind(py).cast::<pyo3::types::PyString>()?)?;
    }
    Ok(())
}

impl HandleRef {
    #[inline]
    fn run(self, py: Python<'_>, owner: &Bound<'_, Loop>) -> PyResult<()> {
        if self.is_cancelled() {
            return Ok(());
        }
        let layout = layout();
        let (Some(callback), Some(context)) =
            (self.read(layout.callback), self.read(layout.context))
        else {
            return Ok(());
        };
        if layout.timer.is_type_of(self.0) {
            // SAFETY: a slot of the base, holding True or False.
            unsafe {
                let old = std::ptr::replace(self.slot(layout.scheduled), ffi::Py_False());
                ffi::Py_INCREF(ffi::Py_False());
                ffi::Py_XDECREF(old);
            }
        }
        self.begin();
        let result = enter_context(py, &context, || self.call(py, &callback));
        self.end();
        let Err(error) = result else { return Ok(()) };
        if is_exit(py, &error) {
            return Err(error);
        }
        // SAFETY: the handle is alive: the job holds it.
        let this = unsafe { Ref::from_borrowed(self.0) };
        report(py, owner, &this, error)
    }

    #[inline]
    fn call(self, py: Python<'_>, callback: &Ref) -> PyResult<()> {
        // SAFETY: the tail of a live handle. The arguments are held for the call, since the
        // callback may cancel its own handle.
        unsafe {
            if (*self.slot(layout().args)).is_null() {
                let tail = self.tail();
                let count = usize::from((*tail).count);
                let mut arguments = [std::ptr::null_mut(); INLINE + 1];
                for (at, place) in arguments.iter_mut().enumerate().skip(1).take(count) {
                    *place = (*tail).arguments[at];
                    ffi::Py_INCREF(*place);
                }
                let result = call(py, callback.as_ptr(), &arguments[1..], count);
                for &argument in &arguments[1..=count] {
                    ffi::Py_DECREF(argument);
                }
                return result;
            }
        }
        let Some(args) = self.args(py)? else { return Ok(()) };
        // SAFETY: a callable and, if the type check of the call agrees, a tuple.
        unsafe {
            let result = if ffi::PyTuple_Check(args.as_ptr()) != 0 {
                ffi::PyObject_Call(callback.as_ptr(), args.as_ptr(), std::ptr::null_mut())
            } else {
                let tuple = Ref::from_owned(py, ffi::PySequence_Tuple(args.as_ptr()))?;
                ffi::PyObject_Call(callback.as_ptr(), tuple.as_ptr(), std::ptr::null_mut())
            };
            Ref::from_owned(py, result).map(drop)
        }
    }

    fn begin(self) {
        // SAFETY: the tail of a live handle.
        unsafe {
            let tail = self.tail();
            if (*tail).threadsafe {
                (*tail).runner = ffi::PyThread_get_thread_ident();
            }
        }
    }

    fn end(self) {
        // SAFETY: the tail of a live handle.
        unsafe {
            let tail = self.tail();
            if (*tail).threadsafe {
                (*tail).runner = 0;
                drop(FINISHED.lock().unwrap_or_else(PoisonError::into_inner));
                FINISHED_SIGNAL.notify_all();
            }
        }
    }

    /// Waits until no other thread runs this handle's callback, where asyncio does so (3.14).
    pub(super) fn wait_for_runner(self, py: Python<'_>) {
        // SAFETY: the tail of a live handle, read by an attached thread.
        let runner = || unsafe { (*self.tail()).runner };
        // SAFETY: no preconditions.
        let me = unsafe { ffi::PyThread_get_thread_ident() };
        while runner() != 0 && runner() != me {
            // Locked before detaching: the runner must lock to announce its end, so the
            // announcement cannot come before the wait for it.
            let guard = FINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            let guard = SendGuard(guard);
            py.detach(move || guard.wait());
        }
    }
}

static FINISHED: Mutex<()> = Mutex::new(());
static FINISHED_SIGNAL: Condvar = Condvar::new();

/// The guard stays on its thread: detaching runs the closure where it was called.
struct SendGuard(std::sync::MutexGuard<'static, ()>);

// SAFETY: `Python::detach` does not move the closure to another thread; it asks for Send only to
// keep Python's references out.
unsafe impl Send for SendGuard {}

impl SendGuard {
    fn wait(self) {
        let waited = FINISHED_SIGNAL.wait_timeout(self.0, Duration::from_millis(100));
        drop(waited);
    }
}

/// Calls with `count` arguments of a slice that has a place to spare before it.
#[inline]
fn call(
    py: Python<'_>,
    callable: *mut ffi::PyObject,
    arguments: &[*mut ffi::PyObject],
    count: usize,
) -> PyResult<()> {
    // SAFETY: alive for the call; the place before the slice belongs to the caller's array.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable,
            arguments.as_ptr(),
            count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        Ref::from_owned(py, result).map(drop)
    }
}

/// Whether the error leaves the loop instead of going to the exception handler.
pub(crate) fn is_exit(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

#[cold]
fn report(py: Python<'_>, owner: &Bound<'_, Loop>, handle: &Ref, error: PyErr) -> PyResult<()> {
    let report = hooks().get(py, "report_callback_error")?;
    report.call1((owner, handle.bind(py), error.into_value(py)))?;
    Ok(())
}
