//! How a TLS connection ends: as the transport below does, and once.

use oxloop_engine::{Farewell, TlsSession};
use pyo3::Borrowed;
use pyo3::exceptions::{PyConnectionAbortedError, PyTimeoutError};
use pyo3::prelude::*;

use super::Tls;
use super::below::Carrier;
use crate::hooks::hooks;
use crate::raw::Ref;
use crate::transport::read::call_method;

/// What is said when the protocol's `eof_received` fails.
pub(super) const END_FAILED: &str = "Error calling eof_received()";

impl Tls<'_> {
    /// Delivers no more, sends what was written, says goodbye, then closes the transport below.
    pub(super) fn close(self, py: Python<'_>) -> PyResult<()> {
        self.tail.closing.set(true);
        self.take_last_words(py)?;
        let Some(pump) = self.pump() else { return Ok(()) };
        match pump.close() {
            Farewell::Abort => self.force_close(py, None),
            Farewell::Already => Ok(()),
            Farewell::Begun => {
                self.limit_farewell(py)?;
                if pump.is_busy() {
                    // Called from within the session: whoever drives the pump goes on.
                    return Ok(());
                }
                self.go_on(py)
            }
        }
    }

    /// What was written to a TLS transport above this one belongs to what was written here.
    fn take_last_words(self, py: Python<'_>) -> PyResult<()> {
        let Some(upper) = self.upper(py) else { return Ok(()) };
        Tls::of(&upper).map_or(Ok(()), |upper| upper.send_written(py))
    }

    /// From here on, the end may take only so long.
    fn limit_farewell(self, py: Python<'_>) -> PyResult<()> {
        let timeout = self.tail.shutdown_timeout.get(py);
        self.set_timer(py, timeout, "_check_shutdown_timeout")
    }

    /// Drops what cannot be sent at once and loses the connection.
    pub(super) fn force_close(self, py: Python<'_>, error: Option<Ref>) -> PyResult<()> {
        self.tail.closing.set(true);
        self.take_last_words(py)?;
        self.send_written(py)?;
        if let Some(pump) = self.pump() {
            pump.abort();
        }
        let Some(lower) = self.lower(py) else { return Ok(()) };
        Carrier::of(&lower).map_or(Ok(()), |lower| lower.force_close(py, error))
    }

    /// Reports an error and ends the connection with it. The peer gets the alert, if there is one.
    #[cold]
    pub(super) fn fail(self, py: Python<'_>, error: Ref, message: &str) -> PyResult<()> {
        self.tail.closing.set(true);
        self.send_alert(py)?;
        if let Some(pump) = self.pump() {
            pump.abort();
        }
        let Some(lower) = self.lower(py) else { return Ok(()) };
        Carrier::of(&lower).map_or(Ok(()), |lower| lower.fatal(py, error, message))
    }

    fn send_alert(self, py: Python<'_>) -> PyResult<()> {
        let Some(pump) = self.pump().filter(|pump| pump.session().output_len() > 0) else {
            return Ok(());
        };
        self.send_output(py, &pump)?;
        // Once: the connection is about to be aborted.
        self.below(py).map_or(Ok(()), |below| below.flush(py))
    }

    pub(super) fn handshake_failed(self, py: Python<'_>, error: Ref) -> PyResult<()> {
        self.stop_timer(py)?;
        let message = hooks().get(py, "tls_handshake_message")?.call1((error.bind(py),))?;
        self.fail(py, error.clone_ref(py), &message.extract::<String>()?)?;
        self.wake_waiter(py, Some(&error))?;
        self.report_accepted(py, &error)
    }

    /// asyncio says in debug mode that a server's connection could not begin.
    fn report_accepted(self, py: Python<'_>, error: &Ref) -> PyResult<()> {
        if !self.tail.accepted.replace(false) {
            return Ok(());
        }
        let Some(owner) = self.owner(py).filter(|owner| owner.is_debug()) else { return Ok(()) };
        let protocol = self.tail.protocol.get(py);
        let protocol = protocol.as_ref().map(|protocol| protocol.bind(py).clone());
        let report = hooks().get(py, "report_tls_accept_error")?;
        report.call1((&owner.0, error.bind(py), self.bind(py), protocol)).map(drop)
    }

    /// The stream ended, and nobody had said goodbye: somebody may have cut it. What was written is
    /// still sent.
    pub(super) fn truncated(self, py: Python<'_>) -> PyResult<()> {
        let told = self.tell_end(py);
        self.guard(py, told, END_FAILED)?;
        self.tail.closing.set(true);
        let error = hooks().get(py, "tls_truncation")?.call0()?;
        self.tail.verdict.set(Some(error.into()));
        self.limit_farewell(py)
    }

    /// Both have said goodbye, or one of them for both. The time limit stays until all is sent.
    pub(super) fn all_said(self, py: Python<'_>) -> PyResult<()> {
        if self.tail.timer.as_ptr().is_null() {
            self.limit_farewell(py)?;
        }
        let Some(lower) = self.lower(py) else { return Ok(()) };
        Carrier::of(&lower).map_or(Ok(()), |lower| lower.close(py))
    }

    /// The transport below has ended. In the connection's context.
    pub(crate) fn lower_lost(self, py: Python<'_>, error: Option<Ref>) -> PyResult<()> {
        let tail = self.tail;
        let keep_alive = self.reference();
        tail.closing.set(true);
        tail.lost.set(tail.lost.get().saturating_add(1));
        let pump = tail.pump.replace(None);
        pump.inspect(|pump| pump.abort());
        let stopped = self.stop_timer(py);
        let error = error.or_else(|| tail.verdict.get(py));
        let (protocol, owner) = (tail.protocol.take(), tail.owner.take());
        tail.inflow.set(None);
        tail.verdict.set(None);
        let told = match &protocol {
            Some(protocol) if tail.connected.get() => self.tell_lost(py, protocol, error.as_ref()),
            _ => Ok(()),
        };
        let error = match error {
            None if tail.waiter.is_some() => {
                let text = "SSL handshake was aborted";
                let error = PyConnectionAbortedError::new_err(text).into_value(py);
                Some(error.into_bound(py).into_any().into())
            }
            error => error,
        };
        let woken = self.wake_waiter(py, error.as_ref());
        self.forget_loop(py);
        drop((protocol, owner, keep_alive));
        told.and(stopped).and(woken)
    }

    fn tell_lost(self, py: Python<'_>, protocol: &Ref, error: Option<&Ref>) -> PyResult<()> {
        if let Some(upper) = Tls::of(protocol) {
            return upper.lower_lost(py, error.map(|error| error.clone_ref(py)));
        }
        let name = &hooks().names.connection_lost;
        let nothing: Ref = py.None().into_bound(py).into();
        let error = match error {
            Some(error) if self.tail.streaming.get() => {
                // A reader that is given an error forgets the data that it has.
                let tell = hooks().get(py, "tell_stream_of_truncation")?;
                let told = tell.call1((protocol.bind(py), error.bind(py)))?.is_truthy()?;
                if told { &nothing } else { error }
            }
            Some(error) => error,
            None => &nothing,
        };
        call_method(py, protocol, name, Some(error)).map(drop)
    }

    pub(super) fn py_check_handshake_timeout(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        this.tail.timer.set(None);
        let Some(pump) = this.pump().filter(|pump| pump.is_handshaking()) else { return Ok(()) };
        drop(pump);
        let timeout = this.tail.handshake_timeout.get(py);
        let text = hooks().get(py, "tls_handshake_timeout_message")?;
        let text = text.call1((timeout.as_ref().map(|timeout| timeout.bind(py)),))?;
        let error = PyConnectionAbortedError::new_err(text.unbind()).into_value(py);
        let error: Ref = error.into_bound(py).into_any().into();
        this.fail(py, error.clone_ref(py), "Fatal error on transport")?;
        this.report_accepted(py, &error)
    }

    pub(super) fn py_check_shutdown_timeout(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        this.tail.timer.set(None);
        let error = PyTimeoutError::new_err("SSL shutdown timed out").into_value(py);
        this.force_close(py, Some(error.into_bound(py).into_any().into()))
    }

    pub(super) fn py_close(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        if this.tail.closing.get() {
            return Ok(());
        }
        this.close(py)
    }

    pub(super) fn py_abort(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        this.force_close(py, None)
    }

    pub(super) fn py_force_close(
        py: Python<'_>,
        this: Tls<'_>,
        error: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        this.force_close(py, (!error.is_none()).then(|| Ref::from(&*error)))
    }

    /// Whether `protocol` is the one that is called, the connection is open, and nobody has assigned
    /// to an attribute of the transport.
    pub(crate) fn is_open_for(self, py: Python<'_>, protocol: &Ref) -> bool {
        let tail = self.tail;
        let usual = tail.dict.get().is_null() && tail.protocol.as_ptr() == protocol.as_ptr();
        usual && Tls::py_is_closing(py, self).is_ok_and(|closing| !closing)
    }

    pub(super) fn py_is_closing(py: Python<'_>, this: Tls<'_>) -> PyResult<bool> {
        let lower = this.lower(py);
        let below = lower.as_ref().and_then(Carrier::of);
        let ending = below.is_some_and(|lower| lower.is_ending(py));
        Ok(this.tail.closing.get() || ending)
    }

    /// The finalizer: nobody closed the transport.
    pub(super) fn abandon(self, py: Python<'_>) -> PyResult<()> {
        if self.tail.closing.replace(true) {
            return Ok(());
        }
        hooks().get(py, "warn_unclosed")?.call1((self.bind(py),)).map(drop)
    }
}
