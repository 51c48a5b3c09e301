//! Running a callback, natively, with the errors and the debug mode of asyncio.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{HandleKind, HandleRef, INLINE, TaskStep, layout, new_handle};
use crate::event_loop::Loop;
use crate::hooks::hooks;
use crate::host::Job;
use crate::native::NativeCall;
use crate::raw::{Raised, Ref, call_in, enter_context};

/// Runs a job. Errors of callbacks go to the loop's exception handler; only SystemExit and
/// KeyboardInterrupt come out, and errors of the exception handler itself.
#[inline(always)]
pub(crate) fn run_job(py: Python<'_>, owner: &Bound<'_, Loop>, job: Job) -> Result<(), Raised> {
    let handle = match TaskStep::from_object(job.0) {
        Ok(step) => return run_step(py, owner, step),
        Err(handle) => handle,
    };
    match HandleRef::of(&handle) {
        Some(handle) => handle.run(py, owner),
        None if NativeCall::is(&handle) => Ok(NativeCall::run(py, owner, handle)?),
        None => Ok(run_foreign(py, &handle)?),
    }
}

/// Runs a handle as asyncio does in debug mode: known to the loop as the current one, and timed.
#[cold]
pub(crate) fn debug_run(py: Python<'_>, owner: &Bound<'_, Loop>, handle: &Ref) -> PyResult<()> {
    if let Some(handle) = HandleRef::of(handle) {
        handle.make_known();
    }
    hooks().get(py, "run_in_debug_mode")?.call1((owner, handle.bind(py)))?;
    Ok(())
}

/// A C Task's step: no handle was made, for nobody could have seen it.
#[inline(always)]
fn run_step(py: Python<'_>, owner: &Bound<'_, Loop>, step: TaskStep) -> Result<(), Raised> {
    let TaskStep { context, target, argument } = &step;
    let count = usize::from(argument.is_some());
    let argument = argument.as_ref().map_or(std::ptr::null_mut(), Ref::as_ptr);
    let arguments = [std::ptr::null_mut(), argument];
    // SAFETY: the step holds them all, and the place before the arguments is ours.
    let result = unsafe { call_in(context.as_ptr(), target.as_ptr(), &arguments[1], count) };
    match result {
        Ok(()) => Ok(()),
        Err(raised) => Ok(step_failed(py, owner, step, raised)?),
    }
}

