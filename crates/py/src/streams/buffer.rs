//! What a reader has received: native, or a bytearray while somebody looks at it.

use oxloop_engine::ReadQueue;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::host::HeldBytes;
use crate::raw::{ByteArray, Ref};

/// The bytes that wait to be read. Nothing here runs Python.
#[derive(Debug)]
pub(super) enum Buffer {
    Native(ReadQueue<HeldBytes>),
    /// Somebody asked for `_buffer`. While they have it, it is the buffer.
    Lent(ByteArray),
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::Native(ReadQueue::default())
    }
}

impl Buffer {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Native(queue) => queue.bytes(),
            Buffer::Lent(array) => array.bytes(),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Where `needle` begins, looked for from `from` on.
    #[inline]
    pub(super) fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        match self {
            Buffer::Native(queue) => queue.find(needle, from),
            Buffer::Lent(array) => {
                let rest = array.bytes().get(from..)?;
                let found = rest.windows(needle.len().max(1)).position(|part| part == needle);
                found.map(|at| from + at)
            }
        }
    }

    /// Appends an exact `bytes` object.
    #[inline]
    pub(super) fn push(&mut self, py: Python<'_>, data: Ref) -> PyResult<()> {
        self.reclaim()?;
        let data = HeldBytes::new(data);
        match self {
            Buffer::Native(queue) => queue.push(data).map_err(no_memory),
            Buffer::Lent(array) => array.append(py, data.as_ref()),
        }
    }

    /// Takes the first `count` bytes out, as a `bytes` object.
    #[inline]
    pub(super) fn take(&mut self, py: Python<'_>, count: usize) -> PyResult<Ref> {
        self.reclaim()?;
        if let Buffer::Native(queue) = self
            && count >= queue.len()
            && let Some(whole) = queue.take_whole()
        {
            return Ok(whole.into_ref());
        }
        let bytes = self.bytes();
        let bytes = bytes.get(..count).unwrap_or(bytes);
        let length = bytes.len();
        // SAFETY: copies the bytes; making a bytes object runs no Python.
        let taken = unsafe {
            let start = bytes.as_ptr().cast();
            Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, length as isize))?
        };
        match self {
            Buffer::Native(queue) => queue.advance(length),
            Buffer::Lent(array) => array.advance(py, length)?,
        }
        Ok(taken)
    }

    /// The buffer as a bytearray, the same as long as somebody has it.
    pub(super) fn lend(&mut self, py: Python<'_>) -> PyResult<Ref> {
        if let Buffer::Native(queue) = self {
            *self = Buffer::Lent(ByteArray::new(py, queue.bytes())?);
        }
        match self {
            Buffer::Lent(array) => Ok(array.object().clone_ref(py)),
            Buffer::Native(_) => unreachable!("it was just lent"),
        }
    }

    /// Nobody looks any more: back to native.
    #[inline]
    fn reclaim(&mut self) -> PyResult<()> {
        if let Buffer::Lent(array) = self
            && array.is_ours_alone()
        {
            let mut queue = ReadQueue::default();
            if !array.bytes().is_empty() {
                queue.copy(array.bytes()).map_err(no_memory)?;
            }
            *self = Buffer::Native(queue);
        }
        Ok(())
    }
}

#[cold]
fn no_memory<T>(_: T) -> PyErr {
    PyMemoryError::new_err(())
}
