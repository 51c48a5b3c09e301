//! The table of `oxloop._oxloop`: found once, its version checked.

use std::ffi::c_int;

use oxloop_abi::{Api, CAPSULE, Object, VERSION};
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The table, which lives as long as the process.
#[derive(Clone, Copy)]
struct Found(&'static Api);

static FOUND: PyOnceLock<Found> = PyOnceLock::new();

/// The table of the oxloop that this process has imported, or imports now.
#[inline]
pub(crate) fn api(py: Python<'_>) -> PyResult<&'static Api> {
    match FOUND.get(py) {
        Some(found) => Ok(found.0),
        None => find(py),
    }
}

#[cold]
fn find(py: Python<'_>) -> PyResult<&'static Api> {
    // SAFETY: the name is terminated; null comes with an exception.
    let found = unsafe { ffi::PyCapsule_Import(CAPSULE.as_ptr(), 0) };
    if found.is_null() {
        let cause = PyErr::fetch(py);
        let text = format!("oxloop cannot be used from Rust: {cause}");
        let error = PyImportError::new_err(text);
        error.set_cause(py, Some(cause));
        return Err(error);
    }
    // SAFETY: the two first fields stay what they are, whatever the version.
    let (version, size) = unsafe {
        let table = found.cast::<Api>();
        ((&raw const (*table).version).read(), (&raw const (*table).size).read())
    };
    check(version, size).map_err(PyImportError::new_err)?;
    // SAFETY: of this version and large enough, so it is what it says; static on the other side.
    let found = Found(unsafe { &*found.cast::<Api>() });
    Ok(FOUND.get_or_init(py, || found).0)
}

fn check(version: u32, size: usize) -> Result<(), String> {
    if version == VERSION && size >= size_of::<Api>() {
        return Ok(());
    }
    Err(format!(
        "oxloop has version {version} of its table of C functions ({size} bytes), this module was \
         built for version {VERSION} ({} bytes): use a release of oxloop that has it",
        size_of::<Api>()
    ))
}

/// What a function of the table returned: its exception, or the number.
#[inline]
pub(crate) fn checked(py: Python<'_>, status: c_int) -> PyResult<c_int> {
    if status < 0 { Err(PyErr::fetch(py)) } else { Ok(status) }
}

/// An object for the table, borrowed.
#[inline]
pub(crate) fn pointer(object: &Bound<'_, PyAny>) -> Object {
    object.as_ptr().cast()
}
