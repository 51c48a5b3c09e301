//! The engine's nouns, in Python's terms.

use oxloop_engine::{Host, System};

use crate::raw::Ref;

/// A callback to run.
///
/// With a context: `target` is called in it, with `argument` if there is one; that is how the steps
/// and wake-ups of C Tasks go. Without: `target` is a handle.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Ref,
    pub(crate) context: Option<Ref>,
    pub(crate) argument: Option<Ref>,
}

impl Job {
    pub(crate) fn handle(handle: Ref) -> Job {
        Job { target: handle, context: None, argument: None }
    }
}

/// Bytes that are kept where they are until they are sent: an exact `bytes` object.
#[derive(Debug)]
pub(crate) struct HeldBytes(Ref);

impl HeldBytes {
    /// `bytes` is an exact `bytes` object: dropping one runs no Python.
    pub(crate) fn new(bytes: Ref) -> HeldBytes {
        HeldBytes(bytes)
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        use pyo3::ffi;
        // SAFETY: an exact bytes object, immutable and alive while it is held.
        unsafe {
            let start = ffi::PyBytes_AsString(self.0.as_ptr()).cast::<u8>();
            let length = ffi::PyBytes_Size(self.0.as_ptr());
            std::slice::from_raw_parts(start, usize::try_from(length).unwrap_or(0))
        }
    }
}

/// The binding.
#[derive(Debug)]
pub(crate) struct PyHost;

impl Host for PyHost {
    type Job = Job;
    /// A transport; or, of a listener, what `_start_serving` was given.
    type Conn = Ref;
    type Bytes = HeldBytes;
    type Kernel = System;
}
