//! A session over `ssl.SSLObject` and two `ssl.MemoryBIO`s, called natively.
//!
//! With the stock class, the C object behind it is called, without the Python methods in between.
//! Data goes through memory views of our buffers; nobody but that C code sees them.

use std::ffi::{c_char, c_int, c_void};

use oxloop_engine::{Progress, Taken};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::session::{attached, value_of};
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref, bytes};

#[derive(Debug)]
pub(crate) struct ObjectSession {
    /// The C object, or the Python object if its class is somebody's own.
    object: Ref,
    stock: bool,
    incoming: Ref,
    outgoing: Ref,
}

/// How a call ended that raised nothing worth telling.
pub(super) enum Outcome {
    Value(Ref),
    /// `SSLWantReadError` and its kin.
    Blocked,
    /// `SSLZeroReturnError`.
    Ended,
}

/// What one call of the session takes (bytes): views are made for so much.
const AT_ONCE: usize = 64 * 1024;

impl ObjectSession {
    /// `object` is the SSLObject over the two BIOs.
    pub(super) fn new(
        object: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
    ) -> PyResult<ObjectSession> {
        let py = object.py();
        let stock = object.get_type().is(hooks().get(py, "SSLObject")?);
        let object = if stock { object.attribute("_sslobj")? } else { object.clone() };
        Ok(ObjectSession {
            object: object.into(),
            stock,
            incoming: incoming.into(),
            outgoing: outgoing.into(),
        })
    }

