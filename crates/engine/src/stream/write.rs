//! The writing half of a stream: joined writes, flow control, and the ways to end.
//!
//! A small write is queued and leaves at the next flush: after the I/O event's callback that wrote
//! it, or after the batch of ready jobs. So a burst of writes is one system call, and no answer
//! waits for another connection's callback. What exceeds the high water mark leaves at once, before
//! its writer is told to pause, and so does a large write; but a few large ones that need no copy
//! wait for each other, too: the kernel spends less on a byte the more of them it gets in one call.

use std::io::{self, IoSlice};

use oxloop_os::Fd;

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::step::{Flushed, Step};
use crate::stream::medium::Medium;
use crate::stream::{Limits, Output, Stream, WriteQueue, stream_of};

/// A write of this size (bytes) is large: it waits for others to join it only where it is held.
const AT_ONCE: usize = 64 * 1024;
/// So many high water marks of a stream large writes may fill while they wait.
const JOINED_MARKS: usize = 8;
/// As much of all streams together (bytes): it is memory that would be free again after a call.
const JOINED_AT_MOST: usize = 4 * 1024 * 1024;
/// A write of this size (bytes) is kept where it is rather than copied, if its host can hold it.
const HOLD_FROM: usize = 2 * 1024;
/// Pieces that one system call sends.
const PIECES: usize = 64;

/// What became of a write.
#[derive(Debug)]
pub enum Wrote {
    /// Sent or queued.
    Fine,
    /// Queued, and the writer is to be told to pause.
    Pause,
    /// The stream sends nothing any more; the data is dropped.
    Closed,
    /// Sending failed: the connection is lost, and what was queued with it.
    Failed(io::Error),
}

/// What is left to do after [`Engine::close`].
#[derive(Debug)]
pub enum Closing {
    /// Nothing: the connection can end.
    Now,
    /// Data is queued; [`Step::Flushed`] comes when it is sent.
    AfterFlush,
    /// The rest could not be sent.
    Failed(io::Error),
    /// It was closing already.
    Already,
}

/// What an empty queue means to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The stream was closing: its connection ends now.
    pub finished: bool,
}

impl<H: Host> Engine<H> {
    /// Queues or sends `data`. Of a large rest that has to wait, `hold` may return the owner, so
    /// that it need not be copied; the owner's bytes must be `data`.
    pub fn write(
        &mut self,
        key: Key,
        data: &[u8],
        hold: impl FnOnce() -> Option<H::Bytes>,
    ) -> Wrote {
        self.write_from(key, data, AT_ONCE, hold)
    }

    /// As [`Engine::write`], of data that is not worth a copy: it does not wait for others to join
    /// it, if nothing waits before it.
    pub fn write_at_once(&mut self, key: Key, data: &[u8]) -> Wrote {
        self.write_from(key, data, 0, || None)
    }