#[cold]
fn step_failed(
    py: Python<'_>,
    owner: &Bound<'_, Loop>,
    step: TaskStep,
    raised: Raised,
) -> PyResult<()> {
    let error = PyErr::from(raised);
    if is_exit(py, &error) {
        return Err(error);
    }
    let TaskStep { context, target, argument } = step;
    let arguments: Vec<_> = argument.iter().map(Ref::as_ptr).collect();
    let (owner_ptr, target) = (owner.as_ptr(), target.as_ptr());
    let handle = new_handle(py, owner_ptr, target, &arguments, context, HandleKind::Soon, true)?;
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
    /// `_run`, as debug mode and others call it.
    pub(super) fn py_run(py: Python<'_>, this: HandleRef) -> Result<(), Raised> {
        let owner = this.read(layout().r#loop);
        match owner.map(|owner| owner.bind(py).clone().cast_into::<Loop>()) {
            Some(Ok(owner)) => this.run(py, &owner),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn run(self, py: Python<'_>, owner: &Bound<'_, Loop>) -> Result<(), Raised> {
        if self.is_cancelled() {
            return Ok(());
        }
        self.make_known_if_kept();
        let layout = layout();
        let Some(callback) = self.read(layout.callback) else { return Ok(()) };
        // Not held: the handle refers to it, and the interpreter does while it is entered.
        // SAFETY: a slot of a live handle.
        let context = unsafe { *self.slot(layout.context) };
        if context.is_null() {
            return Ok(());
        }
        // SAFETY: the tail of a live handle.
        let threadsafe = unsafe {
            (*self.tail()).timer = None;
            (*self.tail()).threadsafe
        };
        if threadsafe {
            self.begin();
        }
        let result = self.call(py, &callback, context);
        if threadsafe {
            self.end();
        }
        match result {
            Ok(()) => Ok(()),
            Err(raised) => Ok(self.failed(py, owner, raised)?),
        }
    }

    #[cold]
    fn failed(self, py: Python<'_>, owner: &Bound<'_, Loop>, raised: Raised) -> PyResult<()> {
        let error = PyErr::from(raised);
        if is_exit(py, &error) {
            return Err(error);
        }
        self.make_known();
        // SAFETY: the handle is alive: the job holds it.
        let this = unsafe { Ref::from_borrowed(self.object) };
        report(py, owner, &this, error)
    }

    #[inline(always)]
    fn call(
        self,
        py: Python<'_>,
        callback: &Ref,
        context: *mut ffi::PyObject,
    ) -> Result<(), Raised> {
        // SAFETY: the tail and a slot of a live handle. The arguments are held for the call, since
        // the callback may cancel its own handle.
        unsafe {
            if !(*self.slot(layout().args)).is_null() {
                let context = Ref::from_borrowed(context);
                return self.call_with_tuple(py, callback, &context);
            }
            let tail = self.tail();
            let count = usize::from((*tail).count);
            let mut arguments = [std::ptr::null_mut(); INLINE + 1];
            let given = &(&(*tail).arguments)[1..=count];
            for (place, &argument) in arguments[1..].iter_mut().zip(given) {
                ffi::Py_INCREF(argument);
                *place = argument;
            }
            let result = call_in(context, callback.as_ptr(), &arguments[1], count);
            for &argument in &arguments[1..=count] {
                ffi::Py_DECREF(argument);
            }
            result
        }
    }

    #[cold]
    fn call_with_tuple(self, py: Python<'_>, callback: &Ref, context: &Ref) -> Result<(), Raised> {
        let Some(args) = self.args(py)? else { return Ok(()) };
        enter_context(py, context, || {
            // SAFETY: live objects; a tuple is made of whatever was assigned.
            unsafe {
                let tuple = Ref::from_owned(py, ffi::PySequence_Tuple(args.as_ptr()))?;
                let keywords = std::ptr::null_mut();
                let result = ffi::PyObject_Call(callback.as_ptr(), tuple.as_ptr(), keywords);
                Ref::from_owned(py, result).map(drop)
            }
        })?;
        Ok(())
    }

    fn begin(self) {
        // SAFETY: the tail of a live handle.
        unsafe { (*self.tail()).runner = ffi::PyThread_get_thread_ident() }
    }

    fn end(self) {
        // SAFETY: the tail of a live handle.
        unsafe { (*self.tail()).runner = 0 };
        if WAITING.load(Ordering::SeqCst) > 0 {
            drop(FINISHED.lock().unwrap_or_else(PoisonError::into_inner));
            FINISHED_SIGNAL.notify_all();
        }
    }

    /// Waits until no other thread runs this handle's callback, where asyncio does so (3.14).
    #[inline]
    pub(super) fn wait_for_runner(self, py: Python<'_>) {
        // SAFETY: the tail of a live handle, read by an attached thread.
        let runner = || unsafe { (*self.tail()).runner };
        // SAFETY: no preconditions.
        let me = || unsafe { ffi::PyThread_get_thread_ident() };
        while runner() != 0 && runner() != me() {
            WAITING.fetch_add(1, Ordering::SeqCst);
            // Locked before detaching: the runner must lock to announce its end, so the
            // announcement cannot come before the wait for it.
            let guard = FINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            let guard = SendGuard(guard);
            py.detach(move || guard.wait());
            WAITING.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Threads that wait for some callback to be over; changed by attached threads.
static WAITING: AtomicUsize = AtomicUsize::new(0);
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
