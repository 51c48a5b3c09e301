//! `SSLTransport`: a protected connection, as a protocol sees it; over a [`StreamTransport`] of ours
//! that carries the ciphertext, or over another `SSLTransport` ([`below`]).
//!
//! The transport below has this one in the place of its protocol and calls it natively. What is to
//! be done in which order is the pump's ([`oxloop_engine::Pump`]); here its steps become calls of
//! the protocol, with asyncio's messages. A transport owns its pump, outside of the engine: a
//! session may run Python (callbacks for server names, keys, messages), which may call anything.
//!
//! Life: `open` makes it; `start` begins the handshake; the pump drives it ([`drive`]) until it says
//! that all is over, or an error does; then the transport below is closed, and its end is this
//! one's ([`close`]).
//!
//! [`StreamTransport`]: super::Transport

mod below;
mod buffer;
mod close;
mod direct;
mod drive;
mod info;
mod object;
mod open;
mod openssl;
mod session;
mod tail;
mod types;
mod write;

use std::rc::Rc;

use oxloop_engine::Pump;
use pyo3::ffi;
use pyo3::prelude::*;

use super::{Owner, Transport};
use crate::event_loop::Loop;
use crate::host::PyHost;
use crate::raw::Ref;

pub(crate) use open::{TlsOpening, make_tls_transport, start_tls};
pub(crate) use session::Session;
pub(crate) use types::{init, type_object};

use below::Below;
use tail::Tail;
use types::class;

/// A TLS transport, borrowed for a call.
#[derive(Clone, Copy)]
pub(crate) struct Tls<'a> {
    object: *mut ffi::PyObject,
    tail: &'a Tail,
}

impl<'a> Tls<'a> {
    /// # Safety
    /// `object` is an instance of our type, alive for `'a`.
    #[inline]
    pub(crate) unsafe fn from_self(object: *mut ffi::PyObject) -> Tls<'a> {
        // SAFETY: by contract; the tail is only shared, its fields are cells.
        Tls { object, tail: unsafe { &*class().tail::<Tail>(object) } }
    }

    /// `None` if `object` is not a TLS transport of ours.
    #[inline]
    pub(crate) fn of(object: &'a Ref) -> Option<Tls<'a>> {
        // SAFETY: the type is checked; alive while `object` is.
        class().is_type_of(object.as_ptr()).then(|| unsafe { Tls::from_self(object.as_ptr()) })
    }

    fn bind<'py>(self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: alive for 'a.
        unsafe { Bound::from_borrowed_ptr(py, self.object) }
    }

    fn reference(self) -> Ref {
        // SAFETY: alive for 'a.
        unsafe { Ref::from_borrowed(self.object) }
    }

    /// The loop, until the connection is lost.
    fn owner(self, py: Python<'_>) -> Option<Owner<'_>> {
        let object = self.tail.owner.get(py)?.into_bound(py);
        // SAFETY: the slot is empty or has the loop that the transport was opened on.
        Some(Owner(unsafe { object.cast_into_unchecked::<Loop>() }))
    }

    /// The pump, until the connection is lost.
    fn pump(self) -> Option<Rc<Pump<PyHost>>> {
        self.tail.pump.borrow().clone()
    }

    /// The transport below.
    fn lower(self, py: Python<'_>) -> Option<Ref> {
        self.tail.lower.get(py)
    }

    /// What carries the ciphertext, while there is a connection.
    #[inline]
    fn below(self, py: Python<'_>) -> Option<Below<'_>> {
        let lower = self.lower(py)?;
        match Transport::of(&lower) {
            Some(transport) => Some(Below::Stream(self.owner(py)?, transport.stream()?)),
            None => self.tail.owner.is_some().then_some(Below::Tls(lower)),
        }
    }
}
