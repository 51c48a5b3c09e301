//! Owned references that the engine may keep.

use std::cell::Cell;
use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Raised;

/// An owned reference to a Python object.
///
/// Like `Py<PyAny>`, but it counts at once and without asking whether the thread is attached.
/// Invariant: a `Ref` is made, cloned and dropped by attached threads only. It may lie anywhere
/// meanwhile, also in a queue that an unattached thread waits on.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Ref(NonNull<ffi::PyObject>);

// SAFETY: moving the pointer between threads is harmless; every use is by an attached thread, and
// the module declares that it needs the GIL.
unsafe impl Send for Ref {}
// SAFETY: as above.
unsafe impl Sync for Ref {}

impl Ref {
    /// Takes over a reference that a C call returned; a null pointer is the exception it set.
    ///
    /// # Safety
    /// `pointer` is null with an exception set, or an owned reference.
    #[inline]
    pub(crate) unsafe fn from_owned(py: Python<'_>, pointer: *mut ffi::PyObject) -> PyResult<Ref> {
        NonNull::new(pointer).map(Ref).ok_or_else(|| PyErr::fetch(py))
    }

    /// As [`Ref::from_owned`], leaving the exception where it is.
    ///
    /// # Safety
    /// As for [`Ref::from_owned`].
    #[inline(always)]
    pub(crate) unsafe fn from_call(pointer: *mut ffi::PyObject) -> Result<Ref, Raised> {
        NonNull::new(pointer).map(Ref).ok_or(Raised)
    }

    /// A new reference to a borrowed object.
    ///
    /// # Safety
    /// `pointer` is a live object.
    #[inline]
    pub(crate) unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Ref {
        // SAFETY: live by contract.
        unsafe {
            ffi::Py_INCREF(pointer);
            Ref(NonNull::new_unchecked(pointer))
        }
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference away.
    #[inline]
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    #[inline]
    pub(crate) fn clone_ref(&self, _py: Python<'_>) -> Ref {
        // SAFETY: alive while `self` is.
        unsafe { Ref::from_borrowed(self.as_ptr()) }
    }

    /// The object as PyO3 knows it.
    #[inline]
    pub(crate) fn bind<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.as_py().bind(py)
    }

    /// The reference itself under PyO3's name.
    #[inline]
    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: an owned reference.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    /// The same reference under PyO3's name; not to be dropped.
    #[inline]
    pub(crate) fn as_py(&self) -> &Py<PyAny> {
        // SAFETY: Py<T> is a transparent NonNull<PyObject> as well.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }
}

impl<T> From<Bound<'_, T>> for Ref {
    fn from(bound: Bound<'_, T>) -> Ref {
        // SAFETY: `into_ptr` is an owned reference, never null.
        Ref(unsafe { NonNull::new_unchecked(bound.into_ptr()) })
    }
}

impl<T> From<&Bound<'_, T>> for Ref {
    fn from(bound: &Bound<'_, T>) -> Ref {
        // SAFETY: alive while it is bound.
        unsafe { Ref::from_borrowed(bound.as_ptr()) }
    }
}

impl Drop for Ref {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned, and the thread is attached (the type's invariant).
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

/// A place for a reference in an object that Python shares. Reading clones, so that nothing is
/// borrowed while Python runs.
#[derive(Default)]
pub(crate) struct Slot(Cell<Option<Ref>>);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({:p})", self.as_ptr())
    }
}

// SAFETY: touched by attached threads only; the module declares that it needs the GIL.
unsafe impl Sync for Slot {}

impl Slot {
    pub(crate) const fn new() -> Slot {
        Slot(Cell::new(None))
    }

    pub(crate) fn filled(reference: Ref) -> Slot {
        Slot(Cell::new(Some(reference)))
    }

    pub(crate) fn get(&self, py: Python<'_>) -> Option<Ref> {
        let reference = self.0.take();
        let copy = reference.as_ref().map(|reference| reference.clone_ref(py));
        self.0.set(reference);
        copy
    }

    pub(crate) fn is_some(&self) -> bool {
        !self.as_ptr().is_null()
    }

    /// Shows the reference to the collector.
    pub(crate) fn visit<E>(&self, visit: impl FnOnce(&Ref) -> Result<(), E>) -> Result<(), E> {
        // SAFETY: the collector changes nothing while it looks.
        match unsafe { &*self.0.as_ptr() } {
            Some(reference) => visit(reference),
            None => Ok(()),
        }
    }

    /// Null if empty; borrowed.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        // SAFETY: a transparent Option<NonNull>, read and not changed.
        unsafe { *self.0.as_ptr().cast::<*mut ffi::PyObject>() }
    }

    /// The earlier reference is the caller's to drop, which may run Python.
    #[must_use]
    pub(crate) fn replace(&self, reference: Option<Ref>) -> Option<Ref> {
        self.0.replace(reference)
    }

    pub(crate) fn set(&self, reference: Option<Ref>) {
        drop(self.replace(reference));
    }

    pub(crate) fn take(&self) -> Option<Ref> {
        self.0.take()
    }
}
