//! How a connection ends: once, and never inside the call that ends it.

use oxloop_engine::Closing;
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::read::call_method;
use super::{Tls, Transport};
use crate::errors::os_error;
use crate::hooks::hooks;
use crate::raw::{Arguments, Lookup, Ref};

impl Transport<'_> {
    /// Reads no more, sends what is queued, then loses the connection.
    pub(crate) fn close(self, py: Python<'_>) -> PyResult<()> {
        if self.tail.closing.replace(true) {
            return Ok(());
        }
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let closing = owner.engine().close(stream);
        match closing {
            Closing::Now => self.lose_later(py, None),
            // Nobody is left to say when the connection is lost: the error of a closed loop.
            Closing::Already if owner.is_closed() => self.lose_later(py, None),
            Closing::AfterFlush | Closing::Already => Ok(()),
            Closing::Failed(error) => {
                self.fatal_error(py, os_error(py, &error), self.tail.kind.write_error())
            }
        }
    }

    /// Drops what is queued and loses the connection.
    pub(crate) fn force_close(self, py: Python<'_>, error: Option<Ref>) -> PyResult<()> {
        if self.tail.lost.get() > 0 {
            return Ok(());
        }
        self.tail.closing.set(true);
        if let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) {
            owner.engine().abort(stream);
        }
        self.lose_later(py, error)
    }

    /// Reports an error and ends the connection with it. OSErrors are the network's business and
    /// only worth a debug message.
    #[cold]
    pub(super) fn fatal_error(self, py: Python<'_>, error: PyErr, message: &str) -> PyResult<()> {
        let error: Ref = error.into_value(py).into_bound(py).into_any().into();
        self.fatal_value(py, error, message)
    }

    pub(super) fn fatal_value(self, py: Python<'_>, error: Ref, message: &str) -> PyResult<()> {
        let report = hooks().get(py, self.tail.kind.error_hook())?;
        let reported = report.call1((self.bind(py), error.bind(py), message));
        self.force_close(py, Some(error))?;
        reported.map(drop)
    }

    /// `connection_lost` in the next turn; only the first call counts.
    pub(super) fn lose_later(self, py: Python<'_>, error: Option<Ref>) -> PyResult<()> {
        if self.tail.lost.get() > 0 {
            return Ok(());
        }
        let Some(owner) = self.owner(py) else { return Ok(()) };
        let Some(context) = self.tail.context.get(py) else { return Ok(()) };
        let name = hooks().names._call_connection_lost.bind(py).cast::<PyString>()?;
        let callback = self.bind(py).getattr(name)?;
        let error = error.map_or_else(|| py.None().into_bound(py), |error| error.bind(py).clone());
        self.tail.lost.set(1);
        let scheduled = owner.schedule(py, &owner.0, &callback, &[error], &context);
        if scheduled.is_err() {
            // There was no memory: whoever calls again may have more.
            self.tail.lost.set(0);
        }
        scheduled
    }

    /// Tells the protocol and lets go of everything.
    pub(super) fn py_connection_lost(
        py: Python<'_>,
        this: Transport<'_>,
        error: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        let keep_alive = this.reference();
        let told = match this.tail.protocol.get(py) {
            Some(protocol) if this.tail.connected.get() => {
                if let Some(upper) = Tls::of(&protocol) {
                    let error = (!error.is_none()).then(|| Ref::from(&*error));
                    upper.lower_lost(py, error)
                } else {
                    let error = Ref::from(&*error);
                    call_method(py, &protocol, &hooks().names.connection_lost, Some(&error))
                        .map(drop)
                }
            }
            _ => Ok(()),
        };
        let woken = this.lose_file(py, || {
            pyo3::exceptions::PyConnectionError::new_err("Connection is closed by peer")
        });
        let released = this.let_go(py);
        drop(keep_alive);
        told.and(released).and(woken)
    }

    /// Releases the stream and closes the socket. Safe to call at any time, more than once.
    pub(super) fn let_go(self, py: Python<'_>) -> PyResult<()> {
        self.remember_addresses(py);
        if let (Some(owner), Some(stream)) = (self.owner(py), self.tail.stream.take()) {
            let conn = owner.engine().release(stream);
            drop(conn);
        }
        let closed = self.close_socket(py);
        let tail = self.tail;
        let reading = (tail.protocol.take(), tail.inflow.take());
        let gone = (reading, tail.owner.take(), tail.context.take());
        self.forget_loop(py);
        let detached = match tail.server.take() {
            Some(server) => self.detach(py, &server),
            None => Ok(()),
        };
        drop(gone);
        closed.and(detached)
    }

    fn close_socket(self, py: Python<'_>) -> PyResult<()> {
        self.close_duplicate();
        let socket = &self.tail.socket;
        if let Some(sock) = self.tail.sock.take() {
            socket.bare.set(false);
            return sock.bind(py).method0("close").map(drop);
        }
        if socket.bare.replace(false)
            && let Some(fd) = socket.fd.get()
        {
            fd.close();
        }
        Ok(())
    }

    fn close_duplicate(self) {
        if let Some(duplicate) = self.tail.duplicate.take() {
            duplicate.close();
        }
    }

    fn detach(self, py: Python<'_>, server: &Ref) -> PyResult<()> {
        let name = hooks().names._detach.bind(py).cast::<PyString>()?;
        if hooks().server_counts_transports {
            server.bind(py).call_method1(name, (self.bind(py),)).map(drop)
        } else {
            server.bind(py).call_method0(name).map(drop)
        }
    }

    /// The finalizer: nobody closed the transport.
    pub(super) fn abandon(self, py: Python<'_>) -> PyResult<()> {
        if !self.is_open() {
            self.close_duplicate();
            return Ok(());
        }
        let warned = hooks().get(py, "warn_unclosed").and_then(|warn| warn.call1((self.bind(py),)));
        self.let_go(py)?;
        warned.map(drop)
    }

    /// Whether there still is a socket.
    pub(super) fn is_open(self) -> bool {
        self.tail.sock.is_some() || self.tail.socket.bare.get()
    }

    pub(crate) fn is_closing(self) -> bool {
        self.tail.closing.get()
    }

    pub(super) fn py_close(py: Python<'_>, this: Transport<'_>) -> PyResult<()> {
        this.close(py)
    }

    pub(super) fn py_abort(py: Python<'_>, this: Transport<'_>) -> PyResult<()> {
        this.force_close(py, None)
    }

    pub(super) fn py_is_closing(_py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(this.tail.closing.get())
    }

    pub(super) fn py_force_close(
        py: Python<'_>,
        this: Transport<'_>,
        error: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        this.force_close(py, (!error.is_none()).then(|| Ref::from(&*error)))
    }

    /// `_fatal_error(exc, message=…)`: asyncio's sslproto calls it.
    pub(super) fn py_fatal_error(
        py: Python<'_>,
        this: Transport<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<()> {
        let Some(&error) = arguments.positional.first() else {
            return Err(pyo3::exceptions::PyTypeError::new_err("_fatal_error() missing exc"));
        };
        // SAFETY: borrowed for the call.
        let error = unsafe { Ref::from_borrowed(error) };
        let given = arguments.positional.get(1).copied();
        // SAFETY: borrowed for the call.
        let given = given.map(|text| unsafe { Bound::from_borrowed_ptr(py, text) });
        let keyword = match arguments.keywords(py)? {
            Some(keywords) => keywords.get_item("message")?,
            None => None,
        };
        match given.or(keyword) {
            Some(message) => this.fatal_value(py, error, &message.extract::<String>()?),
            None => this.fatal_value(py, error, this.tail.kind.unnamed_error()),
        }
    }
}
