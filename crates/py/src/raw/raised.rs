//! The error of hot paths.

use pyo3::prelude::*;

/// An exception is set in the interpreter. Costs nothing to return, unlike a [`PyErr`], which takes
/// the exception out and is some words large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raised;

impl From<PyErr> for Raised {
    #[cold]
    fn from(error: PyErr) -> Raised {
        // SAFETY: whoever holds a PyErr in this crate is attached.
        error.restore_to(unsafe { Python::assume_attached() });
        Raised
    }
}

impl From<Raised> for PyErr {
    #[cold]
    fn from(_: Raised) -> PyErr {
        // SAFETY: a Raised is only made and used by attached threads.
        PyErr::fetch(unsafe { Python::assume_attached() })
    }
}

/// Errors that can be left with the interpreter.
pub(crate) trait Restore {
    fn restore_to(self, py: Python<'_>);
}

impl Restore for PyErr {
    fn restore_to(self, py: Python<'_>) {
        // A reference that is given up outside of PyO3's own scopes is kept until the next one is
        // entered, and restoring gives one up.
        let mut error = Some(self);
        Python::try_attach(|py| error.take().map(|error| error.restore(py)));
        if let Some(error) = error {
            // The interpreter is about to end.
            error.restore(py);
        }
    }
}

impl Restore for Raised {
    fn restore_to(self, _py: Python<'_>) {}
}
