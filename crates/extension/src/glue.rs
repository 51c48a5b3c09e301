//! Rust closures as calls of the table.

use std::ffi::{c_int, c_void};

use oxloop_abi::Call;
use pyo3::prelude::*;

use crate::guard::{drop_quietly, entry};

/// A closure as a [`Call`]. Whoever does not give it away gives it to [`take_back`].
pub(crate) fn call_of<F>(body: F) -> Call
where
    F: FnOnce(Python<'_>) -> PyResult<()>,
{
    let data = Box::into_raw(Box::new(body));
    Call { run: run::<F>, drop: forget::<F>, data: data.cast() }
}

/// Drops the closure of a call that was not taken.
pub(crate) fn take_back(call: Call) {
    // SAFETY: it still is ours, and `drop` is what ends it.
    unsafe { (call.drop)(call.data) }
}

unsafe extern "C" fn run<F>(data: *mut c_void) -> c_int
where
    F: FnOnce(Python<'_>) -> PyResult<()>,
{
    entry(|py| {
        // SAFETY: made by `call_of`, and run or dropped once.
        let body = unsafe { Box::from_raw(data.cast::<F>()) };
        body(py).map(|()| 0)
    })
}

unsafe extern "C" fn forget<F>(data: *mut c_void) {
    // SAFETY: made by `call_of`, and run or dropped once.
    drop_quietly(unsafe { Box::from_raw(data.cast::<F>()) });
}
