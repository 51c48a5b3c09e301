//! contextvars.Context: copying and entering.

use pyo3::ffi;
use pyo3::prelude::*;

use super::{Raised, Ref};

/// `contextvars.copy_context()`.
#[inline]
pub(crate) fn copy_context(_py: Python<'_>) -> Result<Ref, Raised> {
    // SAFETY: returns a new reference or null with an exception.
    unsafe { Ref::from_call(ffi::PyContext_CopyCurrent()) }
}

/// Calls `callable` in `context` with the first `count` of `arguments`, and drops its result.
/// `arguments` is preceded by a place that a bound method may use for its `self`.
///
/// # Safety
/// Live objects, and a context.
#[inline]
pub(crate) unsafe fn call_in(
    context: *mut ffi::PyObject,
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
) -> Result<(), Raised> {
    // SAFETY: by contract. As in `Context.run`, the context is left with the exception set.
    unsafe {
        if ffi::PyContext_Enter(context) < 0 {
            return Err(Raised);
        }
        let count = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result = ffi::PyObject_Vectorcall(callable, arguments, count, std::ptr::null_mut());
        let left = ffi::PyContext_Exit(context);
        if !result.is_null() {
            ffi::Py_DECREF(result);
        }
        if result.is_null() || left < 0 { Err(Raised) } else { Ok(()) }
    }
}

/// An entered context, left when this is dropped: also by a panic, which would leave all that runs
/// afterwards in it.
struct Entered<'a>(&'a Ref);

impl Entered<'_> {
    fn leave(self, py: Python<'_>) -> PyResult<()> {
        let context = self.0.as_ptr();
        std::mem::forget(self);
        // SAFETY: a context that this thread has entered. No exception is set.
        if unsafe { ffi::PyContext_Exit(context) } < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `leave`; the thread is attached wherever Python's contexts are entered.
        unsafe {
            if ffi::PyContext_Exit(self.0.as_ptr()) < 0 {
                ffi::PyErr_Clear();
            }
        }
    }
}

/// Runs `body` inside `context`, as `Context.run` does. Refused by a context that is entered
/// already.
#[inline]
pub(crate) fn enter_context<T>(
    py: Python<'_>,
    context: &Ref,
    body: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    // SAFETY: whoever stores a context has checked its type; it is alive while referenced.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    let entered = Entered(context);
    // An error of the body is held in `result`, none is set here.
    let result = body();
    entered.leave(py)?;
    result
}
