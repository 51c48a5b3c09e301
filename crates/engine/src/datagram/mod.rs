//! Datagram sockets: what came in, what waits to be sent, and how an endpoint ends.
//!
//! An endpoint does not own its descriptor. Its life is a stream's, and what both have is under the
//! same names: opened with reading off; `start_reading`; `close` (nothing more is delivered, what is
//! queued is still sent) or `abort` (neither); released. Errors end nothing: they are facts for
//! the owner.

mod outbox;
mod receive;
mod send;

use std::io;
use std::num::NonZero;

use oxloop_os::{Fd, Interest};

use crate::engine::Engine;
use crate::host::Host;
use crate::reactor::{Kind, Reactor, Source};
use crate::slots::Key;
use crate::stream::Flow;

pub(crate) use receive::Mail;

use outbox::Outbox;
use receive::Kept;

/// What an endpoint is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// No longer datagram can come in (bytes).
    pub largest: u32,
    /// What a waiting datagram counts for in the water marks, beside its bytes.
    pub header: u32,
}

pub(crate) struct Endpoint<H: Host> {
    pub(crate) conn: H::Conn,
    outbox: Outbox<H::Bytes>,
    flow: Flow,
    largest: u32,
    reading: bool,
    /// When a datagram last left at once: those behind it in the same stretch of the run join.
    sent_in: Option<NonZero<u64>>,
    /// In the engine's list of what is to be flushed.
    dirty: bool,
    /// The kernel took no more; waiting until it does.
    blocked: bool,
    /// Why a queued datagram could not be sent; the owner has not been told yet.
    error: Option<io::Error>,
    output: Output,
    /// Received, and not delivered because the owner paused or the run was interrupted: the rest of
    /// a batch, mostly.
    backlog: Vec<Kept>,
    /// In the engine's list of endpoints with a backlog to deliver.
    overdue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// Once everything queued is sent, the endpoint ends.
    ClosesAfterQueue,
    /// Nothing is queued any more.
    Dead,
}

impl<H: Host> Endpoint<H> {
    fn new(conn: H::Conn, measures: Measures) -> Endpoint<H> {
        Endpoint {
            conn,
            outbox: Outbox::new(measures.header),
            flow: Flow::default(),
            largest: measures.largest,
            reading: false,
            sent_in: None,
            dirty: false,
            blocked: false,
            error: None,
            output: Output::Open,
            backlog: Vec::new(),
            overdue: false,
        }
    }

    #[inline]
    pub(crate) fn wanted(&self) -> Interest {
        Interest { read: self.reading, write: self.blocked }
    }

    /// Nothing is left to send or to tell.
    fn is_through(&self) -> bool {
        self.outbox.is_empty() && self.error.is_none()
    }
}

impl<H: Host> Engine<H> {
    /// Makes an endpoint of a non-blocking datagram socket. Nothing is registered yet. If there is
    /// no memory the payload comes back.
    pub fn open_endpoint(
        &mut self,
        fd: Fd,
        measures: Measures,
        conn: H::Conn,
    ) -> Result<Key, (io::Error, H::Conn)> {
        match self.reactor.insert(fd, Kind::Datagram(Box::new(Endpoint::new(conn, measures)))) {
            Ok(key) => Ok(key),
            Err(Kind::Datagram(endpoint)) => {
                Err((io::ErrorKind::OutOfMemory.into(), endpoint.conn))
            }
            Err(_) => unreachable!("insert gives back what it was given"),
        }
    }

    #[inline]
    pub(crate) fn endpoint(&self, key: Key) -> Option<&Endpoint<H>> {
        match &self.reactor.get(key)?.kind {
            Kind::Datagram(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn endpoint_mut(&mut self, key: Key) -> Option<&mut Endpoint<H>> {
        endpoint_of(&mut self.reactor, key).map(|(_, endpoint)| endpoint)
    }
}

/// An endpoint and its descriptor, for those who borrow the rest of the engine meanwhile.
#[inline]
fn endpoint_of<H: Host>(reactor: &mut Reactor<H>, key: Key) -> Option<(Fd, &mut Endpoint<H>)> {
    match reactor.get_mut(key)? {
        Source { fd, kind: Kind::Datagram(endpoint), .. } => Some((*fd, endpoint)),
        _ => None,
    }
}
