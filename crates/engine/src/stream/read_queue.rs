//! Bytes that were received and wait until somebody reads them.
//!
//! For readers that take what they want of a stream, when they want it. One piece that nobody is
//! behind stays where it is, in memory that the host holds, and is given out as a whole if it is
//! wanted as a whole: mostly one message comes and is read. Everything else is copied behind each
//! other. No bytes, no memory.

use std::collections::TryReserveError;

use memchr::{memchr, memmem};

/// Bytes in the order in which they came.
#[derive(Debug)]
pub struct ReadQueue<B> {
    store: Store<B>,
    /// What of the store is read already.
    start: usize,
}

#[derive(Debug)]
enum Store<B> {
    Nothing,
    Held(B),
    Copied(Vec<u8>),
}

impl<B> Default for ReadQueue<B> {
    fn default() -> Self {
        ReadQueue { store: Store::Nothing, start: 0 }
    }
}

impl<B: AsRef<[u8]>> ReadQueue<B> {
    /// Everything that waits.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match &self.store {
            Store::Nothing => &[],
            Store::Held(piece) => piece.as_ref().get(self.start..).unwrap_or_default(),
            Store::Copied(bytes) => bytes.get(self.start..).unwrap_or_default(),
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `piece`. Without the memory for it nothing is changed, and it is lost.
    pub fn push(&mut self, piece: B) -> Result<(), TryReserveError> {
        let added = piece.as_ref().len();
        if added == 0 {
            return Ok(());
        }
        if self.is_empty() {
            *self = ReadQueue { store: Store::Held(piece), start: 0 };
            return Ok(());
        }
        self.copy(piece.as_ref())
    }

    /// Appends a copy of `data`, as [`ReadQueue::push`] does.
    pub fn copy(&mut self, data: &[u8]) -> Result<(), TryReserveError> {
        if let Store::Copied(bytes) = &mut self.store {
            // What is read makes room when it is at least as much as what is not: every byte is
            // moved once, on average.
            if self.start >= bytes.len() - self.start {
                bytes.drain(..std::mem::take(&mut self.start));
            }
            bytes.try_reserve(data.len())?;
            bytes.extend_from_slice(data);
            return Ok(());
        }
        let waiting = self.bytes();
        let mut bytes = Vec::new();
        bytes.try_reserve(waiting.len() + data.len())?;
        bytes.extend_from_slice(waiting);
        bytes.extend_from_slice(data);
        *self = ReadQueue { store: Store::Copied(bytes), start: 0 };
        Ok(())
    }

    /// Where `needle` begins, looked for from `from` on. Both count from the first byte that waits.
    #[inline]
    pub fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        let rest = self.bytes().get(from..)?;
        let found = match needle {
            [byte] => memchr(*byte, rest),
            _ => memmem::find(rest, needle),
        };
        found.map(|at| from + at)
    }

    /// Everything, if it is the one piece that came and nothing of it is read.
    #[inline]
    pub fn take_whole(&mut self) -> Option<B> {
        if self.start > 0 {
            return None;
        }
        match std::mem::replace(&mut self.store, Store::Nothing) {
            Store::Held(piece) => Some(piece),
            other => {
                self.store = other;
                None
            }
        }
    }

    /// Forgets the first `count` bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        if count >= self.len() {
            *self = ReadQueue::default();
        } else {
            self.start += count;
        }
    }
}
