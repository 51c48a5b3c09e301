//! The engine's nouns in Rust's terms.
//!
//! A [`Job`] is a name, or something that any thread may own; the closures and futures that belong
//! to one thread lie with the [`Hub`](crate::hub::Hub). So the engine's queues may be shared with
//! other threads as they are, without unsafe code: a name whose owner is gone finds nothing.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use oxloop_engine::{
    AcceptFailure, Address, Answer, Exited, Fd, FileSent, Flushed, Host, Key, System,
};

use crate::hub::Hub;
use crate::remote::RemoteCall;
use crate::tls::Session;

/// Something to run.
#[derive(Debug)]
pub(crate) enum Job {
    /// A step of a task.
    Task(Key),
    /// A callback of the loop's own thread.
    Call(Key),
    /// Somebody waits for a timer or a descriptor.
    Wake(Waker),
    /// A callback that another thread has given.
    Remote(RemoteCall),
}

const _: () = assert!(size_of::<Job>() <= 24, "queues move jobs around");

/// Whom the engine's sources belong to: each kind handles the steps that concern it. Called with
/// nothing borrowed.
pub(crate) trait Endpoint {
    /// Data is in the engine's buffer.
    fn received(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _count: usize) {}
    /// Data is there for memory of ours.
    fn offered(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key) {}
    /// Much data is there, for so many bytes of memory.
    fn plenty(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _size: usize) {}
    /// The peer sends nothing more.
    fn ended(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key) {}
    /// Reading failed, or polling for it.
    fn read_failed(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _error: io::Error) {}
    /// The stream is about to be flushed.
    fn fill(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key) {}
    /// The flush has left too much behind: the writer is to pause.
    fn full(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key) {}
    /// Enough has been sent.
    fn flushed(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _flushed: Flushed) {}
    fn file_sent(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _sent: FileSent) {}
    fn write_failed(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _error: io::Error) {}
    /// A datagram is in the engine's buffer.
    fn datagram(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key) {}
    fn datagram_failed(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _error: io::Error) {}
    /// A connection came in. Whoever implements this owns its descriptor.
    fn accepted(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, fd: Fd, _peer: Address) {
        fd.close();
    }
    fn accept_failed(self: Rc<Self>, _hub: &Rc<Hub>, _key: Key, _failure: AcceptFailure) {}
    /// A child process has ended.
    fn exited(self: Rc<Self>, _hub: &Rc<Hub>, _ended: Exited<()>) {}
    /// A name was looked up.
    fn resolved(self: Rc<Self>, _hub: &Rc<Hub>, _answer: Answer) {}
    /// The loop is closed, and the source taken out of the engine: lets go of everything.
    fn closed(self: Rc<Self>);
}

/// Bytes that are kept where they are until they are sent.
#[derive(Clone, Debug)]
pub(crate) struct HeldBytes(Rc<Vec<u8>>);

impl HeldBytes {
    pub(crate) fn new(bytes: Vec<u8>) -> HeldBytes {
        HeldBytes(Rc::new(bytes))
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A Rust program.
#[derive(Debug)]
pub(crate) enum Program {}

impl Host for Program {
    type Job = Job;
    type Conn = Rc<dyn Endpoint>;
    type Bytes = HeldBytes;
    type Tls = Session;
    type Kernel = System;
}
