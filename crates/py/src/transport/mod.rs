//! Transports: connections, pipes and datagram endpoints, as a protocol sees them.
//!
//! The types derive from asyncio's (`StreamTransport` and `WritePipeTransport` from
//! `_FlowControlMixin`, `ReadPipeTransport` from `ReadTransport`), have a `__dict__` and weak
//! references, and keep their state in a tail that is the same for all. Bytes, flow control
//! and the order of events are the engine's; here they become calls of the protocol, with asyncio's
//! error handling.
//!
//! Life: `open` makes the transport and its stream; `begin`, after `connection_made`, starts to
//! read; `close`, `abort` or an error schedule `_call_connection_lost`, which runs once, releases
//! the stream and closes the socket. The engine holds the transport from `open` to release.

mod address;
mod child;
mod close;
mod datagram;
mod file;
mod info;
mod open;
mod pipe;
mod read;
mod tail;
mod tls;
mod types;
mod write;

use std::cell::Cell;

use oxloop_engine::{Fd, Key};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::event_loop::Loop;
use crate::raw::Ref;

pub(crate) use address::to_python as address_to_python;
pub(crate) use datagram::{Family, make_datagram_transport};
pub(crate) use open::{Opening, make_socket_transport};
pub(crate) use pipe::make_pipe_transport;
pub(crate) use read::call_method;
pub(crate) use tls::{Session, Tls, TlsOpening, make_tls_transport, start_tls};
pub(crate) use types::type_objects;

use pyo3::types::PyType;

use crate::hooks::Hooks;

use tail::Tail;
use types::{is_transport, tail_of};

/// Makes the types.
pub(crate) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    types::init(py, hooks)?;
    child::init(py, hooks)?;
    tls::init(py, hooks)
}

/// The type of TLS transports, for the module.
pub(crate) fn tls_type_object(py: Python<'_>) -> Bound<'_, PyType> {
    tls::type_object(py)
}

/// A transport of ours, borrowed for a call.
#[derive(Clone, Copy)]
pub(crate) struct Transport<'a> {
    object: *mut ffi::PyObject,
    tail: &'a Tail,
}

impl<'a> Transport<'a> {
    /// # Safety
    /// `object` is an instance of one of our types, alive for `'a`.
    #[inline]
    pub(crate) unsafe fn from_self(object: *mut ffi::PyObject) -> Transport<'a> {
        // SAFETY: by contract; the tail is only shared, its fields are cells.
        Transport { object, tail: unsafe { &*tail_of(object) } }
    }

    /// `None` if `object` is not a transport of ours.
    #[inline]
    pub(crate) fn of(object: &'a Ref) -> Option<Transport<'a>> {
        // SAFETY: the type is checked; alive while `object` is.
        is_transport(object.as_ptr()).then(|| unsafe { Transport::from_self(object.as_ptr()) })
    }

    fn bind<'py>(self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: alive for 'a.
        unsafe { Bound::from_borrowed_ptr(py, self.object) }
    }

    fn reference(self) -> Ref {
        // SAFETY: alive for 'a.
        unsafe { Ref::from_borrowed(self.object) }
    }

    /// The loop, until the connection is lost. A reference, because a call may end the connection.
    #[inline]
    fn owner(self, py: Python<'_>) -> Option<Owner<'_>> {
        let object = self.tail.owner.get(py)?.into_bound(py);
        // SAFETY: the slot is empty or has the loop that the transport was opened on.
        Some(Owner(unsafe { object.cast_into_unchecked::<Loop>() }))
    }

    /// The stream in the engine, until it is released.
    #[inline]
    fn stream(self) -> Option<Key> {
        self.tail.stream.get()
    }

    /// A connected socket, not a pipe or an endpoint.
    pub(crate) fn is_stream(self) -> bool {
        self.tail.kind == types::Kind::Stream
    }

    fn is_reading(self) -> bool {
        !self.tail.closing.get() && !self.tail.paused.get()
    }

    /// Nothing more is read.
    fn is_ending(self) -> bool {
        self.tail.closing.get() || self.tail.lost.get() > 0
    }

    /// The context in which the protocol is called.
    fn context(self, py: Python<'_>) -> Option<Ref> {
        self.tail.context.get(py)
    }

    /// Calls the TLS transport over this one, in the connection's context; `None` if there is none.
    #[inline]
    fn call_protected(
        self,
        py: Python<'_>,
        call: impl FnOnce(Tls<'_>) -> PyResult<()>,
    ) -> Option<PyResult<()>> {
        if !self.tail.protected.get() {
            return None;
        }
        let called = self.call_protocol(py, |upper| Tls::of(upper).map_or(Ok(()), call));
        Some(called.map(drop))
    }
}

/// A reference to the loop.
struct Owner<'py>(Bound<'py, Loop>);

impl std::ops::Deref for Owner<'_> {
    type Target = Loop;

    fn deref(&self) -> &Loop {
        self.0.get()
    }
}

/// Whose descriptor the connection has.
#[derive(Debug)]
struct Socket {
    fd: Cell<Option<Fd>>,
    /// No Python socket object has been made for it: closing it is up to us.
    bare: Cell<bool>,
}
