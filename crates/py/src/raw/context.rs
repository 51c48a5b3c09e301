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
    let result = body();
    // SAFETY: as above. An error of the body is held in `result`, none is set here.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    result
}
