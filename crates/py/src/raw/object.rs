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
        // SAFETY: a live object, and a string of that length; new references or null with an
        // exception.
        let value = unsafe {
            let (start, length) = (name.as_ptr().cast(), name.len() as ffi::Py_ssize_t);
            let name = Ref::from_owned(self.py(), ffi::PyUnicode_FromStringAndSize(start, length))?;
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
