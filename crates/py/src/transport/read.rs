//! The reading half: data, its end, and its errors, as calls of the protocol.

use std::io;

use oxloop_engine::Key;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::types::Kind;
use super::{Tail, Transport, child};
use crate::errors::os_error;
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::native::NativeProtocol;
use crate::raw::{NewBytes, Ref, View};
use crate::streams;

const DATA_RECEIVED_FAILED: &str = "Fatal error: protocol.data_received() call failed.";

impl Transport<'_> {
    /// Data is in the engine's buffer.
    pub(crate) fn received(py: Python<'_>, owner: &Loop, key: Key, count: usize) -> PyResult<()> {
        let Some(conn) = conn(py, owner, key) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        if this.tail.native.get() {
            let buffer = owner.engine().lend_received();
            let told = this.tell_native(py, buffer.get(..count).unwrap_or_default());
            owner.engine().take_back(buffer);
            return told;
        }
        let data = {
            let engine = owner.engine();
            let bytes = engine.received(count);
            // SAFETY: copies `count` bytes; making a bytes object runs no Python.
            unsafe {
                let start = bytes.as_ptr().cast();
                Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, bytes.len() as isize))
            }
        };
        this.deliver(py, data)
    }

    /// `data_received` of a native protocol: the bytes stay where they are.
    fn tell_native(self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        let told = self.call_protocol(py, |protocol| {
            if !NativeProtocol::is(py, protocol.bind(py)) {
                return Ok(());
            }
            // SAFETY: just asked for.
            unsafe { NativeProtocol::of(py, protocol) }.receive(py, self.object, bytes)
        });
        self.guard(py, told, DATA_RECEIVED_FAILED)
    }

    /// As [`Transport::plenty`]: a buffer as large as what comes is there already.
    fn plenty_for_native(
        self,
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        size: usize,
    ) -> PyResult<()> {
        let mut buffer = owner.engine().lend_received();
        if buffer.len() < size {
            if buffer.try_reserve_exact(size - buffer.len()).is_err() {
                return self.not_received(py, &io::ErrorKind::OutOfMemory.into());
            }
            buffer.resize(size, 0);
        }
        let received = owner.engine().receive_into(key, &mut buffer);
        let told = match received {
            Ok(0) => Transport::ended(py, owner, key),
            Ok(count) => self.tell_native(py, buffer.get(..count).unwrap_or_default()),
            Err(error) => self.not_received(py, &error),
        };
        owner.engine().take_back(buffer);
        told
    }

    /// There is so much data that it is received into the object that is delivered.
    pub(crate) fn plenty(py: Python<'_>, owner: &Loop, key: Key, size: usize) -> PyResult<()> {
        let Some(conn) = conn(py, owner, key) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        if this.tail.native.get() {
            return this.plenty_for_native(py, owner, key, size);
        }
        let room = match NewBytes::with_room(py, size) {
            Ok(room) => room,
            Err(error) => return this.fatal_error(py, error, this.tail.kind.read_error()),
        };
        match room.fill(py, |bytes| owner.engine().receive_into(key, bytes)) {
            Ok((0, _)) => Transport::ended(py, owner, key),
            Ok((_, data)) => this.deliver(py, data),
            Err(error) => this.not_received(py, &error),
        }
    }

    fn deliver(self, py: Python<'_>, data: PyResult<Ref>) -> PyResult<()> {
        let data = match data {
            Ok(data) => data,
            // The bytes are read and cannot be delivered: better no connection than a gap.
            Err(error) => return self.fatal_error(py, error, self.tail.kind.read_error()),
        };
        let Tail { protocol, inflow, .. } = self.tail;
        let result = match streams::fed(py, protocol, inflow) {
            Some(inflow) => inflow.get().feed(py, data).map(Some),
            None => self.call_protocol(py, |protocol| {
                if self.tail.of_child.get() && child::deliver(py, protocol, &data)? {
                    return Ok(());
                }
                call_method(py, protocol, &hooks().names.data_received, Some(&data)).map(drop)
            }),
        };
        self.guard(py, result, DATA_RECEIVED_FAILED)
    }

    /// Data is there for a BufferedProtocol.
    pub(crate) fn offered(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let Some(conn) = conn(py, owner, key) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        if let Some(read) = this.call_protected(py, |upper| upper.lower_readable(py)) {
            return read;
        }
        let given = this.call_protocol(py, |protocol| {
            let hint = pyo3::types::PyInt::new(py, -1).into_any().into();
            let buffer = call_method(py, protocol, &hooks().names.get_buffer, Some(&hint))?;
            let view = View::writable(buffer.bind(py))?;
            if view.len() == 0 {
                return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
            }
            Ok(view)
        });
        let mut view = match given {
            Ok(Some(view)) => view,
            Ok(None) => return Ok(()),
            Err(error) => {
                let text = "Fatal error: protocol.get_buffer() call failed.";
                return this.guard::<()>(py, Err(error), text);
            }
        };
        let received = owner.engine().receive_into(key, view.bytes_mut());
        drop(view);
        match received {
            Ok(0) => Transport::ended(py, owner, key),
            Ok(count) => {
                let result = this.call_protocol(py, |protocol| {
                    let count = count.into_pyobject(py)?.into_any().into();
                    call_method(py, protocol, &hooks().names.buffer_updated, Some(&count)).map(drop)
                });
                this.guard(py, result, "Fatal error: protocol.buffer_updated() call failed.")
            }
            Err(error) => this.not_received(py, &error),
        }
    }

    fn not_received(self, py: Python<'_>, error: &io::Error) -> PyResult<()> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
            _ => self.fatal_error(py, os_error(py, error), self.tail.kind.read_error()),
        }
    }

    /// The peer has sent its last byte.
    pub(crate) fn ended(py: Python<'_>, owner: &Loop, key: Key) -> PyResult<()> {
        let Some(conn) = conn(py, owner, key) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        match this.tail.kind {
            Kind::Stream | Kind::Datagram => {}
            Kind::ReadPipe => return this.pipe_ended(py),
            Kind::WritePipe => return this.reader_gone(py),
        }
        if owner.is_debug() {
            this.log_debug(py, "received EOF")?;
        }
        if let Some(ended) = this.call_protected(py, |upper| upper.lower_ended(py)) {
            return ended;
        }
        let kept = this.call_protocol(py, |protocol| {
            let keep = call_method(py, protocol, &hooks().names.eof_received, None)?;
            keep.bind(py).is_truthy()
        });
        match kept {
            Ok(Some(true)) => {
                let stopped = owner.engine().stop_reading(key);
                stopped.map_err(|error| os_error(py, &error))
            }
            Ok(_) => this.close(py),
            Err(error) => {
                let text = "Fatal error: protocol.eof_received() call failed.";
                this.guard::<()>(py, Err(error), text)
            }
        }
    }

    pub(crate) fn read_failed(
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        error: &io::Error,
    ) -> PyResult<()> {
        let Some(conn) = conn(py, owner, key) else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        this.fatal_error(py, os_error(py, error), this.tail.kind.read_error())
    }

    /// An error of a callback ends the connection; SystemExit and KeyboardInterrupt the run.
    #[inline]
    pub(super) fn guard<T>(
        self,
        py: Python<'_>,
        result: PyResult<Option<T>>,
        message: &str,
    ) -> PyResult<()> {
        match result {
            Ok(_) => Ok(()),
            Err(error) if is_exit(py, &error) => Err(error),
            Err(error) if self.tail.kind == Kind::ReadPipe => self.report_callback(py, error),
            Err(error) => self.fatal_error(py, error, message),
        }
    }

    pub(super) fn py_is_reading(_py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(this.is_reading())
    }

    pub(crate) fn pause_reading(self, py: Python<'_>) -> PyResult<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.tail.paused.set(true);
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let stopped = owner.engine().stop_reading(stream);
        stopped.map_err(|error| os_error(py, &error))?;
        if owner.is_debug() { self.log_debug(py, "pauses reading") } else { Ok(()) }
    }

    pub(crate) fn resume_reading(self, py: Python<'_>) -> PyResult<()> {
        if self.tail.closing.get() || !self.tail.paused.get() {
            return Ok(());
        }
        self.tail.paused.set(false);
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let started = owner.engine().start_reading(stream);
        if let Err(error) = started {
            return self.fatal_error(py, os_error(py, &error), self.tail.kind.read_error());
        }
        if owner.is_debug() { self.log_debug(py, "resumes reading") } else { Ok(()) }
    }

    pub(super) fn py_pause_reading(py: Python<'_>, this: Transport<'_>) -> PyResult<()> {
        this.pause_reading(py)
    }

    pub(super) fn py_resume_reading(py: Python<'_>, this: Transport<'_>) -> PyResult<()> {
        this.resume_reading(py)
    }
}

fn conn(py: Python<'_>, owner: &Loop, key: Key) -> Option<Ref> {
    owner.engine().conn(key).map(|conn| conn.clone_ref(py))
}

/// `object.name(argument)`, without a bound method in between.
#[inline]
pub(crate) fn call_method(
    py: Python<'_>,
    object: &Ref,
    name: &Ref,
    argument: Option<&Ref>,
) -> PyResult<Ref> {
    let arguments =
        [std::ptr::null_mut(), object.as_ptr(), argument.map_or(std::ptr::null_mut(), Ref::as_ptr)];
    let count = 1 + usize::from(argument.is_some());
    debug_assert!(name.bind(py).is_instance_of::<PyString>());
    // SAFETY: live objects; the place before the arguments is ours.
    unsafe {
        let start = arguments.as_ptr().add(1);
        let count = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result =
            ffi::PyObject_VectorcallMethod(name.as_ptr(), start, count, std::ptr::null_mut());
        Ref::from_owned(py, result)
    }
}
