//! The objects that `add_reader` and `add_writer` were given in the place of numbers.
//!
//! As in asyncio's selector, one stays alive while its number is watched, and names it even after
//! it was closed: whoever closes a socket first and stops watching it then gives that object. Only
//! `watch` calls; nothing is dropped while the cell is borrowed, since that runs Python.

use std::cell::RefCell;
use std::collections::{HashMap, TryReserveError};
use std::mem;

use oxloop_engine::Fd;
use pyo3::Borrowed;
use pyo3::prelude::*;

use crate::raw::Ref;

/// By number.
#[derive(Debug, Default)]
pub(super) struct WatchedFiles(RefCell<HashMap<i32, Ref>>);

impl WatchedFiles {
    /// Makes room for one more, so that [`remember`](Self::remember) cannot fail.
    pub(super) fn reserve(&self) -> Result<(), TryReserveError> {
        self.0.borrow_mut().try_reserve(1)
    }

    pub(super) fn remember(&self, fd: Fd, given: Borrowed<'_, '_, PyAny>) {
        let before = self.0.borrow_mut().insert(fd.raw(), Ref::from(&*given));
        drop(before);
    }

    pub(super) fn forget(&self, fd: Fd) {
        let gone = self.0.borrow_mut().remove(&fd.raw());
        drop(gone);
    }

    pub(super) fn forget_all(&self) {
        let gone = mem::take(&mut *self.0.borrow_mut());
        drop(gone);
    }

    /// The number that this very object was given for.
    pub(super) fn number_of(&self, given: Borrowed<'_, '_, PyAny>) -> Option<Fd> {
        let files = self.0.borrow();
        let mut named = files.iter().filter(|(_, file)| file.as_ptr() == given.as_ptr());
        Fd::new(*named.next()?.0)
    }

    /// For the collector; what it cannot see now it sees another time.
    pub(super) fn visit<E>(&self, mut each: impl FnMut(&Ref) -> Result<(), E>) -> Result<(), E> {
        self.0.try_borrow().map_or(Ok(()), |files| files.values().try_for_each(&mut each))
    }
}
