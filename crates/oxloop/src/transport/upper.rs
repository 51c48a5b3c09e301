//! Who is told what a connection has to tell.

use std::any::Any;
use std::fmt;
use std::io;

use crate::protocol::{BufferedProtocol, Protocol};
use crate::stream::Reader;
use crate::transport::Transport;

impl fmt::Debug for Upper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Upper::Away => "Away",
            Upper::Protocol(_) => "Protocol",
            Upper::Buffered(_) => "Buffered",
            Upper::Stream(_) => "Stream",
        })
    }
}

/// The user of a connection. Public in name only.
#[derive(Default)]
pub enum Upper {
    /// It is running, or there is none any more.
    #[default]
    Away,
    Protocol(Box<dyn Protocol>),
    Buffered(Box<dyn BufferedProtocol>),
    /// A stream for async code.
    Stream(Box<Reader>),
}

impl Upper {
    /// It has memory of its own for what comes in.
    pub(super) fn offers(&self) -> bool {
        matches!(self, Upper::Buffered(_) | Upper::Stream(_))
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self, Upper::Away)
    }

    pub(super) fn connection_made(&mut self, transport: &Transport) {
        match self {
            Upper::Protocol(protocol) => protocol.connection_made(transport),
            Upper::Buffered(protocol) => protocol.connection_made(transport),
            Upper::Stream(_) | Upper::Away => {}
        }
    }

    pub(super) fn eof_received(&mut self, transport: &Transport) -> bool {
        match self {
            Upper::Protocol(protocol) => protocol.eof_received(transport),
            Upper::Buffered(protocol) => protocol.eof_received(transport),
            Upper::Stream(reader) => reader.ended(),
            Upper::Away => false,
        }
    }

    pub(super) fn pause_writing(&mut self, transport: &Transport) {
        match self {
            Upper::Protocol(protocol) => protocol.pause_writing(transport),
            Upper::Buffered(protocol) => protocol.pause_writing(transport),
            Upper::Stream(reader) => reader.pause_writing(),
            Upper::Away => {}
        }
    }

    pub(super) fn resume_writing(&mut self, transport: &Transport) {
        match self {
            Upper::Protocol(protocol) => protocol.resume_writing(transport),
            Upper::Buffered(protocol) => protocol.resume_writing(transport),
            Upper::Stream(reader) => reader.resume_writing(),
            Upper::Away => {}
        }
    }

    pub(super) fn connection_lost(&mut self, transport: &Transport, error: Option<&io::Error>) {
        match self {
            Upper::Protocol(protocol) => protocol.connection_lost(transport, error),
            Upper::Buffered(protocol) => protocol.connection_lost(transport, error),
            Upper::Stream(reader) => reader.connection_lost(error),
            Upper::Away => {}
        }
    }

    pub(super) fn downcast<P: 'static>(&mut self) -> Option<&mut P> {
        let any: &mut dyn Any = match self {
            Upper::Protocol(protocol) => &mut **protocol,
            Upper::Buffered(protocol) => &mut **protocol,
            Upper::Stream(_) | Upper::Away => return None,
        };
        any.downcast_mut()
    }
}
