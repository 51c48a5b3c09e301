//! A file behind the write queue: the kernel sends it, and its bytes never pass through us.
//!
//! Invariants: a stream sends one file at a time, when everything that was queued before is sent;
//! its owner writes nothing until the file is over. The descriptor is the owner's, who keeps it
//! open meanwhile. What became of a file is told once: by [`Engine::send_file`], by
//! [`Step::FileSent`](crate::Step::FileSent), or to who stops it.

use std::io;

use oxloop_os::Fd;

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::stream::Output;

/// Bytes that one event sends at most: a peer as fast as we are would keep everybody else waiting.
const AT_MOST: u64 = 2 * 1024 * 1024;

/// What became of a file.
#[derive(Debug)]
pub struct FileSent {
    /// Bytes that were sent.
    pub sent: u64,
    /// Why there are not more; the stream itself may be well.
    pub error: Option<io::Error>,
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    file: Fd,
    offset: u64,
    /// `None`: until its end.
    left: Option<u64>,
    sent: u64,
    /// It is over, which nobody was told yet.
    end: Option<io::Result<()>>,
}

impl Outgoing {
    /// Sends until the file is over. True if the kernel takes no more for now, or the event's
    /// share is used up.
    pub(super) fn send<K: Kernel>(&mut self, kernel: &K, socket: Fd) -> bool {
        let mut share = AT_MOST;
        while self.end.is_none() {
            if self.left == Some(0) {
                self.end = Some(Ok(()));
                break;
            }
            if share == 0 {
                return true;
            }
            let count = self.left.map_or(share, |left| left.min(share));
            match kernel.send_file(socket, self.file, self.offset, count as usize) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(count) => {
                    let count = count as u64;
                    self.offset += count;
                    self.sent += count;
                    self.left = self.left.map(|left| left.saturating_sub(count));
                    share = share.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => self.end = Some(Err(error)),
            }
        }
        false
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn into_outcome(self) -> FileSent {
        FileSent { sent: self.sent, error: self.end.and_then(Result::err) }
    }
}

impl<H: Host> Engine<H> {
    /// Sends `file` behind what is queued, from `offset` on: `count` bytes, or up to its end. What
    /// became of it if it is over at once; otherwise [`Step::FileSent`](crate::Step::FileSent)
    /// tells. An error is the stream's: what was queued could not be sent.
    pub fn send_file(
        &mut self,
        key: Key,
        file: Fd,
        offset: u64,
        count: Option<u64>,
    ) -> io::Result<Option<FileSent>> {
        let Some((_, stream)) = self.stream_mut(key) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if stream.output != Output::Open || stream.file.is_some() {
            let error = Some(io::ErrorKind::BrokenPipe.into());
            return Ok(Some(FileSent { sent: 0, error }));
        }
        let outgoing = Outgoing { file, offset, left: count, sent: 0, end: None };
        stream.file = Some(Box::new(outgoing));
        if !stream.blocked {
            self.send_queue(key)?;
        }
        let over = self.take_over_file(key);
        if self.is_write_paused(key) {
            self.flush_later(key);
        }
        Ok(over)
    }

    /// Sends no more of the file; how much of it was sent, if there still was one.
    pub fn stop_file(&mut self, key: Key) -> Option<u64> {
        let (_, stream) = self.stream_mut(key)?;
        let sent = stream.file.take()?.sent;
        if stream.queue.is_empty() {
            stream.blocked = false;
            // The interest only shrinks.
            let _ = self.reactor.update(key);
            // A stream that was to end after the file ends now.
            self.flush_later(key);
        }
        Some(sent)
    }

    /// What became of a file that is over.
    pub(super) fn take_over_file(&mut self, key: Key) -> Option<FileSent> {
        let (_, stream) = self.stream_mut(key)?;
        if stream.file.as_ref().is_some_and(|file| file.is_over()) {
            return stream.file.take().map(|file| file.into_outcome());
        }
        None
    }
}
