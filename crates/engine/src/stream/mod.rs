//! Byte streams: what is read, what waits to be sent, and how a connection ends.
//!
//! A stream does not own its descriptor, it only reads and writes it; its host closes it after
//! [`Engine::release`]. The life of a stream: opened with reading off; `start_reading`; perhaps
//! `write_eof` (nothing more is sent, reading goes on); `close` (nothing is read, what is queued is
//! still sent) or `abort` (neither); released.

mod file;
mod flow;
mod medium;
mod queue;
mod read;
mod read_queue;
mod write;

use std::io;

use oxloop_os::{Fd, Interest};

use crate::engine::Engine;
use crate::host::Host;
use crate::reactor::{Kind, Reactor, Source};
use crate::slots::Key;

pub use file::FileSent;
pub(crate) use flow::Flow;
pub use flow::Limits;
pub use medium::End;
pub use queue::WriteQueue;
pub use read_queue::ReadQueue;
pub use write::{Closing, Settled, Wrote};

use file::Outgoing;
use medium::Medium;
use read::Appetite;

pub(crate) struct Stream<H: Host> {
    pub(crate) conn: H::Conn,
    medium: Medium,
    queue: WriteQueue<H::Bytes>,
    flow: Flow,
    appetite: Appetite,
    reading: bool,
    /// Reads go into memory of the host.
    offered: bool,
    /// The peer has sent its last byte.
    ended: bool,
    /// Its owner has something to prepare before the next flush.
    filling: bool,
    /// In the engine's list of streams to flush.
    dirty: bool,
    /// The kernel took no more; waiting until it does.
    blocked: bool,
    output: Output,
    /// What follows the queue.
    file: Option<Box<Outgoing>>,
}

/// How much longer a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// Once the queue is empty, the peer is told that nothing more comes.
    EndsAfterQueue,
    Ended,
    /// Once the queue is empty, the connection ends.
    ClosesAfterQueue,
    /// Nothing is sent any more.
    Dead,
}

impl<H: Host> Stream<H> {
    fn new(conn: H::Conn, medium: Medium) -> Stream<H> {
        Stream {
            conn,
            medium,
            queue: WriteQueue::default(),
            flow: Flow::default(),
            appetite: Appetite::new(),
            reading: false,
            offered: false,
            ended: false,
            filling: false,
            dirty: false,
            blocked: false,
            output: Output::Open,
            file: None,
        }
    }

    /// Nothing is left to be sent.
    fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.file.is_none()
    }

    #[inline]
    pub(crate) fn wanted(&self) -> Interest {
        Interest { read: self.reading && !self.ended, write: self.blocked }
    }
}

impl<H: Host> Engine<H> {
    /// Makes a stream of a connected, non-blocking socket. Nothing is registered yet. If there is
    /// no memory the payload comes back.
    pub fn open_stream(&mut self, fd: Fd, conn: H::Conn) -> Result<Key, (io::Error, H::Conn)> {
        self.open_medium(fd, Medium::Socket, conn)
    }

    /// Makes a stream of one end of a non-blocking pipe, or of what works like one. Of the writing
    /// end, `start_reading` watches for the reader's end: [`Step::Ended`](crate::Step::Ended).
    pub fn open_pipe(
        &mut self,
        fd: Fd,
        end: End,
        conn: H::Conn,
    ) -> Result<Key, (io::Error, H::Conn)> {
        self.open_medium(fd, Medium::Pipe(end), conn)
    }

    fn open_medium(
        &mut self,
        fd: Fd,
        medium: Medium,
        conn: H::Conn,
    ) -> Result<Key, (io::Error, H::Conn)> {
        match self.reactor.insert(fd, Kind::Stream(Stream::new(conn, medium))) {
            Ok(key) => Ok(key),
            Err(Kind::Stream(stream)) => Err((io::ErrorKind::OutOfMemory.into(), stream.conn)),
            Err(_) => unreachable!("insert gives back what it was given"),
        }
    }

    /// Takes the stream or endpoint out of the engine; its descriptor and payload are the host's to close and
    /// drop.
    pub fn release(&mut self, key: Key) -> Option<H::Conn> {
        self.conn(key)?;
        match self.reactor.remove(key)?.kind {
            Kind::Stream(stream) => Some(stream.conn),
            Kind::Datagram(endpoint) => Some(endpoint.conn),
            _ => None,
        }
    }

    /// Whom a stream or an endpoint belongs to.
    #[inline]
    pub fn conn(&self, key: Key) -> Option<&H::Conn> {
        match &self.reactor.get(key)?.kind {
            Kind::Stream(stream) => Some(&stream.conn),
            Kind::Datagram(endpoint) => Some(&endpoint.conn),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn stream(&self, key: Key) -> Option<&Stream<H>> {
        match &self.reactor.get(key)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn stream_mut(&mut self, key: Key) -> Option<(Fd, &mut Stream<H>)> {
        stream_of(&mut self.reactor, key)
    }
}

/// A stream and its descriptor, for those who borrow the rest of the engine meanwhile.
#[inline]
fn stream_of<H: Host>(reactor: &mut Reactor<H>, key: Key) -> Option<(Fd, &mut Stream<H>)> {
    match reactor.get_mut(key)? {
        Source { fd, kind: Kind::Stream(stream), .. } => Some((*fd, stream)),
        _ => None,
    }
}
