//! The buffer protocol: somebody else's memory, held still for a moment.

use std::mem::MaybeUninit;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// A contiguous view of an object's bytes, released when dropped. The exporter may not resize or
/// free the memory meanwhile; others may still write to it.
pub(crate) struct View {
    buffer: Box<ffi::Py_buffer>,
}

impl View {
    pub(crate) fn readable(object: &Bound<'_, PyAny>) -> PyResult<View> {
        View::of(object, ffi::PyBUF_SIMPLE)
    }

    /// TypeError for what cannot be written to, as from `socket.recv_into`.
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<View> {
        View::of(object, ffi::PyBUF_WRITABLE).map_err(|error| {
            let kind = object.get_type();
            let text = format!("a read-write bytes-like object is required, not {kind}");
            let wrong = PyTypeError::new_err(text);
            wrong.set_cause(object.py(), Some(error));
            wrong
        })
    }

    fn of(object: &Bound<'_, PyAny>, flags: std::ffi::c_int) -> PyResult<View> {
        let mut buffer = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: filled by the call if it succeeds.
        unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), buffer.as_mut_ptr(), flags) < 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Ok(View { buffer: buffer.assume_init() })
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.buffer.len).unwrap_or(0)
    }

    /// The bytes. No Python may run while they are borrowed.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.buffer.buf.is_null() {
            return &[];
        }
        // SAFETY: a contiguous buffer of `len` bytes, pinned by the export.
        unsafe { std::slice::from_raw_parts(self.buffer.buf.cast(), self.len()) }
    }

    /// The bytes, to be written. Only of a writable view; no Python may run meanwhile.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if self.buffer.buf.is_null() || self.buffer.readonly != 0 {
            return &mut [];
        }
        // SAFETY: as above, and writable.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.buf.cast(), self.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: obtained by PyObject_GetBuffer; released once, attached.
        unsafe { ffi::PyBuffer_Release(&mut *self.buffer) }
    }
}
