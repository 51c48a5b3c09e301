//! Where oxloop comes in: nothing may unwind out of here, and a panic becomes an exception.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Runs the body of a function that oxloop calls: -1 with an exception set if it fails or panics.
#[inline]
pub(crate) fn entry(body: impl FnOnce(Python<'_>) -> PyResult<c_int>) -> c_int {
    in_scope(|| {
        // SAFETY: oxloop calls attached.
        let py = unsafe { Python::assume_attached() };
        match caught(|| body(py)) {
            Ok(Ok(status)) => status,
            Ok(Err(error)) | Err(error) => {
                error.restore(py);
                -1
            }
        }
    })
    .unwrap_or(-1)
}

/// The result of `body`, or the exception that its panic becomes. What it leaves half done is the
/// business of who is told of it, as everywhere where a panic is caught.
#[inline]
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, PyErr> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| panicked(&*panic))
}

/// Drops what a program gave us; a panic has nobody to be told. Attached.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = in_scope(|| catch_unwind(AssertUnwindSafe(|| drop(value))));
}

/// Runs `body` where PyO3 knows that the thread is attached. It knows of its own functions; oxloop
/// calls others too, and there a reference that is dropped would be kept until one of its own is
/// called next, if ever.
#[inline]
fn in_scope<T>(body: impl FnOnce() -> T) -> Option<T> {
    let mut body = Some(body);
    let mut run = || body.take().map(|body| body());
    // There is no scope any more where the interpreter is about to end.
    Python::try_attach(|_| run()).unwrap_or_else(run)
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> PyErr {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    PyRuntimeError::new_err(format!("Rust code has panicked: {text}"))
}
