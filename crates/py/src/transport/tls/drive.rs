//! Driving the pump: what the transport below has to tell, and what each step means in Python.

use std::cell::Cell;
use std::io;

use oxloop_engine::{FlowChange, Pump, TlsSession, TlsStep};
use pyo3::exceptions::{PyConnectionResetError, PyMemoryError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::Tls;
use super::below::{Below, Carrier};
use super::buffer::Buffer;
use super::close::END_FAILED;
use crate::errors::os_error;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::host::PyHost;
use crate::native::NativeProtocol;
use crate::raw::{Lookup, Ref, View};
use crate::streams;
use crate::transport::read::call_method;
use crate::transport::types::Kind;

const FATAL: &str = "Fatal error on SSL protocol";
/// asyncio's SSLProtocol is called by the transport below when it reads.
const IN_READING: &str = "Fatal error: protocol.buffer_updated() call failed.";

/// Somebody drives the pump, until this is dropped; also if that panics.
pub(super) struct Driving<'a>(&'a Cell<bool>);

impl<'a> Driving<'a> {
    /// `None` if somebody does already.
    pub(super) fn begin(this: Tls<'a>) -> Option<Driving<'a>> {
        (!this.tail.driving.replace(true)).then_some(Driving(&this.tail.driving))
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Tls<'_> {
    /// Ciphertext is there. In the connection's context.
    pub(crate) fn lower_readable(self, py: Python<'_>) -> PyResult<()> {
        let (owner, stream) = match self.below(py) {
            Some(Below::Stream(owner, stream)) => (owner, stream),
            Some(Below::Tls(lower)) => {
                return Tls::of(&lower).map_or(Ok(()), |lower| lower.lower_readable(py));
            }
            None => return Ok(()),
        };
        let Ok(mut buffer) = Buffer::take() else {
            return self.lower_failed(py, PyMemoryError::new_err(()));
        };
        let received = owner.engine().receive_into(stream, &mut buffer);
        match received {
            Ok(0) => self.lower_ended(py),
            Ok(count) => self.take_in(py, &buffer[..count]),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                _ => self.lower_failed(py, os_error(py, &error)),
            },
        }
    }

    /// Ciphertext has come.
    fn take_in(self, py: Python<'_>, ciphertext: &[u8]) -> PyResult<()> {
        let Some(pump) = self.pump() else { return Ok(()) };
        match pump.feed(ciphertext) {
            Ok(()) => self.go_on(py),
            Err(error) => self.fail(py, error, FATAL),
        }
    }

    /// The peer will send nothing more, goodbye or not.
    pub(crate) fn lower_ended(self, py: Python<'_>) -> PyResult<()> {
        let (Some(pump), Some(owner)) = (self.pump(), self.owner(py)) else { return Ok(()) };
        if owner.is_debug() {
            self.log(py, "received EOF")?;
        }
        let forgiving = pump.is_reading_paused() && !self.tail.streaming.get();
        pump.cut(forgiving || self.context_forgives(py)?);
        self.go_on(py)
    }

    fn context_forgives(self, py: Python<'_>) -> PyResult<bool> {
        let Some(context) = self.tail.ssl_context.get(py) else { return Ok(false) };
        hooks().get(py, "tls_forgives_truncation")?.call1((context.bind(py),))?.is_truthy()
    }

    /// The reader goes on. What has come while it paused, the end included, came while it paused.
    pub(super) fn py_resume(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        let Some(pump) = this.pump().filter(|pump| pump.is_reading_paused()) else {
            return Ok(());
        };
        if !this.tail.resuming.replace(false) {
            // Paused again meanwhile.
            return Ok(());
        }
        if !this.tail.streaming.get() {
            for _ in 0..2 {
                this.lower_readable(py)?;
            }
        }
        pump.set_reading(true);
        this.go_on(py)
    }

    /// The transport below takes no more.
    pub(crate) fn lower_full(self) {
        if let Some(pump) = self.pump() {
            pump.set_blocked(true);
        }
    }

    /// The transport below takes more. In the connection's context.
    pub(crate) fn lower_has_room(self, py: Python<'_>) -> PyResult<()> {
        let Some(pump) = self.pump() else { return Ok(()) };
        pump.set_blocked(false);
        self.go_on(py)
    }

    fn lower_failed(self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let Some(lower) = self.lower(py) else { return Ok(()) };
        let error = error.into_value(py).into_bound(py).into_any().into();
        Carrier::of(&lower)
            .map_or(Ok(()), |lower| lower.fatal(py, error, Kind::Stream.read_error()))
    }

    /// Does everything that can be done now. If that is being done already, whoever does it will
    /// come to what has changed.
    pub(crate) fn go_on(self, py: Python<'_>) -> PyResult<()> {
        let Some(driving) = Driving::begin(self) else { return Ok(()) };
        let keep_alive = self.reference();
        let driven = match (self.pump(), Buffer::take()) {
            (Some(pump), Ok(mut buffer)) => self.drive(py, &pump, &mut buffer),
            (None, _) => Ok(()),
            (_, Err(_)) => self.lower_failed(py, PyMemoryError::new_err(())),
        };
        drop(driving);
        if driven.is_err() {
            // The first error counts.
            let _ = self.go_on_later(py);
        }
        drop(keep_alive);
        driven
    }

    /// The run ends here, and nothing else may ever call for what is still to be done.
    #[cold]
    pub(super) fn go_on_later(self, py: Python<'_>) -> PyResult<()> {
        let (Some(owner), Some(context)) = (self.owner(py), self.context(py)) else {
            return Ok(());
        };
        let callback = self.bind(py).attribute("_go_on")?;
        owner.schedule(py, &owner.0, &callback, &[], &context)
    }

    pub(super) fn py_go_on(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        this.go_on(py)
    }

    fn drive(self, py: Python<'_>, pump: &Pump<PyHost>, buffer: &mut Buffer) -> PyResult<()> {
        loop {
            match pump.next(buffer, self.tail.buffered.get()) {
                TlsStep::Idle => {
                    if !self.tell_flow(py, pump)? {
                        return self.control_reading(py, pump);
                    }
                }
                TlsStep::Offer => {
                    let step = self.offer(py, pump, buffer)?;
                    self.act(py, pump, step, buffer)?;
                }
                step => self.act(py, pump, step, buffer)?,
            }
        }
    }

    fn act(
        self,
        py: Python<'_>,
        pump: &Pump<PyHost>,
        step: TlsStep<Ref>,
        buffer: &Buffer,
    ) -> PyResult<()> {
        match step {
            TlsStep::Output => self.send_output(py, pump),
            TlsStep::Received(count) => self.deliver(py, &buffer[..count]),
            TlsStep::Handshaken => self.handshaken(py),
            TlsStep::HandshakeFailed(error) => self.handshake_failed(py, error),
            TlsStep::Reset => {
                let error = PyConnectionResetError::new_err(()).into_value(py);
                self.handshake_failed(py, error.into_bound(py).into_any().into())
            }
            TlsStep::Ended => self.ended(py),
            TlsStep::Truncated => self.truncated(py),
            TlsStep::Failed(error) => self.fail(py, error, FATAL),
            TlsStep::Closed => self.all_said(py),
            TlsStep::Idle | TlsStep::Offer => Ok(()),
        }
    }

    fn deliver(self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        if NativeProtocol::is(py, protocol.bind(py)) {
            // SAFETY: just asked for.
            let told = unsafe { NativeProtocol::of(py, &protocol) }.receive(py, self.object, data);
            return self.guard(py, told, FATAL);
        }
        if self.tail.protected.get() {
            let told = Tls::of(&protocol).map_or(Ok(()), |upper| upper.take_in(py, data));
            return self.guard(py, told, FATAL);
        }
        // SAFETY: copies the bytes; a null pointer is the exception.
        let data = unsafe {
            let start = data.as_ptr().cast();
            Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, data.len() as isize))
        };
        let told = data.and_then(|data| {
            if let Some(inflow) = streams::fed(py, &self.tail.protocol, &self.tail.inflow) {
                return inflow.get().feed(py, data);
            }
            call_method(py, &protocol, &hooks().names.data_received, Some(&data)).map(drop)
        });
        self.guard(py, told, FATAL)
    }

    /// Reads into the buffer of a BufferedProtocol, by way of ours: while a session runs, Python
    /// may look at the protocol's.
    fn offer(
        self,
        py: Python<'_>,
        pump: &Pump<PyHost>,
        buffer: &mut Buffer,
    ) -> PyResult<TlsStep<Ref>> {
        let Some(protocol) = self.tail.protocol.get(py) else {
            return Ok(pump.read(buffer));
        };
        let names = &hooks().names;
        let given = (|| {
            let hint: Ref = pyo3::types::PyInt::new(py, pump.session().unread()).into();
            let given = call_method(py, &protocol, &names.get_buffer, Some(&hint))?;
            let view = View::writable(given.bind(py))?;
            if view.len() == 0 {
                return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
            }
            Ok(view)
        })();
        let mut view = match given {
            Ok(view) => view,
            Err(error) => return self.guard(py, Err(error), FATAL).map(|()| TlsStep::Idle),
        };
        let room = buffer.len().min(view.len());
        let step = pump.read(&mut buffer[..room]);
        let TlsStep::Received(count) = step else { return Ok(step) };
        view.bytes_mut()[..count].copy_from_slice(&buffer[..count]);
        drop(view);
        let told = count.into_pyobject(py).map_err(PyErr::from).and_then(|count| {
            let count = count.into_any().into();
            call_method(py, &protocol, &names.buffer_updated, Some(&count)).map(drop)
        });
        self.guard(py, told, FATAL).map(|()| TlsStep::Idle)
    }

    fn handshaken(self, py: Python<'_>) -> PyResult<()> {
        self.stop_timer(py)?;
        self.tail.shaken.set(true);
        if let Some(owner) = self.owner(py).filter(|owner| owner.is_debug()) {
            let now: f64 = owner.0.method0("time")?.extract()?;
            let log = hooks().get(py, "log_tls_handshake")?;
            log.call1((self.bind(py), now - self.tail.began.get()))?;
        }
        if !self.tail.connected.replace(true)
            && let Some(protocol) = self.tail.protocol.get(py)
        {
            let transport = self.reference();
            let name = &hooks().names.connection_made;
            let made = call_method(py, &protocol, name, Some(&transport)).map(drop);
            if let Err(error) = made {
                let ends_run = is_exit(py, &error);
                let guarded = self.guard(py, Err(error), IN_READING);
                return if ends_run { guarded.and(self.wake_waiter(py, None)) } else { guarded };
            }
        }
        self.wake_waiter(py, None)
    }

    /// The peer said goodbye.
    fn ended(self, py: Python<'_>) -> PyResult<()> {
        let told = self.tell_end(py);
        self.guard(py, told, END_FAILED)?;
        if self.tail.protected.get() {
            // Who is above still has something to say, and closes this one then.
            return Ok(());
        }
        self.close(py)
    }

    pub(super) fn tell_end(self, py: Python<'_>) -> PyResult<()> {
        if !self.tail.connected.get() || self.tail.end_told.replace(true) {
            return Ok(());
        }
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        if let Some(upper) = Tls::of(&protocol) {
            return upper.lower_ended(py);
        }
        let keep = call_method(py, &protocol, &hooks().names.eof_received, None)?;
        if keep.bind(py).is_truthy()? {
            hooks().get(py, "warn_tls_keep_open")?.call0()?;
        }
        Ok(())
    }

    /// An error of a callback ends the connection; SystemExit and KeyboardInterrupt the run.
    pub(super) fn guard(self, py: Python<'_>, result: PyResult<()>, message: &str) -> PyResult<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if is_exit(py, &error) => Err(error),
            Err(error) => {
                let error = error.into_value(py).into_bound(py).into_any().into();
                self.send_written(py)?;
                self.fail(py, error, message)
            }
        }
    }

    /// Whether the protocol was told something about writing.
    fn tell_flow(self, py: Python<'_>, pump: &Pump<PyHost>) -> PyResult<bool> {
        if !self.tail.connected.get() {
            return Ok(false);
        }
        let Some(below) = self.below(py) else { return Ok(false) };
        match pump.flow_change(below.buffered(py)) {
            None => {
                self.await_room(py, pump);
                Ok(false)
            }
            Some(change) => self.call_flow(py, change).map(|()| true),
        }
    }

    pub(super) fn call_flow(self, py: Python<'_>, change: FlowChange) -> PyResult<()> {
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        if let Some(upper) = Tls::of(&protocol) {
            return match change {
                FlowChange::Pause => {
                    upper.lower_full();
                    Ok(())
                }
                FlowChange::Resume => upper.lower_has_room(py),
            };
        }
        let (name, what) = match change {
            FlowChange::Pause => (&hooks().names.pause_writing, "pause_writing"),
            FlowChange::Resume => (&hooks().names.resume_writing, "resume_writing"),
        };
        match call_method(py, &protocol, name, None) {
            Ok(_) => Ok(()),
            Err(error) if is_exit(py, &error) => Err(error),
            Err(error) => {
                let report = hooks().get(py, "report_flow_error")?;
                report.call1((self.bind(py), what, error.into_value(py))).map(drop)
            }
        }
    }

    /// Ciphertext is taken in while the reader pauses, up to the high mark: so an end is noticed.
    pub(super) fn control_reading(self, py: Python<'_>, pump: &Pump<PyHost>) -> PyResult<()> {
        let full = self.tail.full.get();
        if !full && !pump.is_reading_paused() {
            return Ok(());
        }
        let (low, high) = self.tail.read_marks.get();
        let unread = pump.session().unread();
        let reading = if full && (unread <= low || !pump.is_open()) {
            true
        } else if !full && pump.is_open() && unread >= high {
            false
        } else {
            return Ok(());
        };
        self.tail.full.set(!reading);
        let Some(below) = self.below(py) else { return Ok(()) };
        below.set_reading(py, reading).or_else(|error| self.lower_failed(py, error))
    }
}
