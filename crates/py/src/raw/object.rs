//! Objects of asyncio's: their dicts and classes, past what these classes override.

use pyo3::call::PyCallArgs;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Ref;

/// PyO3's lookups of names that are given as text, with a MemoryError where PyO3 panics: there may be
/// no memory for the name.
pub(crate) trait Lookup<'py> {
    fn attribute(&self, name: &str) -> PyResult<Bound<'py, PyAny>>;

    fn method0(&self, name: &str) -> PyResult<Bound<'py, PyAny>>;

    fn method1(&self, name: &str, arguments: impl PyCallArgs<'py>) -> PyResult<Bound<'py, PyAny>>;
}

impl<'py, T> Lookup<'py> for Bound<'py, T> {
    fn attribute(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let name = text(self.py(), name)?;
        // SAFETY: two live objects; a new reference, or null with an exception.
        let value = unsafe {
            Ref::from_owned(self.py(), ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr()))?
        };
        Ok(value.bind(self.py()).clone())
    }

    fn method0(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.attribute(name)?.call0()
    }

    fn method1(&self, name: &str, arguments: impl PyCallArgs<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.attribute(name)?.call1(arguments)
    }
}

/// A new string, or MemoryError: PyO3's panics.
pub(crate) fn text<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let (start, length) = (text.as_ptr().cast(), text.len() as ffi::Py_ssize_t);
    // SAFETY: valid UTF-8 of that length; a new reference, or null with an exception.
    let made = unsafe { Ref::from_owned(py, ffi::PyUnicode_FromStringAndSize(start, length))? };
    Ok(made.bind(py).clone())
}

/// A new bytes object, or MemoryError: PyO3's panics.
pub(crate) fn bytes(py: Python<'_>, data: &[u8]) -> PyResult<Ref> {
    let (start, length) = (data.as_ptr().cast(), data.len() as ffi::Py_ssize_t);
    // SAFETY: so many bytes to read; a new reference, or null with an exception.
    unsafe { Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, length)) }
}

/// The `__dict__` of an instance that has one.
#[inline]
pub(crate) fn instance_dict(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Ref> {
    // SAFETY: callers pass a live object.
    unsafe { Ref::from_owned(py, ffi::PyObject_GenericGetDict(object, std::ptr::null_mut())) }
}

/// What a dict has under an interned name.
#[inline]
pub(crate) fn dict_get(_py: Python<'_>, dict: &Ref, name: &Ref) -> Option<Ref> {
    // SAFETY: a dict; what it holds is borrowed, and referred to before anything else runs. Looking
    // up an exact string fails only if it cannot be hashed, and it is.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), name.as_ptr());
        (!found.is_null()).then(|| Ref::from_borrowed(found))
    }
}

pub(crate) fn dict_set(py: Python<'_>, dict: &Ref, name: &Ref, value: &Ref) -> PyResult<()> {
    // SAFETY: a dict and two live objects.
    let status = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// `object.__setattr__(object, name, value)`.
pub(crate) fn set_generic(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> PyResult<()> {
    // SAFETY: callers pass live objects.
    let status = unsafe { ffi::PyObject_GenericSetAttr(object, name, value) };
    if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// Notes that no loop runs in this thread, where Python 3.11 needs memory to do so: it makes a new
/// object for its note, one reference and a process number. Here the reference in the old note is
/// changed, if it is `running`.
#[cold]
pub(crate) fn forget_running_loop(_py: Python<'_>, key: &Ref, running: *mut ffi::PyObject) {
    const NOTE: usize = size_of::<ffi::PyObject>() + 2 * size_of::<usize>();
    // SAFETY: the dict and the note are borrowed, and nothing runs before the last line. The note is
    // as large as is read, and what is changed is known to be an owned reference by its value.
    unsafe {
        let notes = ffi::PyThreadState_GetDict();
        if notes.is_null() {
            return;
        }
        let note = ffi::PyDict_GetItemWithError(notes, key.as_ptr());
        if note.is_null() || (*ffi::Py_TYPE(note)).tp_basicsize as usize != NOTE {
            return;
        }
        let place = note.byte_add(size_of::<ffi::PyObject>()).cast::<*mut ffi::PyObject>();
        if *place == running {
            ffi::Py_INCREF(ffi::Py_None());
            *place = ffi::Py_None();
            ffi::Py_DECREF(running);
        }
    }
}

/// What an awaited object did.
#[derive(Debug)]
pub(crate) enum Sent {
    Yielded(Ref),
    Returned(Ref),
}

/// Lets an iterator or coroutine go on.
#[inline]
pub(crate) fn send(py: Python<'_>, to: &Ref, value: *mut ffi::PyObject) -> PyResult<Sent> {
    let mut result = std::ptr::null_mut();
    // SAFETY: live objects; the result is a new reference unless it failed.
    unsafe {
        match ffi::PyIter_Send(to.as_ptr(), value, &mut result) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Ref::from_owned(py, result)?)),
            ffi::PySendResult::PYGEN_RETURN => Ok(Sent::Returned(Ref::from_owned(py, result)?)),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}
