//! What `sock_recv` and its kin are made of: one try each, and a wait for the next.
//!
//! The coroutines around them are in `oxloop._sock`. A try that would block answers `None` instead
//! of raising, which is what a busy server does most.

use std::io;

use oxloop_engine::{Direction, Fd, Owner};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{Loop, LoopRef};
use crate::errors::os_error;
use crate::handle::{HandleKind, HandleRef, new_handle};
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Ref, View, copy_context};

/// The most that one receive asks for, in bytes. More than a socket's buffer mostly holds.
pub(super) const RECEIVE_AT_MOST: usize = 256 * 1024;

/// The most that one send of a file asks for, in bytes: others have their turn in between.
const SEND_AT_MOST: u64 = 2 * 1024 * 1024;

/// At most `count` bytes, or `None` if there are none yet.
pub(super) fn receive(
    py: Python<'_>,
    this: &Loop,
    fd: i32,
    count: isize,
) -> PyResult<Option<Py<PyAny>>> {
    let Ok(count) = usize::try_from(count) else {
        return Err(PyValueError::new_err("negative buffersize in recv"));
    };
    let fd = descriptor(fd)?;
    let mut engine = this.engine();
    let received = engine.receive_scratch(fd, count.min(RECEIVE_AT_MOST));
    match received {
        Ok(data) => {
            // SAFETY: copies the bytes; making a bytes object runs no Python.
            let bytes = unsafe {
                let start = data.as_ptr().cast();
                Ref::from_owned(py, ffi::PyBytes_FromStringAndSize(start, data.len() as isize))
            };
            drop(engine);
            Ok(Some(bytes?.bind(py).clone().unbind()))
        }
        Err(error) => {
            drop(engine);
            none_if_blocked(py, &error)
        }
    }
}

/// How many bytes came into `buffer`, or `None` if there are none yet.
pub(super) fn receive_into(
    py: Python<'_>,
    fd: i32,
    buffer: &Bound<'_, PyAny>,
) -> PyResult<Option<usize>> {
    let fd = descriptor(fd)?;
    let mut view = View::writable(buffer)?;
    match oxloop_os::socket::try_receive(fd, view.bytes_mut()) {
        Ok(count) => Ok(Some(count)),
        Err(error) => none_if_blocked(py, &error),
    }
}

/// Sends what `data` has from `start` on. `None` when all of it is sent, otherwise where to go on.
pub(super) fn send(
    py: Python<'_>,
    fd: i32,
    data: &Bound<'_, PyAny>,
    start: usize,
) -> PyResult<Option<usize>> {
    let fd = descriptor(fd)?;
    let view = View::readable(data)?;
    let rest = view.bytes().get(start..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    match oxloop_os::socket::try_send(fd, rest) {
        Ok(sent) if sent == rest.len() => Ok(None),
        Ok(sent) => Ok(Some(start + sent)),
        Err(error) => none_if_blocked::<usize>(py, &error).map(|_| Some(start)),
    }
}

/// How many bytes of a file were sent, of `count` or up to its end, or `None` if none can be yet.
pub(super) fn send_file(
    py: Python<'_>,
    fd: i32,
    file: i32,
    offset: u64,
    count: Option<u64>,
) -> PyResult<Option<usize>> {
    let (fd, file) = (descriptor(fd)?, descriptor(file)?);
    let count = count.map_or(SEND_AT_MOST, |count| count.min(SEND_AT_MOST));
    match oxloop_os::socket::send_file(fd, file, offset, count as usize) {
        Ok(sent) => Ok(Some(sent)),
        Err(error) => none_if_blocked(py, &error),
    }
}

/// A future that is done when the descriptor is ready; for one readiness.
pub(super) fn watch_once(slf: &Bound<'_, Loop>, fd: i32, writing: bool) -> PyResult<Ref> {
    let (py, this) = (slf.py(), slf.get());
    this.check_closed()?;
    let fd = descriptor(fd)?;
    let owner = match this.engine().owner_of(fd) {
        Owner::Stream(transport) | Owner::Datagram(transport) => Some(transport.clone_ref(py)),
        _ => None,
    };
    if let Some(transport) = owner {
        let refuse = hooks().get(py, "refuse_used_fd")?;
        refuse.call1((slf, fd.raw(), fd.raw(), transport.bind(py)))?;
        return Err(PyRuntimeError::new_err(
            "the descriptor is being closed by its transport: wait for connection_lost()",
        ));
    }
    // SAFETY: an instance of Loop, alive for the call.
    let native = unsafe { LoopRef::from_self(slf.as_ptr()) };
    let future = super::tasks::create_future(py, native)?;
    let wake = &hooks().set_result_unless_cancelled;
    let none = py.None();
    let arguments = [future.as_ptr(), none.as_ptr()];
    let context = copy_context(py)?;
    let owner = slf.as_ptr();
    let handle = new_handle(py, owner, wake.as_ptr(), &arguments, context, HandleKind::Soon, true)?;
    let watched = this.engine().watch_once(fd, direction(writing), Job(handle));
    match watched {
        Ok(replaced) => {
            drop(replaced);
            Ok(future)
        }
        Err((error, job)) => {
            drop(job);
            Err(os_error(py, &error))
        }
    }
}

/// The waiter gave up: nobody waits for the descriptor any more, unless somebody else does by now.
pub(super) fn unwatch_once(this: &Loop, fd: i32, writing: bool, future: &Bound<'_, PyAny>) {
    let (Some(fd), direction) = (Fd::new(fd), direction(writing)) else { return };
    let mut engine = this.engine();
    let watching = engine.watched_by(fd, direction).and_then(|job| HandleRef::of(&job.0));
    let mine = watching.is_some_and(|handle| handle.first_argument() == future.as_ptr());
    let job = if mine { engine.unwatch(fd, direction) } else { None };
    drop(engine);
    drop(job);
}

fn direction(writing: bool) -> Direction {
    if writing { Direction::Write } else { Direction::Read }
}

pub(super) fn descriptor(fd: i32) -> PyResult<Fd> {
    // What the socket's own method would raise: it is closed.
    Fd::new(fd).ok_or_else(|| {
        const EBADF: i32 = 9;
        // SAFETY: called by Python, hence attached.
        os_error(unsafe { Python::assume_attached() }, &io::Error::from_raw_os_error(EBADF))
    })
}

pub(super) fn none_if_blocked<T>(py: Python<'_>, error: &io::Error) -> PyResult<Option<T>> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(os_error(py, error)),
    }
}
