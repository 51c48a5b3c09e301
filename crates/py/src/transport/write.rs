//! The writing half: what Python gives us to send, and flow control back to the protocol.

use std::io;

use oxloop_engine::{Flushed, Key, Limits, Wrote};
use pyo3::Borrowed;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::read::call_method;
use super::{Tls, Transport};
use crate::errors::os_error;
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::host::HeldBytes;
use crate::raw::{Arguments, Ref, View};

/// Writes after the connection is lost that go without a warning; asyncio's constant.
pub(super) const QUIET_LOST_WRITES: u32 = 5;

const WRITE_AFTER_EOF: &str = "Cannot call write() after write_eof()";
const WRITE_IN_SENDFILE: &str = "unable to write; sendfile is in progress";

impl Transport<'_> {
    #[inline]
    pub(super) fn py_write(
        py: Python<'_>,
        this: Transport<'_>,
        data: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        this.check_type(py, &data)?;
        this.check_open(WRITE_AFTER_EOF, WRITE_IN_SENDFILE)?;
        this.send(py, &data)
    }

    /// `write` for native code.
    pub(crate) fn write_slice(self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        self.check_open(WRITE_AFTER_EOF, WRITE_IN_SENDFILE)?;
        self.send_bytes(py, bytes, || None)
    }

    pub(super) fn py_writelines(
        py: Python<'_>,
        this: Transport<'_>,
        lines: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        this.check_open(
            "Cannot call writelines() after write_eof()",
            "unable to writelines; sendfile is in progress",
        )?;
        // All of them are looked at before one is sent: a bad one leaves nothing half done.
        let lines = lines.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        for line in &lines {
            this.check_type(py, line)?;
        }
        for line in &lines {
            this.send(py, line)?;
        }
        Ok(())
    }

    /// Sends or queues a bytes-like object, as it is at this moment.
    #[inline]
    pub(super) fn send(self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return self
                .send_bytes(py, bytes.as_bytes(), || Some(HeldBytes::new(bytes.as_any().into())));
        }
        let view = View::readable(data)?;
        let sent = self.send_bytes(py, view.bytes(), || None);
        drop(view);
        sent
    }

    #[inline]
    fn send_bytes(
        self,
        py: Python<'_>,
        bytes: &[u8],
        hold: impl FnOnce() -> Option<HeldBytes>,
    ) -> PyResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.tail.lost.get() > 0 {
            return self.note_lost_write(py);
        }
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else {
            return self.note_lost_write(py);
        };
        let wrote = owner.engine().write(stream, bytes, hold);
        self.wrote(py, wrote)?;
        if owner.is_running() { Ok(()) } else { self.flush_now(py) }
    }

    /// Sends what is queued. Whoever writes between two runs may look at the other end before the
    /// next, which may never come.
    #[cold]
    pub(super) fn flush_now(self, py: Python<'_>) -> PyResult<()> {
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let flushed = owner.engine().flush_now(stream);
        match flushed {
            Ok(()) => Ok(()),
            Err(error) => self.fatal_error(py, os_error(py, &error), self.tail.kind.write_error()),
        }
    }

    fn wrote(self, py: Python<'_>, wrote: Wrote) -> PyResult<()> {
        match wrote {
            Wrote::Fine => Ok(()),
            Wrote::Pause => self.tell_flow(py, &hooks().names.pause_writing, "pause_writing"),
            Wrote::Closed => self.note_lost_write(py),
            Wrote::Failed(error) => {
                self.fatal_error(py, os_error(py, &error), self.tail.kind.write_error())
            }
        }
    }

    /// What was queued has been sent but for more than the high mark.
    pub(crate) fn full(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        this.call_protocol(py, |_| this.wrote(py, Wrote::Pause)).map(drop)
    }

    /// What was queued has been sent, or enough of it.
    pub(crate) fn flushed(
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        flushed: Flushed,
    ) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        if flushed.resume
            && let Some(resumed) = this.call_protected(py, |upper| upper.lower_has_room(py))
        {
            resumed?;
        } else if flushed.resume {
            // A step of the loop, not a call of the protocol: nobody is in its context yet.
            let told = this.call_protocol(py, |_| {
                this.tell_flow(py, &hooks().names.resume_writing, "resume_writing")
            });
            told?;
        }
        let settled = owner.engine().settle(key);
        if settled.finished {
            this.lose_later(py, None)?;
        }
        Ok(())
    }

    pub(crate) fn write_failed(
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        error: &io::Error,
    ) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        this.fatal_error(py, os_error(py, error), this.tail.kind.write_error())?;
        this.lose_file(py, || os_error(py, error))
    }

    /// The run is over, by an exception: what a TLS transport was given leaves now.
    pub(crate) fn fill_now(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(protocol) = Transport::of(&conn).and_then(|this| this.tail.protocol.get(py))
        else {
            return Ok(());
        };
        Tls::of(&protocol).map_or(Ok(()), |upper| upper.fill_now(py))
    }

    /// The stream is about to be flushed: a TLS transport has something to encrypt.
    pub(crate) fn fill(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        this.call_protected(py, |upper| upper.fill(py)).unwrap_or(Ok(()))
    }

    pub(super) fn tell_flow(self, py: Python<'_>, name: &Ref, what: &str) -> PyResult<()> {
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        if let Some(upper) = Tls::of(&protocol) {
            upper.lower_full();
            return Ok(());
        }
        match call_method(py, &protocol, name, None) {
            Ok(_) => Ok(()),
            Err(error) if is_exit(py, &error) => Err(error),
            Err(error) => {
                let report = hooks().get(py, "report_flow_error")?;
                report.call1((self.bind(py), what, error.into_value(py))).map(drop)
            }
        }
    }

    #[cold]
    pub(super) fn note_lost_write(self, py: Python<'_>) -> PyResult<()> {
        let lost = self.tail.lost.get();
        self.tail.lost.set(lost.saturating_add(1).max(1));
        if lost >= QUIET_LOST_WRITES {
            hooks().get(py, self.tail.kind.lost_write_hook())?.call0()?;
        }
        Ok(())
    }

    #[inline]
    fn check_type(self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let fits = data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>();
        if fits {
            return Ok(());
        }
        let name = data.get_type().name()?;
        let text = hooks().get(py, "write_type_error")?.call1((name,))?;
        Err(PyTypeError::new_err(text.unbind()))
    }

    #[inline]
    fn check_open(self, after_eof: &'static str, in_sendfile: &'static str) -> PyResult<()> {
        if self.tail.eof_written.get() {
            return Err(PyRuntimeError::new_err(after_eof));
        }
        if self.tail.file_waiter.is_some() {
            return Err(PyRuntimeError::new_err(in_sendfile));
        }
        Ok(())
    }

    pub(crate) fn write_eof(self, py: Python<'_>) -> PyResult<()> {
        if self.tail.closing.get() || self.tail.eof_written.replace(true) {
            return Ok(());
        }
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let ended = owner.engine().write_eof(stream);
        match ended {
            Ok(()) => Ok(()),
            Err(error) => self.fatal_error(py, os_error(py, &error), self.tail.kind.write_error()),
        }
    }

    pub(super) fn py_write_eof(py: Python<'_>, this: Transport<'_>) -> PyResult<()> {
        this.write_eof(py)
    }

    pub(super) fn py_can_write_eof(_py: Python<'_>, _this: Transport<'_>) -> PyResult<bool> {
        Ok(true)
    }

    pub(super) fn py_buffer_size<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let size = match (this.owner(py), this.stream()) {
            (Some(owner), Some(stream)) => owner.engine().buffered(stream),
            _ => 0,
        };
        Ok(size.into_pyobject(py)?.into_any())
    }

    fn limits(self, py: Python<'_>) -> Limits {
        match (self.owner(py), self.stream()) {
            (Some(owner), Some(stream)) => owner.engine().limits(stream),
            _ => Limits::default(),
        }
    }

    pub(super) fn py_limits<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let limits = this.limits(py);
        Ok((limits.low, limits.high).into_pyobject(py)?.into_any())
    }

    pub(super) fn get_high_water<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.limits(py).high.into_pyobject(py)?.into_any())
    }

    pub(super) fn get_low_water<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.limits(py).low.into_pyobject(py)?.into_any())
    }

    /// `set_write_buffer_limits(high=None, low=None)`, with asyncio's defaults and errors.
    pub(super) fn py_set_limits(
        py: Python<'_>,
        this: Transport<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<()> {
        // SAFETY: borrowed for the call.
        let positional = unsafe {
            let given = arguments.positional.iter();
            given.map(|&argument| Bound::from_borrowed_ptr(py, argument)).collect::<Vec<_>>()
        };
        let positional = pyo3::types::PyTuple::new(py, positional)?;
        let keywords = arguments.keywords(py)?;
        let computed =
            hooks().get(py, "write_buffer_limits")?.call(positional, keywords.as_ref())?;
        let (low, high): (usize, usize) = computed
            .extract()
            .map_err(|_| PyValueError::new_err("write buffer limits must be sizes in bytes"))?;
        let (Some(owner), Some(stream)) = (this.owner(py), this.stream()) else { return Ok(()) };
        let wrote = owner.engine().set_limits(stream, Limits { low, high });
        this.wrote(py, wrote)
    }

    pub(super) fn py_is_write_blocked(py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(match (this.owner(py), this.stream()) {
            (Some(owner), Some(stream)) => owner.engine().is_blocked(stream),
            _ => false,
        })
    }

    pub(super) fn get_protocol_paused(py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(match (this.owner(py), this.stream()) {
            (Some(owner), Some(stream)) => owner.engine().is_write_paused(stream),
            _ => false,
        })
    }

    /// Whether `protocol` is the one that is called, the connection is open, and nobody has assigned
    /// to an attribute of the transport.
    pub(crate) fn is_open_for(self, protocol: &Ref) -> bool {
        let tail = self.tail;
        let usual = tail.dict.get().is_null() && tail.protocol.as_ptr() == protocol.as_ptr();
        usual && !tail.closing.get()
    }
}
