//! Sending files: what `loop.sendfile` leaves to the stream.
//!
//! An outcome is `(sent, exception or None)`. The coroutine around it, in `oxloop._sendfile`, looks
//! after the file: its position, and that it stays open.

use oxloop_engine::{Fd, FileSent, Key};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use super::Transport;
use crate::errors::os_error;
use crate::event_loop::Loop;
use crate::hooks::hooks;
use crate::raw::{Arguments, Lookup, Ref};

impl Transport<'_> {
    /// `_send_file(fd, offset, count)`: the outcome if the file is over at once, otherwise a future
    /// of it. Nothing can be written until then.
    pub(super) fn py_send_file(
        py: Python<'_>,
        this: Transport<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<Ref> {
        let &[file, offset, count] = arguments.positional else {
            return Err(PyTypeError::new_err("_send_file() takes fd, offset and count"));
        };
        // SAFETY: borrowed for the call.
        let argument = |pointer| unsafe { Bound::from_borrowed_ptr(py, pointer) };
        let file: i32 = argument(file).extract()?;
        let offset: u64 = argument(offset).extract()?;
        let count: Option<u64> = argument(count).extract()?;
        if this.tail.file_waiter.is_some() {
            return Err(PyRuntimeError::new_err("Empty waiter is already set"));
        }
        let (Some(owner), Some(stream), Some(file)) =
            (this.owner(py), this.stream(), Fd::new(file))
        else {
            return Err(PyRuntimeError::new_err("Transport is closing"));
        };
        let sending = owner.engine().send_file(stream, file, offset, count);
        match sending {
            Ok(Some(over)) => Ok(outcome(py, over)?.into()),
            Ok(None) => match owner.0.method0("create_future") {
                Ok(waiter) => {
                    this.tail.file_waiter.set(Some(Ref::from(&waiter)));
                    Ok(waiter.into())
                }
                Err(error) => {
                    owner.engine().stop_file(stream);
                    Err(error)
                }
            },
            Err(error) => {
                owner.engine().stop_file(stream);
                let text = this.tail.kind.write_error();
                this.fatal_error(py, os_error(py, &error), text)?;
                let error = os_error(py, &error).into_value(py);
                Ok((0, error).into_pyobject(py)?.into_any().into())
            }
        }
    }

    /// `_stop_file()`: nobody waits for the file any more. How much of it was sent.
    pub(super) fn py_stop_file<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        this.tail.file_waiter.set(None);
        Ok(this.stop_file(py).into_pyobject(py)?.into_any())
    }

    fn stop_file(self, py: Python<'_>) -> u64 {
        match (self.owner(py), self.stream()) {
            (Some(owner), Some(stream)) => owner.engine().stop_file(stream).unwrap_or(0),
            _ => 0,
        }
    }

    /// The file is over.
    pub(crate) fn file_sent(
        py: Python<'_>,
        owner: &Loop,
        key: Key,
        sent: FileSent,
    ) -> PyResult<()> {
        let conn = owner.engine().conn(key).map(|conn| conn.clone_ref(py));
        let Some(conn) = conn else { return Ok(()) };
        let Some(this) = Transport::of(&conn) else { return Ok(()) };
        this.wake_file_waiter(py, || outcome(py, sent))
    }

    /// The connection is lost, and with it the rest of the file.
    pub(super) fn lose_file(self, py: Python<'_>, error: impl FnOnce() -> PyErr) -> PyResult<()> {
        if !self.tail.file_waiter.is_some() {
            return Ok(());
        }
        let sent = self.stop_file(py);
        let lost = (sent, error().into_value(py)).into_pyobject(py)?.into_any();
        self.wake_file_waiter(py, || Ok(lost))
    }

    fn wake_file_waiter<'py>(
        self,
        py: Python<'py>,
        outcome: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let Some(waiter) = self.tail.file_waiter.take() else { return Ok(()) };
        let set = hooks().set_result_unless_cancelled.bind(py);
        set.call1((waiter.bind(py), outcome()?)).map(drop)
    }
}

fn outcome(py: Python<'_>, over: FileSent) -> PyResult<Bound<'_, PyAny>> {
    let error = match over.error {
        Some(error) => {
            let error = os_error(py, &error).into_value(py);
            Some(hooks().get(py, "sendfile_error")?.call1((error, over.sent))?)
        }
        None => None,
    };
    Ok((over.sent, error).into_pyobject(py)?.into_any())
}
