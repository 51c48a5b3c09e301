//! contextvars.Context: copying and entering.

use pyo3::ffi;
use pyo3::prelude::*;

use super::Ref;

/// `contextvars.copy_context()`.
#[inline]
pub(crate) fn copy_context(py: Python<'_>) -> PyResult<Ref> {
    // SAFETY: returns a new reference or null with an exception.
    unsafe { Ref::from_owned(py, ffi::PyContext_CopyCurrent()) }
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
