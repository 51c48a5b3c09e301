//! Pipes: transports and streams of one end of one, or of what works like it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use oxloop_engine::Fd;
use oxloop_os::file::{self, FileKind};

use crate::event_loop::Loop;
use crate::protocol::IntoProtocol;
use crate::stream::Stream;
use crate::transport::{Connection, Medium, Opening, Transport, Upper};

/// Which end of a pipe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Reading,
    Writing,
}

impl Loop {
    /// Gives what can be read from a pipe, socket or terminal to the protocol that `factory` makes.
    /// The open file becomes non-blocking, for everybody who has it.
    ///
    /// # Errors
    /// For regular files, which cannot be waited for; [`Error::Closed`](crate::Error::Closed).
    pub fn connect_read_pipe<P: IntoProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        pipe: impl Into<OwnedFd>,
    ) -> io::Result<Transport> {
        self.open_pipe(pipe.into(), Side::Reading, || factory().into_upper()).map(Transport)
    }

    /// As [`Loop::connect_read_pipe`], of the end that is written to. The protocol is told when nobody
    /// reads any more.
    ///
    /// # Errors
    /// As [`Loop::connect_read_pipe`].
    pub fn connect_write_pipe<P: IntoProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        pipe: impl Into<OwnedFd>,
    ) -> io::Result<Transport> {
        self.open_pipe(pipe.into(), Side::Writing, || factory().into_upper()).map(Transport)
    }

    /// A stream of the end of a pipe that is read from.
    ///
    /// # Errors
    /// As [`Loop::connect_read_pipe`].
    pub fn open_read_pipe(&self, pipe: impl Into<OwnedFd>) -> io::Result<Stream> {
        let (upper, stream) = Stream::upper();
        self.open_pipe(pipe.into(), Side::Reading, || upper).map(stream)
    }

    /// A stream of the end of a pipe that is written to.
    ///
    /// # Errors
    /// As [`Loop::connect_read_pipe`].
    pub fn open_write_pipe(&self, pipe: impl Into<OwnedFd>) -> io::Result<Stream> {
        let (upper, stream) = Stream::upper();
        self.open_pipe(pipe.into(), Side::Writing, || upper).map(stream)
    }

    fn open_pipe(
        &self,
        pipe: OwnedFd,
        side: Side,
        upper: impl FnOnce() -> Upper,
    ) -> io::Result<Rc<Connection>> {
        self.hub.check_open()?;
        let fd = Fd::new(pipe.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        let kind = file::kind(fd)?;
        if kind == FileKind::Other {
            let text = "only pipes, sockets and character devices can be waited for";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        file::set_nonblocking(fd)?;
        // What others may write to as well is written in the order in which it was given.
        let shared = kind == FileKind::Character || (kind == FileKind::Pipe && file::has_name(fd));
        let medium = match side {
            Side::Reading => Medium::ReadPipe,
            Side::Writing => Medium::WritePipe { at_once: shared },
        };
        let opening = Opening { file: pipe, medium, peer: None, server: None, upper: upper() };
        let connection = Connection::open(&self.hub, opening)?;
        if side == Side::Writing && kind == FileKind::Character {
            // Nobody goes away from a terminal.
            connection.stay_deaf();
        }
        connection.begin();
        Ok(connection)
    }
}
