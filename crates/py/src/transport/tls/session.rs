//! What encrypts a connection: the engine's noun in Python's terms.

use std::ffi::{c_int, c_void};

use oxloop_engine::{Progress, Taken, TlsSession};
use pyo3::ffi;
use pyo3::prelude::*;

use super::direct::DirectSession;
use super::object::ObjectSession;
use crate::hooks::hooks;
use crate::raw::Ref;

/// A session; an error is an exception.
#[derive(Debug)]
pub(crate) enum Session {
    /// Over `ssl.SSLObject` and its `MemoryBIO`s.
    Object(ObjectSession),
    /// Directly over the `SSL` of an `ssl.SSLObject`.
    Direct(DirectSession),
}

impl Session {
    /// The session of an SSLObject that waits for its peer, and of the BIOs that it was made with.
    pub(super) fn new(
        object: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
    ) -> PyResult<Session> {
        match DirectSession::new(object)? {
            Some(session) => Ok(Session::Direct(session)),
            None => {
                hooks().get(object.py(), "check_tls_not_forced")?.call0()?;
                ObjectSession::new(object, incoming, outgoing).map(Session::Object)
            }
        }
    }

    /// Its name in the environment's switch.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Session::Object(_) => "object",
            Session::Direct(_) => "direct",
        }
    }

    /// Visits what the session refers to.
    ///
    /// # Safety
    /// For `tp_traverse`.
    pub(super) unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        match self {
            // SAFETY: by contract.
            Session::Object(session) => unsafe { session.traverse(visit, arg) },
            // SAFETY: by contract.
            Session::Direct(session) => unsafe { session.traverse(visit, arg) },
        }
    }
}

macro_rules! forward {
    ($self:ident, $session:ident => $call:expr) => {
        match $self {
            Session::Object($session) => $call,
            Session::Direct($session) => $call,
        }
    };
}

impl TlsSession for Session {
    type Error = Ref;

    fn feed(&self, ciphertext: &[u8]) -> Result<(), Ref> {
        forward!(self, session => session.feed(ciphertext))
    }

    fn unread(&self) -> usize {
        forward!(self, session => session.unread())
    }

    fn has_more(&self) -> bool {
        forward!(self, session => session.has_more())
    }

    fn output_len(&self) -> usize {
        forward!(self, session => session.output_len())
    }

    fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), Ref> {
        forward!(self, session => session.take_output(sink))
    }

    fn handshake(&self) -> Result<Progress, Ref> {
        forward!(self, session => session.handshake())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<Taken, Ref> {
        forward!(self, session => session.read(buffer))
    }

    fn write(&self, plaintext: &[u8]) -> Result<Option<usize>, Ref> {
        forward!(self, session => session.write(plaintext))
    }

    fn shutdown(&self) -> Result<Progress, Ref> {
        forward!(self, session => session.shutdown())
    }
}

/// The interpreter. A session is called by its transport alone, whose methods Python calls.
#[inline(always)]
pub(super) fn attached<'py>() -> Python<'py> {
    // SAFETY: as above: on a thread that is attached.
    unsafe { Python::assume_attached() }
}

/// The exception itself.
#[cold]
pub(super) fn value_of(py: Python<'_>, error: PyErr) -> Ref {
    error.into_value(py).into_bound(py).into_any().into()
}
