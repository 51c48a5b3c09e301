//! The receiving half: datagrams and errors, as calls of the protocol.

use std::io;

use oxloop_engine::{Key, Name};
use pyo3::ffi;
use pyo3::prelude::*;

use super::super::read::call_method;
use super::super::{Transport, address};
use crate::errors::os_error;
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::raw::Ref;

impl Transport<'_> {
    /// A datagram is in the engine's buffer.
    pub(crate) fn datagram_received(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let engine = owner.engine();
        let Some(conn) = engine.conn(key).map(|conn| conn.clone_ref(py)) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        let mailbox = this.mailbox()?;
        let (bytes, from) = engine.datagram();
        // SAFETY: copies the bytes; making a bytes object runs no Python.
        let data = unsafe {
            let start = bytes.as_ptr().cast();
            Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, bytes.len() as isize))
        };
        let known = mailbox.peers.borrow_mut().find(py, from);
        let unknown = known.is_none().then(|| Name::from_raw(from));
        drop(engine);
        let sender = match (known, unknown) {
            (Some(object), _) => Ok(object),
            (None, name) => this.new_peer(py, name),
        };
        let (data, sender) = match (data, sender) {
            (Ok(data), Ok(sender)) => (data, sender),
            (Err(error), _) | (_, Err(error)) => {
                return this.fatal_error(py, error, this.tail.kind.read_error());
            }
        };
        let result = this.call_protocol(py, |protocol| call_received(py, protocol, &data, &sender));
        match result {
            Ok(_) => Ok(()),
            Err(error) => this.report_failed(py, "datagram_received", error),
        }
    }

    /// The address of somebody who was not heard before; None without a name.
    fn new_peer(self, py: Python<'_>, name: Option<Name>) -> PyResult<Ref> {
        match name {
            Some(name) if !name.as_raw().is_empty() => {
                let object: Ref = address::to_python(py, &name.address())?.into();
                let mailbox = self.mailbox()?;
                mailbox.peers.borrow_mut().remember(name, object.clone_ref(py));
                Ok(object)
            }
            _ => Ok(py.None().into_bound(py).into()),
        }
    }

    /// A datagram could not be sent, or the socket had an error to tell.
    pub(crate) fn datagram_failed(
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        error: &io::Error,
    ) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        let error = os_error(py, error);
        if !error.is_instance_of::<pyo3::exceptions::PyOSError>(py) {
            return this.fatal_error(py, error, this.tail.kind.read_error());
        }
        let error: Ref = error.into_value(py).into_bound(py).into_any().into();
        let told = this.call_protocol(py, |protocol| {
            call_method(py, protocol, &hooks().names.error_received, Some(&error)).map(drop)
        });
        match told {
            Ok(_) => Ok(()),
            Err(error) => this.report_failed(py, "error_received", error),
        }
    }

    /// A callback failed: as from any other callback of the loop, nothing ends by it but by
    /// SystemExit and KeyboardInterrupt, the run.
    #[cold]
    fn report_failed(self, py: Python<'_>, name: &str, error: PyErr) -> PyResult<()> {
        if is_exit(py, &error) {
            return Err(error);
        }
        let report = hooks().get(py, "report_protocol_error")?;
        report.call1((self.bind(py), name, error.into_value(py))).map(drop)
    }
}

/// `protocol.datagram_received(data, sender)`, without a bound method in between.
#[inline]
fn call_received(py: Python<'_>, protocol: &Ref, data: &Ref, sender: &Ref) -> PyResult<()> {
    let arguments = [std::ptr::null_mut(), protocol.as_ptr(), data.as_ptr(), sender.as_ptr()];
    let name = hooks().names.datagram_received.as_ptr();
    // SAFETY: live objects; the place before the arguments is ours.
    unsafe {
        let start = arguments.as_ptr().add(1);
        let count = 3 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result = ffi::PyObject_VectorcallMethod(name, start, count, std::ptr::null_mut());
        Ref::from_owned(py, result).map(drop)
    }
}
