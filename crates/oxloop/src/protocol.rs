//! Protocols: what a connection tells the program, as asyncio has it.
//!
//! A protocol belongs to its transport and is called by it alone, never from within itself: what it
//! causes by calling its transport, it is told when it has returned. A panic in it ends the
//! connection and is told to the loop's exception handler.

use std::any::Any;
use std::io;
use std::net::SocketAddr;

use crate::process::SubprocessTransport;
use crate::transport::{DatagramTransport, Transport};

/// What a connection or pipe tells the program, as its bytes come in.
///
/// In this order: `connection_made`; then `data_received`, `pause_writing` and `resume_writing` in
/// turns; perhaps `eof_received`; `connection_lost`, once. If a loop is closed with a connection
/// open, the protocol is dropped without a word.
///
/// ```
/// use oxloop::{Protocol, Transport};
///
/// /// Sends everything back.
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
#[expect(unused_variables, reason = "named for those who implement them")]
pub trait Protocol: Any {
    /// The connection is there.
    fn connection_made(&mut self, transport: &Transport) {}

    /// Data has come.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// The other end will send nothing more. False closes the transport; true keeps it, to go on
    /// writing.
    fn eof_received(&mut self, transport: &Transport) -> bool {
        false
    }

    /// What waits to be sent has exceeded the high mark.
    fn pause_writing(&mut self, transport: &Transport) {}

    /// What waits to be sent has fallen to the low mark.
    fn resume_writing(&mut self, transport: &Transport) {}

    /// The connection is over. Without an error it was closed by either end.
    fn connection_lost(&mut self, transport: &Transport, error: Option<&io::Error>) {}
}

/// As [`Protocol`], for a program that has memory of its own for what comes in. Given to a loop in
/// [`Buffered`].
#[expect(unused_variables, reason = "named for those who implement them")]
pub trait BufferedProtocol: Any {
    /// The connection is there.
    fn connection_made(&mut self, transport: &Transport) {}

    /// Where to put what has come; not empty.
    fn get_buffer(&mut self) -> &mut [u8];

    /// So many bytes of the buffer are data now.
    fn buffer_updated(&mut self, transport: &Transport, count: usize);

    /// As [`Protocol::eof_received`].
    fn eof_received(&mut self, transport: &Transport) -> bool {
        false
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self, transport: &Transport) {}

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self, transport: &Transport) {}

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &Transport, error: Option<&io::Error>) {}
}

/// A [`BufferedProtocol`], where a protocol of either kind is taken.
#[derive(Debug)]
pub struct Buffered<P>(pub P);

/// A [`Protocol`], or a [`BufferedProtocol`] in [`Buffered`].
pub trait IntoProtocol: sealed::Sealed {}

pub(crate) mod sealed {
    use super::{Buffered, BufferedProtocol, Protocol};
    use crate::transport::Upper;

    pub trait Sealed {
        #[doc(hidden)]
        fn into_upper(self) -> Upper;
    }

    impl<P: Protocol> Sealed for P {
        fn into_upper(self) -> Upper {
            Upper::Protocol(Box::new(self))
        }
    }

    impl<P: BufferedProtocol> Sealed for Buffered<P> {
        fn into_upper(self) -> Upper {
            Upper::Buffered(Box::new(self.0))
        }
    }
}

impl<P: Protocol> IntoProtocol for P {}

impl<P: BufferedProtocol> IntoProtocol for Buffered<P> {}

/// What a datagram endpoint tells the program.
#[expect(unused_variables, reason = "named for those who implement them")]
pub trait DatagramProtocol: Any {
    /// The endpoint is there.
    fn connection_made(&mut self, transport: &DatagramTransport) {}

    /// A datagram has come; from nobody, if its sender has no internet address.
    fn datagram_received(
        &mut self,
        transport: &DatagramTransport,
        data: &[u8],
        from: Option<SocketAddr>,
    );

    /// A datagram could not be sent, or the system had an error to tell. Nothing ends by it.
    fn error_received(&mut self, transport: &DatagramTransport, error: io::Error) {}

    /// What waits to be sent has exceeded the high mark.
    fn pause_writing(&mut self, transport: &DatagramTransport) {}

    /// What waits to be sent has fallen to the low mark.
    fn resume_writing(&mut self, transport: &DatagramTransport) {}

    /// The endpoint is over.
    fn connection_lost(&mut self, transport: &DatagramTransport, error: Option<&io::Error>) {}
}

/// What a child process tells the program. Its pipes have the descriptors that they are for the
/// child: 0, 1 and 2.
#[expect(unused_variables, reason = "named for those who implement them")]
pub trait SubprocessProtocol: Any {
    /// The child is running.
    fn connection_made(&mut self, transport: &SubprocessTransport) {}

    /// The child has written to its descriptor `fd`.
    fn pipe_data_received(&mut self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {}

    /// A pipe to or from the child is closed.
    fn pipe_connection_lost(
        &mut self,
        transport: &SubprocessTransport,
        fd: i32,
        error: Option<&io::Error>,
    ) {
    }

    /// What waits to be read by the child has exceeded the high mark of its pipe.
    fn pause_writing(&mut self, transport: &SubprocessTransport) {}

    /// What waits to be read by the child has fallen to the low mark.
    fn resume_writing(&mut self, transport: &SubprocessTransport) {}

    /// The child has ended. Pipes may still bring what it has written.
    fn process_exited(&mut self, transport: &SubprocessTransport) {}

    /// The child has ended and all its pipes are closed.
    fn connection_lost(&mut self, transport: &SubprocessTransport) {}
}
