//! What the engine asks of its host.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use oxloop_os::resolve::Answer;
use oxloop_os::socket::Address;
use oxloop_os::{Batch, Fd};

use crate::child::Exited;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::stream::FileSent;

/// The next thing to do. Keys are those of the stream, endpoint, listener or
/// watch concerned.
pub enum Step<H: Host> {
    /// Run this.
    Job(H::Job),
    /// A watched descriptor is ready: run [`Engine::watch_job`](crate::Engine::watch_job).
    Watch(Key, Direction),
    /// Data came: it is in [`Engine::received`](crate::Engine::received) until the next step.
    Received(Key, usize),
    /// Data is there for a stream that reads into its owner's memory: get some, then call
    /// [`Engine::receive_into`](crate::Engine::receive_into).
    Offer(Key),
    /// More and more data comes: call [`Engine::receive_into`](crate::Engine::receive_into) with
    /// memory for so many bytes that is then delivered as it is.
    Plenty(Key, usize),
    /// The peer will send nothing more.
    Ended(Key),
    ReadFailed(Key, io::Error),
    /// A datagram came: it is [`Engine::datagram`](crate::Engine::datagram) until the next step.
    Datagram(Key),
    /// A datagram could not be sent, or the socket had an error to tell. Nothing ends by it.
    DatagramFailed(Key, io::Error),
    /// The stream is about to be flushed, and its owner asked for this by
    /// [`Engine::fill_later`](crate::Engine::fill_later): write now.
    Fill(Key),
    /// More than the high mark is left of what was flushed: the writer is to be told to pause.
    Full(Key),
    /// What was queued has been sent, or enough of it; see [`Flushed`].
    Flushed(Key, Flushed),
    /// The file of [`Engine::send_file`](crate::Engine::send_file) is over.
    FileSent(Key, FileSent),
    /// Sending failed; the queue is empty now.
    WriteFailed(Key, io::Error),
    /// A connection came in; the host owns its descriptor.
    Accepted(Key, Fd, Address),
    /// Accepting failed; the listener is paused until
    /// [`Engine::resume_listener`](crate::Engine::resume_listener).
    AcceptFailed(Key, AcceptFailure),
    /// A child process has ended.
    Exited(Exited<H::Conn>),
    /// What a lookup of [`Engine::look_up`](crate::Engine::look_up) has found.
    Resolved(H::Conn, Answer),
    /// Tell the time by [`Engine::tell`](crate::Engine::tell).
    Clock,
    /// Call [`Wait::block`] with nothing borrowed, then [`Engine::waited`](crate::Engine::waited).
    Wait(Wait<H::Kernel>),
    /// Polling failed: nothing can be watched any more.
    PollFailed(io::Error),
    /// The run is over: `stop` was called, or this was a single turn.
    Done,
}

/// Which readiness a watch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// What a flush has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The owner was told to pause and may write again. It may do so at once: only afterwards does
    /// [`Engine::settle`](crate::Engine::settle) say whether the queue is still empty.
    pub resume: bool,
}

/// Why no connection could be taken.
#[derive(Debug)]
pub struct AcceptFailure {
    pub error: io::Error,
    /// The first failure since a connection was last accepted: worth a line in the log.
    pub first: bool,
}

/// A wait that needs nothing of the engine, so that other threads may use it meanwhile.
#[derive(Debug)]
pub struct Wait<K> {
    pub(crate) kernel: Arc<K>,
    pub(crate) batch: Batch,
    pub(crate) timeout: Option<Duration>,
    pub(crate) result: io::Result<()>,
}

impl<K: Kernel> Wait<K> {
    /// Waits for readiness, the deadline, a signal or [`Door::wake`](crate::Door::wake).
    pub fn block(&mut self) {
        self.result = self.kernel.wait(&mut self.batch, self.timeout);
    }

    /// How long the wait may take; `None`: without end.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

impl<H: Host> fmt::Debug for Step<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Job(_) => f.write_str("Job"),
            Step::Watch(key, direction) => write!(f, "Watch({key:?}, {direction:?})"),
            Step::Received(key, count) => write!(f, "Received({key:?}, {count})"),
            Step::Offer(key) => write!(f, "Offer({key:?})"),
            Step::Plenty(key, size) => write!(f, "Plenty({key:?}, {size})"),
            Step::Ended(key) => write!(f, "Ended({key:?})"),
            Step::ReadFailed(key, error) => write!(f, "ReadFailed({key:?}, {error})"),
            Step::Datagram(key) => write!(f, "Datagram({key:?})"),
            Step::DatagramFailed(key, error) => write!(f, "DatagramFailed({key:?}, {error})"),
            Step::Fill(key) => write!(f, "Fill({key:?})"),
            Step::Full(key) => write!(f, "Full({key:?})"),
            Step::Flushed(key, flushed) => write!(f, "Flushed({key:?}, {flushed:?})"),
            Step::FileSent(key, sent) => write!(f, "FileSent({key:?}, {sent:?})"),
            Step::WriteFailed(key, error) => write!(f, "WriteFailed({key:?}, {error})"),
            Step::Accepted(key, fd, peer) => write!(f, "Accepted({key:?}, {fd:?}, {peer:?})"),
            Step::AcceptFailed(key, failure) => write!(f, "AcceptFailed({key:?}, {failure:?})"),
            Step::Exited(ended) => write!(f, "Exited({:?}, {:?})", ended.pidfd, ended.exit),
            Step::Resolved(_, answer) => write!(f, "Resolved({answer:?})"),
            Step::Clock => f.write_str("Clock"),
            Step::Wait(wait) => write!(f, "Wait({:?})", wait.timeout),
            Step::PollFailed(error) => write!(f, "PollFailed({error})"),
            Step::Done => f.write_str("Done"),
        }
    }
}
