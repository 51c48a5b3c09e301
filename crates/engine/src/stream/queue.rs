//! Bytes that wait to be sent.
//!
//! Small writes are copied behind each other, so that a burst of them leaves in one piece; large
//! ones stay where they are, in memory that the host holds for us.

use std::collections::{TryReserveError, VecDeque};
use std::io::IoSlice;

/// Bytes in the order in which they were written.
#[derive(Debug)]
pub struct WriteQueue<B> {
    chunks: VecDeque<Chunk<B>>,
    len: usize,
}

#[derive(Debug)]
enum Chunk<B> {
    Copied { bytes: Vec<u8>, start: usize },
    Held { bytes: B, start: usize },
}

/// No copied chunk grows beyond this: what is behind it goes into the next.
const CHUNK: usize = 64 * 1024;
/// The first allocation for copied bytes.
const FIRST: usize = 1024;

impl<B> Default for WriteQueue<B> {
    fn default() -> Self {
        WriteQueue { chunks: VecDeque::new(), len: 0 }
    }
}

impl<B: AsRef<[u8]>> WriteQueue<B> {
    /// Appends a copy of `data`.
    pub fn copy(&mut self, data: &[u8]) -> Result<(), TryReserveError> {
        match self.chunks.back_mut() {
            Some(Chunk::Copied { bytes, .. }) if bytes.len() + data.len() <= CHUNK => {
                bytes.try_reserve(data.len())?;
                bytes.extend_from_slice(data);
            }
            _ if data.is_empty() => {}
            _ => {
                let mut bytes = Vec::new();
                bytes.try_reserve(data.len().max(FIRST))?;
                bytes.extend_from_slice(data);
                self.chunks.try_reserve(1)?;
                self.chunks.push_back(Chunk::Copied { bytes, start: 0 });
            }
        }
        self.len += data.len();
        Ok(())
    }

    /// Appends what `bytes` has from `start` on.
    pub fn hold(&mut self, bytes: B, start: usize) -> Result<(), TryReserveError> {
        if bytes.as_ref().len() <= start {
            return Ok(());
        }
        self.chunks.try_reserve(1)?;
        self.len += bytes.as_ref().len().saturating_sub(start);
        self.chunks.push_back(Chunk::Held { bytes, start });
        Ok(())
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What to send next, if it is in one piece.
    pub fn single(&self) -> Option<&[u8]> {
        if self.chunks.len() == 1 { self.chunks.front().map(Chunk::rest) } else { None }
    }

    /// The first piece, which is never empty.
    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(Chunk::rest)
    }

    /// Takes everything from `other`, behind what there is.
    pub fn append(&mut self, other: &mut WriteQueue<B>) {
        self.len += std::mem::take(&mut other.len);
        self.chunks.append(&mut other.chunks);
    }

    /// What to send next: as many pieces as `slices` takes.
    pub fn pieces<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = slices.len().min(self.chunks.len());
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.rest());
        }
        count
    }

    /// Forgets the first `sent` bytes.
    pub fn advance(&mut self, mut sent: usize) {
        self.len = self.len.saturating_sub(sent);
        while let Some(chunk) = self.chunks.front_mut() {
            let rest = chunk.rest().len();
            if sent < rest {
                chunk.skip(sent);
                return;
            }
            sent -= rest;
            self.chunks.pop_front();
        }
        self.shrink();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
        self.shrink();
    }

    /// An idle stream keeps no memory for chunks it once had.
    fn shrink(&mut self) {
        if self.chunks.capacity() > 4 {
            self.chunks = VecDeque::new();
        }
    }
}

impl<B: AsRef<[u8]>> Chunk<B> {
    fn rest(&self) -> &[u8] {
        match self {
            Chunk::Copied { bytes, start } => bytes.get(*start..).unwrap_or_default(),
            Chunk::Held { bytes, start } => bytes.as_ref().get(*start..).unwrap_or_default(),
        }
    }

    fn skip(&mut self, count: usize) {
        match self {
            Chunk::Copied { start, .. } | Chunk::Held { start, .. } => *start += count,
        }
    }
}
