//! The writing half of a TLS transport.

use oxloop_engine::{FlowChange, Limits, Pump, TlsSession, TlsStep, Wrote};
use pyo3::Borrowed;
use pyo3::exceptions::{PyMemoryError, PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::Tls;
use super::below::Carrier;
use crate::errors::os_error;
use crate::hooks::hooks;
use crate::host::{HeldBytes, PyHost};
use crate::raw::{Arguments, View};
use crate::transport::types::Kind;
use crate::transport::write::QUIET_LOST_WRITES;

/// What waits for encryption does not wait for others to join it from this size on (bytes).
const AT_ONCE: usize = 64 * 1024;

impl Tls<'_> {
    #[inline]
    pub(super) fn py_write(
        py: Python<'_>,
        this: Tls<'_>,
        data: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        check_type(&data)?;
        this.queue(py, &data)?;
        this.written(py)
    }

    pub(super) fn py_writelines(
        py: Python<'_>,
        this: Tls<'_>,
        lines: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        // All of them are looked at before one is sent: a bad one leaves nothing half done.
        let lines = lines.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        lines.iter().try_for_each(check_type)?;
        for line in &lines {
            this.queue(py, line)?;
        }
        this.written(py)
    }

    /// `write` for native code.
    pub(crate) fn write_slice(self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(pump) = self.pump().filter(|pump| pump.is_open()) else {
            return self.note_lost_write(py);
        };
        pump.write(bytes, || None).map_err(|_| PyMemoryError::new_err(()))?;
        self.written(py)
    }

    /// Puts bytes behind those that wait for encryption, as they are at this moment.
    fn queue(self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let pump = self.pump().filter(|pump| pump.is_open());
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            if bytes.as_bytes().is_empty() {
                return Ok(());
            }
            let Some(pump) = pump else { return self.note_lost_write(py) };
            let hold = || Some(HeldBytes::new(bytes.as_any().into()));
            return pump.write(bytes.as_bytes(), hold).map_err(|_| PyMemoryError::new_err(()));
        }
        let view = View::readable(data)?;
        if view.len() == 0 {
            return Ok(());
        }
        let Some(pump) = pump else { return self.note_lost_write(py) };
        let queued = pump.write(view.bytes(), || None);
        drop(view);
        queued.map_err(|_| PyMemoryError::new_err(()))
    }

    /// Something was queued: it leaves with the next flush, or now if it is much. What is above the
    /// high mark is sent before the writer is told to pause.
    pub(super) fn written(self, py: Python<'_>) -> PyResult<()> {
        let Some(pump) = self.pump().filter(|pump| pump.is_open()) else { return Ok(()) };
        let queued = pump.queued();
        if queued == 0 {
            return Ok(());
        }
        let Some(below) = self.below(py) else { return Ok(()) };
        let waiting = queued + below.buffered(py);
        let much = queued >= AT_ONCE || waiting >= self.tail.write_marks.get().1;
        if !much && !self.owner(py).is_some_and(|owner| owner.is_running()) {
            return self.send_written(py);
        }
        if !much {
            if !self.tail.driving.get() && !pump.is_handshaking() {
                below.fill_later(py);
            }
            return Ok(());
        }
        if !pump.is_busy() {
            self.encrypt_now(py, &pump)?;
        }
        self.pause_if_full(py, &pump)
    }

    /// What was written leaves, as far as the kernel takes it; nothing is delivered meanwhile.
    pub(super) fn send_written(self, py: Python<'_>) -> PyResult<()> {
        let Some(pump) = self.pump().filter(|pump| !pump.is_busy()) else { return Ok(()) };
        self.encrypt_now(py, &pump)?;
        self.below(py).map_or(Ok(()), |below| below.flush(py))
    }

    fn encrypt_now(self, py: Python<'_>, pump: &Pump<PyHost>) -> PyResult<()> {
        loop {
            match pump.next_write() {
                TlsStep::Output => self.send_output(py, pump)?,
                TlsStep::Failed(error) => {
                    return self.fail(py, error, "Fatal error on SSL protocol");
                }
                _ => return Ok(()),
            }
        }
    }

    fn pause_if_full(self, py: Python<'_>, pump: &Pump<PyHost>) -> PyResult<()> {
        let Some(below) = self.below(py) else { return Ok(()) };
        let below = below.buffered(py);
        // Going on again is for the driver to say, not from within a write.
        if pump.is_write_paused() || pump.flow_change(below) != Some(FlowChange::Pause) {
            return Ok(());
        }
        self.call_flow(py, FlowChange::Pause)
    }

    /// Gives what is encrypted to the transport below.
    pub(super) fn send_output(self, py: Python<'_>, pump: &Pump<PyHost>) -> PyResult<()> {
        let below = self.below(py);
        let mut wrote = Wrote::Closed;
        let taken = pump.take_output(|bytes| {
            if let Some(below) = &below {
                wrote = below.write(bytes);
            }
        });
        if let Err(error) = taken {
            return self.fail(py, error, "Fatal error on SSL protocol");
        }
        match wrote {
            Wrote::Fine | Wrote::Closed => below.map_or(Ok(()), |below| below.written(py)),
            Wrote::Pause => {
                pump.set_blocked(true);
                Ok(())
            }
            Wrote::Failed(error) => {
                pump.abort();
                let Some(lower) = self.lower(py) else { return Ok(()) };
                let error = os_error(py, &error).into_value(py).into_bound(py).into_any().into();
                let text = Kind::Stream.write_error();
                Carrier::of(&lower).map_or(Ok(()), |lower| lower.fatal(py, error, text))
            }
        }
    }

    #[cold]
    fn note_lost_write(self, py: Python<'_>) -> PyResult<()> {
        let lost = self.tail.lost.get();
        self.tail.lost.set(lost.saturating_add(1));
        if lost >= QUIET_LOST_WRITES {
            hooks().get(py, "warn_lost_tls_write")?.call0()?;
        }
        Ok(())
    }

    pub(super) fn py_write_eof(_py: Python<'_>, _this: Tls<'_>) -> PyResult<()> {
        Err(PyNotImplementedError::new_err(()))
    }

    pub(super) fn py_can_write_eof(_py: Python<'_>, _this: Tls<'_>) -> PyResult<bool> {
        Ok(false)
    }

    pub(super) fn py_buffer_size<'py>(
        py: Python<'py>,
        this: Tls<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.buffered(py).into_pyobject(py)?.into_any())
    }

    pub(super) fn py_limits<'py>(py: Python<'py>, this: Tls<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.tail.write_marks.get().into_pyobject(py)?.into_any())
    }

    /// `set_write_buffer_limits(high=None, low=None)`, with asyncio's defaults and errors.
    pub(super) fn py_set_limits(
        py: Python<'_>,
        this: Tls<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<()> {
        let (low, high) = marks(py, arguments, "tls_write_limits")?;
        this.set_limits(py, Limits { low, high })
    }

    pub(super) fn set_limits(self, py: Python<'_>, marks: Limits) -> PyResult<()> {
        self.tail.write_marks.set((marks.low, marks.high));
        let Some(pump) = self.pump() else { return Ok(()) };
        let limits = Limits { high: marks.high.saturating_sub(1), ..marks };
        pump.set_limits(limits);
        // So that a writer that pauses here is heard of when the transport below has room.
        if let Some(below) = self.below(py)
            && below.limit(py, limits)?
        {
            pump.set_blocked(true);
        }
        self.pause_if_full(py, &pump)
    }

    pub(super) fn py_read_size<'py>(py: Python<'py>, this: Tls<'_>) -> PyResult<Bound<'py, PyAny>> {
        let unread = this.pump().map_or(0, |pump| pump.session().unread());
        Ok(unread.into_pyobject(py)?.into_any())
    }

    pub(super) fn py_read_limits<'py>(
        py: Python<'py>,
        this: Tls<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.tail.read_marks.get().into_pyobject(py)?.into_any())
    }

    pub(super) fn py_set_read_limits(
        py: Python<'_>,
        this: Tls<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<()> {
        let marks = marks(py, arguments, "tls_read_limits")?;
        this.tail.read_marks.set(marks);
        this.pump().map_or(Ok(()), |pump| this.control_reading(py, &pump))
    }

    /// `_test__append_write_backlog`: asyncio's own tests fill the queue with it.
    pub(super) fn py_append_backlog(
        py: Python<'_>,
        this: Tls<'_>,
        data: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        this.queue(py, &data)
    }

    /// `_set_blocked`: what the view of asyncio's `SSLProtocol` has as `pause_writing`.
    pub(super) fn py_set_blocked(
        py: Python<'_>,
        this: Tls<'_>,
        blocked: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        let blocked = blocked.is_truthy()?;
        let Some(pump) = this.pump() else { return Ok(()) };
        pump.set_blocked(blocked);
        if blocked { Ok(()) } else { this.go_on(py) }
    }

    pub(super) fn get_protocol_paused(_py: Python<'_>, this: Tls<'_>) -> PyResult<bool> {
        Ok(this.pump().is_some_and(|pump| pump.is_write_paused()))
    }
}

/// The water marks that a function of the hooks makes of the arguments `high` and `low`.
fn marks(py: Python<'_>, arguments: Arguments<'_>, name: &str) -> PyResult<(usize, usize)> {
    // SAFETY: borrowed for the call.
    let positional = unsafe {
        let given = arguments.positional.iter();
        given.map(|&argument| Bound::from_borrowed_ptr(py, argument)).collect::<Vec<_>>()
    };
    let positional = pyo3::types::PyTuple::new(py, positional)?;
    let keywords = arguments.keywords(py)?;
    let computed = hooks().get(py, name)?.call(positional, keywords.as_ref())?;
    computed.extract().map_err(|_| PyValueError::new_err("buffer limits must be sizes in bytes"))
}

#[inline]
fn check_type(data: &Bound<'_, PyAny>) -> PyResult<()> {
    let fits = data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>();
    if fits { Ok(()) } else { Err(wrong_type(data)) }
}

#[cold]
fn wrong_type(data: &Bound<'_, PyAny>) -> PyErr {
    match data.get_type().name() {
        Ok(name) => {
            PyTypeError::new_err(format!("data: expecting a bytes-like instance, got {name}"))
        }
        Err(error) => error,
    }
}
