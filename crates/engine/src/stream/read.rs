//! The reading half of a stream.
//!
//! One read an event: a short read has taken all there was, and after a full one the poller reports
//! the rest. Reads go into one buffer of the engine, as large as the stream's [`Appetite`], which
//! grows while reads fill it and falls back when they do not. A stream that fills the largest read is
//! offered to the host, which receives into what it delivers: the copy out of a buffer would cost as
//! much as half of the kernel's.

use std::io;

use oxloop_os::{Fd, Name};

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::step::Step;

/// Bytes that a stream asks for at first, and again when little comes.
const AT_FIRST: u32 = 64 * 1024;
/// The most that one read asks for; also the size that `recv` has in asyncio.
const AT_MOST: u32 = 256 * 1024;

/// How much a stream asks for. Doubled by every read that fills it; back to the beginning after two
/// in a row that left half of it empty: one such read may be the rest of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appetite {
    bytes: u32,
    lean: bool,
    /// The last read got the most there is.
    full: bool,
}

impl Appetite {
    pub(super) const fn new() -> Appetite {
        Appetite { bytes: AT_FIRST, lean: false, full: false }
    }

    #[inline]
    fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// Takes note of what a read has brought.
    #[inline]
    fn learn(&mut self, count: usize) {
        let lean = count <= self.bytes() / 2;
        self.full = count == AT_MOST as usize;
        if count == self.bytes() {
            self.bytes = self.bytes.saturating_mul(2).min(AT_MOST);
        } else if lean && self.lean {
            self.bytes = AT_FIRST;
        }
        self.lean = lean;
    }
}

impl<H: Host> Engine<H> {
    /// Reports data from now on. An error means that the poller refused: the stream stays deaf.
    pub fn start_reading(&mut self, key: Key) -> io::Result<()> {
        self.set_reading(key, true)
    }

    /// One read of somebody else's socket into the engine's buffer, without waiting.
    pub fn receive_scratch(&mut self, fd: Fd, count: usize) -> io::Result<&[u8]> {
        if self.scratch.len() < count && self.grow_scratch(count).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let count = self.kernel.try_receive(fd, &mut self.scratch[..count])?;
        Ok(&self.scratch[..count])
    }

    /// As [`Engine::receive_scratch`], of one message and with its sender.
    pub fn receive_scratch_from(&mut self, fd: Fd, count: usize) -> io::Result<(&[u8], Name)> {
        if self.scratch.len() < count && self.grow_scratch(count).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let (count, name) = self.kernel.try_receive_from(fd, &mut self.scratch[..count])?;
        Ok((&self.scratch[..count], name))
    }

    /// Reports no data until [`Engine::start_reading`].
    pub fn stop_reading(&mut self, key: Key) -> io::Result<()> {
        self.set_reading(key, false)
    }

    /// Whether the host provides the memory for reads ([`Step::Offer`]) or the engine does
    /// ([`Step::Received`]).
    pub fn set_offered(&mut self, key: Key, offered: bool) {
        if let Some((_, stream)) = self.stream_mut(key) {
            stream.offered = offered;
        }
    }

    /// The data of the last [`Step::Received`], which had `count` bytes.
    #[inline]
    pub fn received(&self, count: usize) -> &[u8] {
        self.scratch.get(..count).unwrap_or_default()
    }

    /// Lends the buffer that [`Engine::received`] shows, so that a host may use the data while nothing
    /// is borrowed; [`Engine::take_back`] ends the loan.
    #[inline]
    pub fn lend_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch)
    }

    /// Takes a buffer back that was lent, unless there is a larger one by now.
    #[inline]
    pub fn take_back(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= self.scratch.len() {
            self.scratch = buffer;
        }
    }

    /// Reads into the host's memory, after [`Step::Offer`] or [`Step::Plenty`]. Zero is the end of the
    /// stream, given a buffer that is not empty.
    pub fn receive_into(&mut self, key: Key, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((fd, stream)) = self.stream_mut(key) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if !stream.reading {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let medium = stream.medium;
        let count = medium.read(&*self.kernel, fd, buffer)?;
        let Some((_, stream)) = self.stream_mut(key) else { return Ok(count) };
        stream.appetite.learn(count);
        if count == 0 && !buffer.is_empty() {
            self.note_end(key);
        }
        Ok(count)
    }

    /// Reads what a readable stream has.
    pub(crate) fn read_ready(&mut self, key: Key) -> Option<Step<H>> {
        let (fd, stream) = self.stream_mut(key)?;
        if !stream.reading || stream.ended {
            return None;
        }
        if stream.offered {
            return Some(Step::Offer(key));
        }
        if stream.appetite.full {
            return Some(Step::Plenty(key, AT_MOST as usize));
        }
        if stream.medium.is_only_written() {
            // There is nothing to read: the reader is gone.
            self.note_end(key);
            return Some(Step::Ended(key));
        }
        let (appetite, medium) = (stream.appetite.bytes(), stream.medium);
        if self.scratch.len() < appetite && self.grow_scratch(appetite).is_err() {
            return Some(Step::ReadFailed(key, io::ErrorKind::OutOfMemory.into()));
        }
        match medium.read(&*self.kernel, fd, &mut self.scratch[..appetite]) {
            Ok(0) => {
                self.note_end(key);
                Some(Step::Ended(key))
            }
            Ok(count) => {
                if let Some((_, stream)) = self.stream_mut(key) {
                    stream.appetite.learn(count);
                }
                Some(Step::Received(key, count))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
                _ => Some(Step::ReadFailed(key, error)),
            },
        }
    }

    fn set_reading(&mut self, key: Key, reading: bool) -> io::Result<()> {
        if let Some((_, stream)) = self.stream_mut(key) {
            stream.reading = reading;
        } else {
            self.set_endpoint_reading(key, reading);
        }
        self.reactor.update(key)
    }

    /// Level-triggered, the end of a stream would be reported for ever.
    fn note_end(&mut self, key: Key) {
        if let Some((_, stream)) = self.stream_mut(key) {
            stream.ended = true;
        }
        // The interest only shrinks.
        let _ = self.reactor.update(key);
    }

    fn grow_scratch(&mut self, size: usize) -> Result<(), std::collections::TryReserveError> {
        self.scratch.try_reserve_exact(size - self.scratch.len())?;
        self.scratch.resize(size, 0);
        Ok(())
    }
}
