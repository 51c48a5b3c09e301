//! Where Python comes in: nothing may unwind out of here.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyMemoryError, PySystemError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::Restore;

/// Runs the body of a C function that returns an object: null with an exception set if it fails
/// or panics. For functions that the interpreter calls, with the thread attached.
#[inline]
pub(crate) fn entry<E: Restore>(
    body: impl FnOnce(Python<'_>) -> Result<*mut ffi::PyObject, E>,
) -> *mut ffi::PyObject {
    guarded(body).unwrap_or(std::ptr::null_mut())
}

/// As [`entry`], for C functions that return 0 or -1.
pub(crate) fn entry_status(body: impl FnOnce(Python<'_>) -> PyResult<()>) -> c_int {
    guarded(body).map_or(-1, |()| 0)
}

#[inline]
fn guarded<T, E: Restore>(body: impl FnOnce(Python<'_>) -> Result<T, E>) -> Option<T> {
    // SAFETY: only functions that the interpreter calls come here, and it calls attached.
    let py = unsafe { Python::assume_attached() };
    // What a panic leaves behind is Cells and one RefCell, all of them still valid.
    match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            error.restore_to(py);
            None
        }
        Err(panic) => {
            panic_error(&*panic).restore_to(py);
            None
        }
    }
}

/// What PyO3 says where it makes an object that there is no memory for, and has no way to return an
/// error.
const WITHOUT_MEMORY: &str = "PyObject pointer is null";

/// What a panic becomes: MemoryError, or a SystemError that says so.
#[cold]
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> PyErr {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    if text == WITHOUT_MEMORY {
        return PyMemoryError::new_err(());
    }
    PySystemError::new_err(format!(
        "oxloop: internal error: {text}: please report it, with what `python -m oxloop info` says"
    ))
}
