//! Process-wide values that are set once, by the module's initialisation, and read on every call.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A value that is there from the module's initialisation on. Reading costs a load: there is no
/// check, since nothing of the module can be called before it is initialised.
pub(crate) struct Global<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: written once, before it is read (see `set`); shared like a `&T` afterwards.
unsafe impl<T: Sync> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new() -> Global<T> {
        Global(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Sets the value.
    ///
    /// # Safety
    /// Called by the module's initialisation, once, before anything that calls `get`.
    pub(crate) unsafe fn set(&self, value: T) {
        // SAFETY: nobody reads yet, by contract.
        unsafe { (*self.0.get()).write(value) };
    }

    #[inline(always)]
    pub(crate) fn get(&'static self) -> &'static T {
        // SAFETY: set by the module's initialisation, before anything that reads it could be
        // called; never changed afterwards.
        unsafe { (*self.0.get()).assume_init_ref() }
    }
}
