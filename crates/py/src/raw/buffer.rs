//! The buffer protocol: somebody else's memory, held still for a moment.

use std::mem::MaybeUninit;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use super::Ref;

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

/// A `bytes` object that nobody else has seen, to be received into.
pub(crate) struct NewBytes(Ref);

impl NewBytes {
    /// With room for `size` bytes, which are not set yet: [`NewBytes::fill`] hands out nothing else.
    pub(crate) fn with_room(py: Python<'_>, size: usize) -> PyResult<NewBytes> {
        let size = isize::try_from(size).unwrap_or(isize::MAX);
        // SAFETY: makes an object, or sets MemoryError.
        let made =
            unsafe { Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size)) };
        made.map(NewBytes)
    }

    /// Has the memory written to, from its beginning, and keeps as much as `write` says.
    pub(crate) fn fill<E>(
        self,
        py: Python<'_>,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(usize, PyResult<Ref>), E> {
        // SAFETY: an exact bytes object that is ours alone. Its memory is not initialised, which the
        // writers, system calls, do not mind: they get a slice of bytes, of which any value is one.
        let room = unsafe {
            let length = usize::try_from(ffi::PyBytes_Size(self.0.as_ptr())).unwrap_or(0);
            std::slice::from_raw_parts_mut(ffi::PyBytes_AsString(self.0.as_ptr()).cast(), length)
        };
        let all = room.len();
        let count = write(room)?.min(all);
        if count == all {
            return Ok((count, Ok(self.0)));
        }
        // SAFETY: copies bytes that have been written.
        let part = unsafe {
            let start = ffi::PyBytes_AsString(self.0.as_ptr());
            Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, count as isize))
        };
        Ok((count, part))
    }
}

/// An exact `bytearray`, which Python may have as well.
#[derive(Debug)]
pub(crate) struct ByteArray(Ref);

impl ByteArray {
    /// `None` if `object` is anything else, also of a subclass.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> Option<ByteArray> {
        object.cast_exact::<PyByteArray>().ok().map(|object| ByteArray(object.into()))
    }

    pub(crate) fn new(py: Python<'_>, bytes: &[u8]) -> PyResult<ByteArray> {
        // SAFETY: copies the bytes.
        let made = unsafe {
            let start = bytes.as_ptr().cast();
            Ref::from_owned(py, ffi::PyByteArray_FromStringAndSize(start, bytes.len() as isize))
        };
        made.map(ByteArray)
    }

    pub(crate) fn object(&self) -> &Ref {
        &self.0
    }

    /// Whether nobody else can see it.
    #[inline]
    pub(crate) fn is_ours_alone(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::Py_REFCNT(self.0.as_ptr()) == 1 }
    }

    /// The bytes. No Python may run while they are borrowed.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: an exact bytearray, unchanged while it is borrowed.
        unsafe {
            let start = ffi::PyByteArray_AsString(self.0.as_ptr()).cast::<u8>();
            let length = ffi::PyByteArray_Size(self.0.as_ptr());
            std::slice::from_raw_parts(start, usize::try_from(length).unwrap_or(0))
        }
    }

    /// BufferError while somebody views its memory, as from its own methods.
    pub(crate) fn append(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let old = self.bytes().len();
        self.resize(py, old.saturating_add(data.len()))?;
        // SAFETY: it has room for `data` behind what there was.
        unsafe {
            let start = ffi::PyByteArray_AsString(self.0.as_ptr()).cast::<u8>().add(old);
            std::ptr::copy_nonoverlapping(data.as_ptr(), start, data.len());
        }
        Ok(())
    }

    /// Removes the first `count` bytes.
    pub(crate) fn advance(&mut self, py: Python<'_>, count: usize) -> PyResult<()> {
        let count = ffi::Py_ssize_t::try_from(count).unwrap_or(ffi::Py_ssize_t::MAX);
        // SAFETY: a live sequence.
        let status = unsafe { ffi::PySequence_DelSlice(self.0.as_ptr(), 0, count) };
        if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
    }

    fn resize(&mut self, py: Python<'_>, size: usize) -> PyResult<()> {
        let size = ffi::Py_ssize_t::try_from(size).unwrap_or(ffi::Py_ssize_t::MAX);
        // SAFETY: an exact bytearray; fails while it is viewed.
        let status = unsafe { ffi::PyByteArray_Resize(self.0.as_ptr(), size) };
        if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
    }
}
