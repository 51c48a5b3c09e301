//! A loop as the hand-written methods get it.

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Loop;

/// `self` of the methods installed by [`init`](super::init).
#[derive(Clone, Copy)]
pub(crate) struct LoopRef<'a> {
    object: *mut ffi::PyObject,
    pub(crate) native: &'a Loop,
}

impl LoopRef<'_> {
    /// # Safety
    /// `object` is an instance of `Loop`, alive for the call.
    #[inline]
    pub(crate) unsafe fn from_self(object: *mut ffi::PyObject) -> Self {
        // SAFETY: by contract; the reference does not outlive the call.
        unsafe {
            let py = Python::assume_attached();
            let object_ref = Borrowed::from_ptr(py, object);
            let this: &Loop = object_ref.cast_unchecked::<Loop>().get();
            LoopRef { object, native: &*std::ptr::from_ref(this) }
        }
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut ffi::PyObject {
        self.object
    }

    pub(crate) fn bind<'py>(self, py: Python<'py>) -> Bound<'py, Loop> {
        // SAFETY: a live instance of Loop.
        unsafe { Bound::from_borrowed_ptr(py, self.object).cast_into_unchecked() }
    }
}