    /// Writes; data of `at_once` bytes does not wait.
    #[inline]
    fn write_from(
        &mut self,
        key: Key,
        data: &[u8],
        at_once: usize,
        hold: impl FnOnce() -> Option<H::Bytes>,
    ) -> Wrote {
        let Engine { kernel, reactor, .. } = self;
        let Some((fd, stream)) = stream_of(reactor, key) else { return Wrote::Closed };
        // A closing stream with data pending still takes more: TLS says goodbye when it is resumed.
        if !matches!(stream.output, Output::Open | Output::ClosesAfterQueue) {
            return Wrote::Closed;
        }
        let held = if data.len() >= HOLD_FROM { hold() } else { None };
        let large = data.len() >= at_once || stream.medium.writes_at_once();
        let joins = large
            && held.is_some()
            && stream.has_room_to_join(data.len())
            && self.joined + data.len() <= JOINED_AT_MOST;
        let mut start = 0;
        if large && !joins && stream.queue.is_empty() {
            match stream.medium.write(&**kernel, fd, data) {
                Ok(sent) if sent == data.len() => return Wrote::Fine,
                Ok(sent) => (start, stream.blocked) = (sent, true),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => stream.blocked = true,
                    io::ErrorKind::Interrupted => {}
                    _ => return Wrote::Failed(error),
                },
            }
        }
        let queued = match held {
            Some(bytes) if data.len() - start >= HOLD_FROM => stream.queue.hold(bytes, start),
            _ => stream.queue.copy(&data[start..]),
        };
        let sent = if queued.is_err() {
            self.fail_writing(key, io::ErrorKind::OutOfMemory.into())
        } else if stream.blocked {
            self.reactor.update(key).or_else(|error| self.fail_writing(key, error))
        } else if joins {
            self.joined += data.len();
            self.flush_later(key);
            return Wrote::Fine;
        } else if large {
            self.send_early(key)
        } else {
            self.flush_later(key);
            Ok(())
        };
        sent.map_or_else(Wrote::Failed, |()| self.pause_if_full(key))
    }

    /// Sends what is queued now, as far as the kernel takes it: nobody may flush it soon.
    pub fn flush_now(&mut self, key: Key) -> io::Result<()> {
        match self.stream(key) {
            Some(stream) if !stream.blocked => self.send_early(key),
            _ => Ok(()),
        }
    }

    /// Says that nothing more will be written; reading goes on.
    pub fn write_eof(&mut self, key: Key) -> io::Result<()> {
        if let Some((_, stream)) = self.stream_mut(key)
            && stream.output == Output::Open
        {
            stream.output = Output::EndsAfterQueue;
            return self.send_early(key);
        }
        Ok(())
    }

    /// Reads no more and ends the connection once everything queued is sent.
    pub fn close(&mut self, key: Key) -> Closing {
        let Some((_, stream)) = self.stream_mut(key) else { return self.close_endpoint(key) };
        if matches!(stream.output, Output::ClosesAfterQueue | Output::Dead) {
            return Closing::Already;
        }
        stream.reading = false;
        stream.output = Output::ClosesAfterQueue;
        // The interest only shrinks.
        let _ = self.reactor.update(key);
        if self.is_write_paused(key) {
            // The writer has a resume to come, in which it may write more.
            self.flush_later(key);
            return Closing::AfterFlush;
        }
        if let Err(error) = self.send_early(key) {
            return Closing::Failed(error);
        }
        match self.stream_mut(key) {
            Some((_, stream)) if stream.is_drained() => {
                stream.output = Output::Dead;
                Closing::Now
            }
            _ => Closing::AfterFlush,
        }
    }

    /// Reads and sends no more. What waited for its flush alone is sent first, as far as the kernel
    /// takes it: had it not been joined, it would be sent already. The rest is dropped. False if
    /// that was so already.
    pub fn abort(&mut self, key: Key) -> bool {
        self.send_waiting(key);
        let Some((_, stream)) = self.stream_mut(key) else { return self.abort_endpoint(key) };
        let alive = stream.output != Output::Dead;
        stream.reading = false;
        stream.output = Output::Dead;
        stream.blocked = false;
        stream.queue.clear();
        let _ = self.reactor.update(key);
        alive
    }

    /// How many bytes wait to be sent; of an endpoint, what they count for.
    pub fn buffered(&self, key: Key) -> usize {
        self.stream(key).map_or_else(|| self.endpoint_buffered(key), |stream| stream.queue.len())
    }

    /// The water marks.
    pub fn limits(&self, key: Key) -> Limits {
        self.stream(key).map_or_else(|| self.endpoint_limits(key), |stream| stream.flow.limits)
    }

    /// Sets the water marks; may find that the writer is to pause.
    pub fn set_limits(&mut self, key: Key, limits: Limits) -> Wrote {
        let Some((_, stream)) = self.stream_mut(key) else {
            return self.set_endpoint_limits(key, limits);
        };
        stream.flow.limits = limits;
        self.pause_if_full(key)
    }

    /// Whether the writer was told to pause.
    pub fn is_write_paused(&self, key: Key) -> bool {
        self.stream(key).map_or_else(|| self.is_endpoint_paused(key), |stream| stream.flow.paused)
    }

    /// Whether the stream waits for the kernel to take more.
    pub fn is_blocked(&self, key: Key) -> bool {
        self.stream(key).map_or_else(|| self.is_endpoint_blocked(key), |stream| stream.blocked)
    }

    /// The writer waits, though the stream alone is not full: as after [`Wrote::Pause`],
    /// [`Step::Flushed`] tells when no more than the low mark is left. False if that is so already.
    pub fn pause_writer(&mut self, key: Key) -> bool {
        let Some((_, stream)) = self.stream_mut(key) else { return false };
        let waits = stream.queue.len() > stream.flow.limits.low;
        stream.flow.paused |= waits;
        waits
    }

    /// [`Step::Fill`] comes before the next flush, as for a write that was queued now: the owner of
    /// the stream has something to prepare.
    pub fn fill_later(&mut self, key: Key) {
        if let Some((_, stream)) = self.stream_mut(key) {
            stream.filling = true;
            if !std::mem::replace(&mut stream.dirty, true) {
                self.dirty.push_back(key);
            }
        }
    }

    /// After [`Step::Flushed`] and what the owner did in return: what follows if nothing is queued.
    pub fn settle(&mut self, key: Key) -> Settled {
        let mut settled = Settled { finished: false };
        let Some((_, stream)) = self.stream_mut(key) else { return self.settle_endpoint(key) };
        if stream.is_drained() && stream.output == Output::ClosesAfterQueue {
            stream.output = Output::Dead;
            settled.finished = true;
        }
        settled
    }

    /// Flushes the stream or endpoint that has waited longest for it.
    pub(crate) fn flush_next(&mut self) -> Option<Step<H>> {
        while let Some(key) = self.dirty.pop_front() {
            let step = match self.stream_mut(key) {
                Some((_, stream)) => {
                    if !std::mem::take(&mut stream.dirty) {
                        continue;
                    }
                    if std::mem::take(&mut stream.filling) {
                        // What was sent early, also the last of it, is told by the flush.
                        self.flush_later(key);
                        return Some(Step::Fill(key));
                    }
                    if stream.blocked { None } else { self.flush(key) }
                }
                None => self.flush_dirty_endpoint(key),
            };
            if step.is_some() {
                return step;
            }
        }
        self.joined = 0;
        None
    }

    /// Goes on with a stream for which the kernel has room again.
    pub(crate) fn write_ready(&mut self, key: Key) -> Option<Step<H>> {
        let (_, stream) = self.stream_mut(key)?;
        if !stream.blocked {
            return None;
        }
        self.flush(key)
    }

    /// Takes a stream whose owner has something to prepare before the next flush, which may be long
    /// in coming: the run is over.
    pub fn next_fill(&mut self) -> Option<Key> {
        let keys = self.dirty.iter().copied();
        let key = keys.into_iter().find(|&key| self.stream(key).is_some_and(|s| s.filling))?;
        self.stream_mut(key)?.1.filling = false;
        Some(key)
    }

    /// Sends what would leave at the next flush: it may be long in coming.
    pub(crate) fn send_all_waiting(&mut self) {
        for index in 0..self.dirty.len() {
            if let Some(&key) = self.dirty.get(index) {
                self.send_waiting(key);
                self.post_waiting(key);
            }
        }
    }

    /// Sends what waits for a flush, as far as the kernel takes it. The flush still comes, and meets
    /// what this met: a full kernel, or an error.
    fn send_waiting(&mut self, key: Key) {
        let Engine { kernel, reactor, .. } = self;
        let Some((fd, stream)) = stream_of(reactor, key) else { return };
        if stream.blocked || stream.output == Output::Dead {
            return;
        }
        while !stream.queue.is_empty() {
            match send_some(&**kernel, stream.medium, fd, &stream.queue) {
                Ok(Sent { bytes, short }) => {
                    stream.queue.advance(bytes);
                    if short {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn flush(&mut self, key: Key) -> Option<Step<H>> {
        if let Err(error) = self.send_queue(key) {
            return Some(Step::WriteFailed(key, error));
        }
        let (_, stream) = self.stream_mut(key)?;
        // Who has aborted is told nothing but the end.
        if stream.output != Output::Dead && stream.flow.resumes(stream.queue.len()) {
            if stream.file.as_ref().is_some_and(|file| file.is_over()) {
                self.flush_later(key);
            }
            return Some(Step::Flushed(key, Flushed { resume: true }));
        }
        if let Some(sent) = self.take_over_file(key) {
            self.flush_later(key);
            return Some(Step::FileSent(key, sent));
        }
        let (_, stream) = self.stream_mut(key)?;
        if stream.output == Output::Open && stream.flow.pauses(stream.queue.len()) {
            return Some(Step::Full(key));
        }
        let done = stream.is_drained() && stream.output == Output::ClosesAfterQueue;
        done.then_some(Step::Flushed(key, Flushed { resume: false }))
    }

    /// Sends the queue and what follows it, or what the kernel takes of them. An error has emptied
    /// the queue; one of the file is the file's alone.
    pub(super) fn send_queue(&mut self, key: Key) -> io::Result<()> {
        let Engine { kernel, reactor, joined, .. } = self;
        let Some((fd, stream)) = stream_of(reactor, key) else { return Ok(()) };
        *joined = joined.saturating_sub(stream.queue.len());
        let was_blocked = stream.blocked;
        stream.blocked = false;
        while !stream.queue.is_empty() {
            match send_some(&**kernel, stream.medium, fd, &stream.queue) {
                Ok(Sent { bytes, short }) => {
                    stream.queue.advance(bytes);
                    if short {
                        stream.blocked = true;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.blocked = true;
                    break;
                }
                Err(error) => return self.fail_writing(key, error),
            }
        }
        if stream.queue.is_empty()
            && !stream.blocked
            && stream.output != Output::Dead
            && let Some(file) = &mut stream.file
        {
            stream.blocked = file.send(&**kernel, fd);
        }
        let is_sent = stream.queue.is_empty() && !stream.blocked;
        if is_sent && stream.output == Output::EndsAfterQueue {
            stream.output = Output::Ended;
            // ENOTCONN: the peer is gone, which reading finds out.
            let _ = kernel.shutdown_write(fd);
        }
        if stream.blocked != was_blocked
            && let Err(error) = self.reactor.update(key)
        {
            return self.fail_writing(key, error);
        }
        Ok(())
    }

    fn fail_writing(&mut self, key: Key, error: io::Error) -> io::Result<()> {
        if let Some((_, stream)) = self.stream_mut(key) {
            stream.queue.clear();
            stream.blocked = false;
            stream.dirty = false;
        }
        let _ = self.reactor.update(key);
        Err(error)
    }

    pub(super) fn flush_later(&mut self, key: Key) {
        if let Some((_, stream)) = self.stream_mut(key)
            && !stream.dirty
            && !stream.blocked
        {
            stream.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Sends what is queued before its flush; the flush still tells the owner what that brought.
    fn send_early(&mut self, key: Key) -> io::Result<()> {
        self.send_queue(key)?;
        if self.stream(key).is_some_and(|stream| stream.flow.paused || stream.file.is_some()) {
            self.flush_later(key);
        }
        Ok(())
    }

    /// What exceeds the high mark is sent, as far as the kernel takes it, before the writer pauses.
    fn pause_if_full(&mut self, key: Key) -> Wrote {
        let Some((_, stream)) = self.stream_mut(key) else { return Wrote::Fine };
        if !stream.blocked
            && stream.queue.len() > stream.flow.limits.high
            && let Err(error) = self.send_early(key)
        {
            return Wrote::Failed(error);
        }
        let Some((_, stream)) = self.stream_mut(key) else { return Wrote::Fine };
        if stream.flow.pauses(stream.queue.len()) { Wrote::Pause } else { Wrote::Fine }
    }
}

impl<H: Host> Stream<H> {
    /// Whether a large write of this length may wait for others, instead of being sent at once.
    fn has_room_to_join(&self, len: usize) -> bool {
        let room = self.flow.limits.high.saturating_mul(JOINED_MARKS);
        !self.blocked && !self.medium.writes_at_once() && self.queue.len() + len <= room
    }
}

struct Sent {
    bytes: usize,
    /// The kernel took less than it was given: it is full.
    short: bool,
}

fn send_some<K: Kernel, B: AsRef<[u8]>>(
    kernel: &K,
    medium: Medium,
    fd: Fd,
    queue: &WriteQueue<B>,
) -> io::Result<Sent> {
    if let Some(piece) = queue.single() {
        let bytes = medium.write(kernel, fd, piece)?;
        return Ok(Sent { bytes, short: bytes < piece.len() });
    }
    let mut slices = [IoSlice::new(&[]); PIECES];
    let count = queue.pieces(&mut slices);
    let given: usize = slices[..count].iter().map(|slice| slice.len()).sum();
    let bytes = medium.write_vectored(kernel, fd, &slices[..count])?;
    Ok(Sent { bytes, short: bytes < given })
}
