//! Which source owns a descriptor number.
//!
//! Numbers come from outside and may name no file at all: a large one must not cost memory for all
//! the numbers below it.

use std::collections::{HashMap, TryReserveError};

use oxloop_os::Fd;

use crate::slots::Key;

/// Numbers below this have a place in a vector; nearly all that exist do.
const NEAR: usize = 1 << 16;

/// A map from numbers to keys.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    near: Vec<Option<Key>>,
    far: HashMap<usize, Key>,
}

impl Numbers {
    #[inline]
    pub(super) fn get(&self, fd: Fd) -> Option<Key> {
        let number = fd.raw() as usize;
        match self.near.get(number) {
            Some(place) => *place,
            None if self.far.is_empty() => None,
            None => self.far.get(&number).copied(),
        }
    }

    pub(super) fn set(&mut self, fd: Fd, key: Key) -> Result<(), TryReserveError> {
        let number = fd.raw() as usize;
        if number >= NEAR {
            self.far.try_reserve(1)?;
            self.far.insert(number, key);
            return Ok(());
        }
        if number >= self.near.len() {
            self.near.try_reserve(number + 1 - self.near.len())?;
            self.near.resize(number + 1, None);
        }
        self.near[number] = Some(key);
        Ok(())
    }

    pub(super) fn remove(&mut self, fd: Fd) {
        let number = fd.raw() as usize;
        match self.near.get_mut(number) {
            Some(place) => *place = None,
            None => drop(self.far.remove(&number)),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Numbers::default();
    }
}
