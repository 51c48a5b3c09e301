//! Transports: connections and pipes, as a protocol sees them.
//!
//! Bytes, flow control and the order of events are the engine's; here they become calls of the
//! protocol. Life: `open` makes the connection and its stream; `begin` calls `connection_made` and
//! starts to read; `close`, `abort` or an error schedule `lose`, which runs once, tells the protocol,
//! releases the stream and closes the descriptor. The engine holds the connection from `open` to
//! release.

mod close;
mod connection;
mod datagram;
mod file;
mod read;
mod upper;
mod write;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use oxloop_engine::Address;
use oxloop_os::socket;

use crate::event_loop::Loop;
use crate::protocol::IntoProtocol;

pub use datagram::{DatagramOptions, DatagramTransport};
pub use oxloop_engine::Limits;

pub(crate) use connection::{Connection, Medium, Opening};
pub(crate) use upper::Upper;

/// A connection, or one end of a pipe. Cheap to clone; dropping it changes nothing: the connection is
/// its loop's until it is closed.
#[derive(Clone)]
pub struct Transport(pub(crate) Rc<Connection>);

impl Transport {
    /// Sends `data`. What the system does not take at once waits, in memory: a protocol that writes
    /// much minds [`Protocol::pause_writing`](crate::Protocol::pause_writing). Small writes of one
    /// callback leave together when it has returned. After the end of the connection nothing happens.
    pub fn write(&self, data: &[u8]) {
        self.0.write(data);
    }

    /// As [`Transport::write`], of data that need not be copied should it have to wait.
    pub fn write_vec(&self, data: Vec<u8>) {
        self.0.write_vec(data);
    }

    /// Says that nothing more will be written, once everything is sent. Reading goes on. TLS cannot
    /// do this: nothing happens.
    pub fn write_eof(&self) {
        self.0.write_eof();
    }

    /// Whether [`Transport::write_eof`] does anything.
    pub fn can_write_eof(&self) -> bool {
        self.0.can_write_eof()
    }

    /// Reads no more, sends what waits, then ends the connection.
    pub fn close(&self) {
        self.0.close();
    }

    /// Ends the connection at once; what waits is dropped.
    pub fn abort(&self) {
        self.0.force_close(None);
    }

    /// Whether the connection is ending or has ended.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Delivers nothing until [`Transport::resume_reading`].
    pub fn pause_reading(&self) {
        self.0.pause_reading();
    }

    /// Goes on after [`Transport::pause_reading`].
    pub fn resume_reading(&self) {
        self.0.resume_reading();
    }

    /// Whether data is delivered.
    pub fn is_reading(&self) -> bool {
        self.0.is_reading()
    }

    /// How many bytes wait to be sent.
    pub fn write_buffer_size(&self) -> usize {
        self.0.write_buffer_size()
    }

    /// The marks of flow control, in bytes.
    pub fn write_buffer_limits(&self) -> Limits {
        self.0.limits()
    }

    /// Sets the marks of flow control. The low one is at most the high one.
    pub fn set_write_buffer_limits(&self, limits: Limits) {
        self.0.set_limits(Limits { low: limits.low.min(limits.high), high: limits.high });
    }

    /// Gives the connection another protocol, which is not told that the connection is there. The one
    /// that there was is dropped, when it has returned.
    pub fn set_protocol(&self, protocol: impl IntoProtocol) {
        self.0.set_upper(protocol.into_upper());
    }

    /// Calls `visit` with the protocol, if it is a `P` and not running already.
    ///
    /// ```
    /// # use oxloop::{Protocol, Transport};
    /// struct Counter(usize);
    ///
    /// impl Protocol for Counter {
    ///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
    ///         self.0 += data.len();
    ///     }
    /// }
    ///
    /// fn count(transport: &Transport) -> Option<usize> {
    ///     transport.with_protocol(|counter: &mut Counter| counter.0)
    /// }
    /// ```
    pub fn with_protocol<P: 'static, R>(&self, visit: impl FnOnce(&mut P) -> R) -> Option<R> {
        self.0.with_protocol(visit)
    }

    /// Where the other end is, if that is an internet address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer.as_ref().and_then(internet)
    }

    /// Where this end is, if that is an internet address and the connection open.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let fd = self.0.open_fd()?;
        socket::local_address(fd).ok().as_ref().and_then(internet)
    }

    /// The loop that the connection belongs to.
    pub fn get_loop(&self) -> Loop {
        self.0.hub.handle()
    }
}

/// The descriptor's number; the descriptor is the transport's. -1 after the end.
impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.0.open_fd().map_or(-1, |fd| fd.raw())
    }
}

impl PartialEq for Transport {
    fn eq(&self, other: &Transport) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Transport {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("fd", &self.as_raw_fd())
            .field("closing", &self.is_closing())
            .field("reading", &self.is_reading())
            .field("buffered", &self.write_buffer_size())
            .finish()
    }
}

fn internet(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::V4(v4) => Some((*v4).into()),
        Address::V6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// The error of a connection whose protocol panicked.
fn protocol_failed() -> io::Error {
    io::Error::other("the protocol panicked")
}