    /// # Safety
    /// For `tp_traverse`.
    pub(super) unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        for reference in [&self.object, &self.incoming, &self.outgoing] {
            // SAFETY: by contract.
            let stop = unsafe { visit(reference.as_ptr(), arg) };
            if stop != 0 {
                return stop;
            }
        }
        0
    }

    pub(super) fn feed(&self, ciphertext: &[u8]) -> Result<(), Ref> {
        let py = attached();
        let data = bytes(py, ciphertext).map_err(|error| value_of(py, error))?;
        call(py, &self.incoming, &hooks().names.write, &[&data]).map(drop)
    }

    pub(super) fn unread(&self) -> usize {
        pending(attached(), &self.incoming)
    }

    pub(super) fn has_more(&self) -> bool {
        let py = attached();
        pending(py, &self.incoming) > 0
            || call(py, &self.object, &hooks().names.pending, &[])
                .is_ok_and(|count| count.bind(py).extract::<usize>().is_ok_and(|count| count > 0))
    }

    pub(super) fn output_len(&self) -> usize {
        pending(attached(), &self.outgoing)
    }

    pub(super) fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), Ref> {
        let py = attached();
        let data = call(py, &self.outgoing, &hooks().names.read, &[])?;
        if let Ok(bytes) = data.bind(py).cast::<PyBytes>() {
            sink(bytes.as_bytes());
        }
        Ok(())
    }

    pub(super) fn handshake(&self) -> Result<Progress, Ref> {
        let py = attached();
        match self.attempt(py, &hooks().names.do_handshake, &[])? {
            Outcome::Value(_) => Ok(Progress::Done),
            Outcome::Blocked | Outcome::Ended => Ok(Progress::Blocked),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Taken, Ref> {
        let py = attached();
        let size = buffer.len().min(AT_ONCE);
        let length: Ref = pyo3::types::PyInt::new(py, size).into();
        let name = &hooks().names.read;
        let outcome = if self.stock {
            let start = buffer.as_mut_ptr().cast::<c_char>();
            // SAFETY: the view does not outlive this call: only the C method sees it.
            let view = unsafe { view(py, start, size, ffi::PyBUF_WRITE) }?;
            self.attempt(py, name, &[&length, &view])?
        } else {
            self.attempt(py, name, &[&length])?
        };
        let value = match outcome {
            Outcome::Value(value) => value,
            Outcome::Blocked => return Ok(Taken::Blocked),
            Outcome::Ended => return Ok(Taken::Ended),
        };
        let count = match value.bind(py).cast::<PyBytes>() {
            Ok(bytes) => copy_into(bytes.as_bytes(), buffer),
            Err(_) => {
                let count: PyResult<usize> = value.bind(py).extract();
                count.map_err(|error| value_of(py, error))?.min(size)
            }
        };
        Ok(if count == 0 { Taken::Ended } else { Taken::Bytes(count) })
    }

    pub(super) fn write(&self, plaintext: &[u8]) -> Result<Option<usize>, Ref> {
        let py = attached();
        let plaintext = plaintext.get(..AT_ONCE).unwrap_or(plaintext);
        let data = if self.stock {
            let start = plaintext.as_ptr().cast_mut().cast::<c_char>();
            // SAFETY: as in `read`; read only.
            unsafe { view(py, start, plaintext.len(), ffi::PyBUF_READ) }?
        } else {
            bytes(py, plaintext).map_err(|error| value_of(py, error))?
        };
        match self.attempt(py, &hooks().names.write, &[&data])? {
            Outcome::Value(count) => {
                let count: PyResult<usize> = count.bind(py).extract();
                Ok(Some(count.map_err(|error| value_of(py, error))?.min(plaintext.len())))
            }
            Outcome::Blocked | Outcome::Ended => Ok(None),
        }
    }

    pub(super) fn shutdown(&self) -> Result<Progress, Ref> {
        let py = attached();
        let names = &hooks().names;
        let name = if self.stock { &names.shutdown } else { &names.unwrap };
        match self.attempt(py, name, &[])? {
            Outcome::Value(_) | Outcome::Ended => Ok(Progress::Done),
            Outcome::Blocked => Ok(Progress::Blocked),
        }
    }

    fn attempt(&self, py: Python<'_>, name: &Ref, arguments: &[&Ref]) -> Result<Outcome, Ref> {
        attempt(py, &self.object, name, arguments)
    }
}

/// Calls a method of an SSL object.
pub(super) fn attempt(
    py: Python<'_>,
    object: &Ref,
    name: &Ref,
    arguments: &[&Ref],
) -> Result<Outcome, Ref> {
    let error = match raw_call(py, object, name, arguments) {
        Ok(value) => return Ok(Outcome::Value(value)),
        Err(error) => error,
    };
    if error.matches(py, hooks().tls_again.bind(py)).unwrap_or(false) {
        return Ok(Outcome::Blocked);
    }
    if error.matches(py, hooks().tls_ended.bind(py)).unwrap_or(false) {
        return Ok(Outcome::Ended);
    }
    Err(value_of(py, error))
}

fn copy_into(bytes: &[u8], buffer: &mut [u8]) -> usize {
    let count = bytes.len().min(buffer.len());
    buffer[..count].copy_from_slice(&bytes[..count]);
    count
}

/// `bio.pending`; 0 if that fails.
fn pending(py: Python<'_>, bio: &Ref) -> usize {
    // SAFETY: live objects; the attribute of a C type.
    unsafe {
        let value = ffi::PyObject_GetAttr(bio.as_ptr(), hooks().names.pending.as_ptr());
        match Ref::from_call(value) {
            Ok(value) => value.bind(py).extract().unwrap_or(0),
            Err(_) => {
                ffi::PyErr_Clear();
                0
            }
        }
    }
}

fn call(py: Python<'_>, object: &Ref, name: &Ref, arguments: &[&Ref]) -> Result<Ref, Ref> {
    raw_call(py, object, name, arguments).map_err(|error| value_of(py, error))
}

/// `object.name(*arguments)`, of two arguments at most.
fn raw_call(py: Python<'_>, object: &Ref, name: &Ref, arguments: &[&Ref]) -> PyResult<Ref> {
    let mut places = [std::ptr::null_mut(); 4];
    places[1] = object.as_ptr();
    for (place, argument) in places[2..].iter_mut().zip(arguments) {
        *place = argument.as_ptr();
    }
    let count = 1 + arguments.len().min(2);
    // SAFETY: live objects; the place before the arguments is ours.
    unsafe {
        let start = places.as_ptr().add(1);
        let count = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result =
            ffi::PyObject_VectorcallMethod(name.as_ptr(), start, count, std::ptr::null_mut());
        Ref::from_owned(py, result)
    }
}

/// A memory view of `size` bytes.
///
/// # Safety
/// Nobody may use the view when the memory is gone or borrowed.
unsafe fn view(py: Python<'_>, start: *mut c_char, size: usize, flags: c_int) -> Result<Ref, Ref> {
    // SAFETY: by contract.
    let view = unsafe {
        let view = ffi::PyMemoryView_FromMemory(start, size as ffi::Py_ssize_t, flags);
        Ref::from_owned(py, view)
    };
    view.map_err(|error| value_of(py, error))
}
