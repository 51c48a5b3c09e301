//! Errors of the system as exceptions.

use std::io;

use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::prelude::*;

use crate::hooks::hooks;

/// `OSError(errno, strerror)`, of the subclass that belongs to the number; MemoryError if memory
/// was what was missing.
#[cold]
pub(crate) fn os_error(py: Python<'_>, error: &io::Error) -> PyErr {
    if let Some(number) = error.raw_os_error() {
        let text = hooks().get(py, "strerror").and_then(|strerror| strerror.call1((number,)));
        return match text {
            Ok(text) => PyOSError::new_err((number, text.unbind())),
            Err(error) => error,
        };
    }
    match error.kind() {
        io::ErrorKind::OutOfMemory => PyMemoryError::new_err(()),
        _ => PyOSError::new_err(error.to_string()),
    }
}
