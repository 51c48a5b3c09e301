//! Memory that a connection needs for the moment in which it reads.

use std::cell::RefCell;
use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

/// What one read takes in (bytes).
const SIZE: usize = 64 * 1024;
/// Buffers kept for later: one for ciphertext, one for plaintext of each layer.
const KEPT: usize = 3;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that goes back when it is dropped. Taken out meanwhile, so nobody else can see it, also
/// if Python runs.
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn take() -> Result<Buffer, TryReserveError> {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        if let Some(bytes) = spare {
            return Ok(Buffer(bytes));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(SIZE)?;
        bytes.resize(SIZE, 0);
        Ok(Buffer(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        // A thread that ends has no place for it any more.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT && spare.try_reserve(1).is_ok() {
                spare.push(bytes);
            }
        });
    }
}
