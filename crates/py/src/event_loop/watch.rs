//! Watched descriptors: `add_reader`, `add_writer` and the private hooks that asyncio's transports
//! call.

use std::ffi::CStr;

use oxloop_engine::{Direction, Fd, Key, Owner};
use pyo3::Borrowed;
use pyo3::exceptions::{
    PyAttributeError, PyMemoryError, PyOverflowError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};

use super::schedule::{given_context, handle};
use super::{Loop, LoopRef};
use crate::errors::os_error;
use crate::handle::{HandleKind, HandleRef};
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Arguments, Ref, dict_get, instance_dict, method};
use crate::transport::call_method;

pub(super) fn methods() -> Vec<(ffi::PyMethodDef, Option<&'static CStr>)> {
    vec![
        (method!(fast c"add_reader"("fd", "callback"), LoopRef<'_>, add_reader), Some(ADD_READER)),
        (method!(fast c"add_writer"("fd", "callback"), LoopRef<'_>, add_writer), Some(ADD_WRITER)),
        (method!(one c"remove_reader"("fd"), LoopRef<'_>, remove_reader), Some(REMOVE_READER)),
        (method!(one c"remove_writer"("fd"), LoopRef<'_>, remove_writer), Some(REMOVE_WRITER)),
        (method!(fast c"_add_reader", LoopRef<'_>, hook_add_reader), None),
        (method!(fast c"_add_writer", LoopRef<'_>, hook_add_writer), None),
        (method!(one c"_remove_reader", LoopRef<'_>, hook_remove_reader), None),
        (method!(one c"_remove_writer", LoopRef<'_>, hook_remove_writer), None),
        (method!(one c"_ensure_fd_no_transport", LoopRef<'_>, ensure_fd_no_transport), None),
        (method!(one c"_watched", LoopRef<'_>, watched), None),
    ]
}

const ADD_READER: &CStr = c"add_reader(self, fd, callback, *args)\n--\n\n\
Run callback(*args) whenever fd (a descriptor or an object with fileno()) can be read.\n\n\
Replaces an earlier callback. Raises RuntimeError if a transport uses fd, PermissionError if it\n\
cannot be watched (a regular file), OSError if it is not open.";
const ADD_WRITER: &CStr = c"add_writer(self, fd, callback, *args)\n--\n\n\
Run callback(*args) whenever fd can be written. Like add_reader().";
const REMOVE_READER: &CStr =
    c"remove_reader(self, fd)\n--\n\nStop watching fd for reading. True if it was watched.";
const REMOVE_WRITER: &CStr =
    c"remove_writer(self, fd)\n--\n\nStop watching fd for writing. True if it was watched.";

fn add_reader(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<()> {
    add_public(py, this, &arguments, Direction::Read, "add_reader")
}

fn add_writer(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<()> {
    add_public(py, this, &arguments, Direction::Write, "add_writer")
}

fn hook_add_reader(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<Ref> {
    add(py, this, &arguments, Direction::Read, "_add_reader")
}

fn hook_add_writer(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<Ref> {
    add(py, this, &arguments, Direction::Write, "_add_writer")
}

fn remove_reader(py: Python<'_>, this: LoopRef<'_>, fd: Borrowed<'_, '_, PyAny>) -> PyResult<bool> {
    remove_public(py, this, fd, Direction::Read)
}

fn remove_writer(py: Python<'_>, this: LoopRef<'_>, fd: Borrowed<'_, '_, PyAny>) -> PyResult<bool> {
    remove_public(py, this, fd, Direction::Write)
}

fn hook_remove_reader(
    py: Python<'_>,
    this: LoopRef<'_>,
    fd: Borrowed<'_, '_, PyAny>,
) -> PyResult<bool> {
    remove(py, this, fd, Direction::Read)
}

fn hook_remove_writer(
    py: Python<'_>,
    this: LoopRef<'_>,
    fd: Borrowed<'_, '_, PyAny>,
) -> PyResult<bool> {
    remove(py, this, fd, Direction::Write)
}

fn add_public(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: &Arguments<'_>,
    direction: Direction,
    method: &str,
) -> PyResult<()> {
    let Some(&fd) = arguments.positional.first() else { return Err(missing(method)) };
    // SAFETY: borrowed for the call.
    ensure_fd_no_transport(py, this, unsafe { Borrowed::from_ptr(py, fd) })?;
    add(py, this, arguments, direction, method).map(drop)
}

fn remove_public(
    py: Python<'_>,
    this: LoopRef<'_>,
    fd: Borrowed<'_, '_, PyAny>,
    direction: Direction,
) -> PyResult<bool> {
    ensure_fd_no_transport(py, this, fd)?;
    if !this.native.is_closed()
        && let Err(error) = watched_descriptor(py, this.native, fd)
        && !error.is_instance_of::<PyOverflowError>(py)
    {
        return Err(error);
    }
    remove(py, this, fd, direction)
}

fn add(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: &Arguments<'_>,
    direction: Direction,
    method: &str,
) -> PyResult<Ref> {
    let Some((&[fd, callback], rest)) = arguments.positional.split_first_chunk::<2>() else {
        return Err(missing(method));
    };
    let context = given_context(py, arguments, method)?;
    this.native.check_closed()?;
    // SAFETY: borrowed for the call.
    let given = unsafe { Borrowed::from_ptr(py, fd) };
    let fd = descriptor(py, given)?;
    let is_file = !given.is_instance_of::<PyInt>();
    if is_file {
        this.native.files.reserve().map_err(|_| PyMemoryError::new_err(()))?;
    }
    let handle = handle(py, this, callback, rest, context, HandleKind::Soon)?;
    let job = Job(handle.clone_ref(py));
    // As in asyncio, whoever watches a serving socket takes it over.
    let serving = this.native.engine().unlisten_on(fd);
    drop(serving);
    let watched = this.native.engine().watch(fd, direction, job);
    match watched {
        Ok(replaced) => {
            if is_file {
                this.native.files.remember(fd, given);
            } else if replaced.stale.is_some() {
                this.native.files.forget(fd);
            }
            for job in replaced.same.into_iter().chain(replaced.stale) {
                cancel(py, &job)?;
            }
            Ok(handle)
        }
        Err((error, job)) => {
            drop(job);
            Err(os_error(py, &error))
        }
    }
}

fn remove(
    py: Python<'_>,
    this: LoopRef<'_>,
    fd: Borrowed<'_, '_, PyAny>,
    direction: Direction,
) -> PyResult<bool> {
    if this.native.is_closed() {
        return Ok(false);
    }
    let Ok(fd) = watched_descriptor(py, this.native, fd) else { return Ok(false) };
    if direction == Direction::Read {
        // `_stop_serving` says "remove the reader" of a listening socket.
        let serving = this.native.engine().unlisten_on(fd);
        if serving.is_some() {
            return Ok(true);
        }
    }
    let job = this.native.engine().unwatch(fd, direction);
    this.native.forget_file(fd);
    match job {
        Some(job) => cancel(py, &job).map(|()| true),
        None => Ok(false),
    }
}

impl Loop {
    /// A transport gets the descriptor: nobody watches it any more. Whoever did may have left the
    /// watch behind, with a file that is closed.
    pub(crate) fn take_over(&self, py: Python<'_>, fd: Fd) -> PyResult<()> {
        let watched = matches!(self.engine().owner_of(fd), Owner::Watch);
        if watched {
            for direction in [Direction::Read, Direction::Write] {
                let job = self.engine().unwatch(fd, direction);
                job.map_or(Ok(()), |job| cancel(py, &job))?;
            }
            self.forget_file(fd);
        }
        Ok(())
    }

    /// Lets go of the object that was given for a number, once nobody watches that.
    fn forget_file(&self, fd: Fd) {
        let interest = self.engine().interest_of(fd);
        if !interest.read && !interest.write {
            self.files.forget(fd);
        }
    }
}

fn cancel(py: Python<'_>, job: &Job) -> PyResult<()> {
    HandleRef::of(&job.0).map_or(Ok(()), |handle| handle.cancel(py))
}

/// Raises what asyncio raises if a transport owns the descriptor.
fn ensure_fd_no_transport(
    py: Python<'_>,
    this: LoopRef<'_>,
    given: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    let number = match number_of(py, given)? {
        None if !given.is_instance_of::<PyInt>() => {
            hooks().get(py, "fileno_of")?.call1((given,))?.extract()?
        }
        number => number,
    };
    // No descriptor has such a number.
    let Some(fd) = number.and_then(Fd::new) else { return Ok(()) };
    let transport = match this.native.engine().owner_of(fd) {
        Owner::Stream(transport) | Owner::Datagram(transport) => Some(transport.clone_ref(py)),
        // Borrowed transports (asyncio's, on our watches) are known to the base class.
        Owner::Watch => None,
        Owner::Nobody | Owner::Listener(_) | Owner::Child => return Ok(()),
    };
    if transport.is_none() && knows_no_transports(py, this) {
        return Ok(());
    }
    hooks()
        .get(py, "refuse_used_fd")?
        .call1((this.bind(py), given, fd.raw(), transport.as_ref().map(|t| t.bind(py))))
        .map(drop)
}

/// `(reading, writing)`: what a descriptor is watched for.
fn watched<'py>(
    py: Python<'py>,
    this: LoopRef<'_>,
    fd: Borrowed<'_, '_, PyAny>,
) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
    let fd = descriptor(py, fd)?;
    let interest = this.native.engine().interest_of(fd);
    (interest.read, interest.write).into_pyobject(py)
}

/// A descriptor as `selectors` takes it: an int, or an object with `fileno()`; not negative.
fn descriptor(py: Python<'_>, given: Borrowed<'_, '_, PyAny>) -> PyResult<Fd> {
    if let Some(fd) = number_of(py, given)?.and_then(Fd::new) {
        return Ok(fd);
    }
    let number: i32 = hooks().get(py, "fileobj_to_fd")?.call1((given,))?.extract()?;
    Fd::new(number)
        .ok_or_else(|| PyTypeError::new_err("fileno() returned a negative number: is it closed?"))
}

/// The number that was given, or that a `fileno()` gives. `None`: Python may know, or what is wrong.
fn number_of(py: Python<'_>, given: Borrowed<'_, '_, PyAny>) -> PyResult<Option<i32>> {
    if given.is_instance_of::<PyInt>() {
        return Ok(given.extract().ok());
    }
    match call_method(py, &Ref::from(&*given), &hooks().names.fileno, None) {
        Ok(number) => Ok(number.bind(py).cast_exact::<PyInt>().ok().and_then(|n| n.extract().ok())),
        Err(error)
            if error.is_instance_of::<PyAttributeError>(py)
                || error.is_instance_of::<PyTypeError>(py)
                || error.is_instance_of::<PyValueError>(py) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the base class has no transport in its list: then nobody need look for one.
fn knows_no_transports(py: Python<'_>, this: LoopRef<'_>) -> bool {
    let names = &hooks().names;
    // A WeakValueDictionary, and the dict inside it.
    let list = instance_dict(py, this.as_ptr())
        .ok()
        .and_then(|dict| dict_get(py, &dict, &names._transports))
        .and_then(|list| instance_dict(py, list.as_ptr()).ok())
        .and_then(|dict| dict_get(py, &dict, &names.data));
    list.is_some_and(|list| list.bind(py).cast_exact::<PyDict>().is_ok_and(|list| list.is_empty()))
}

/// As [`descriptor`], also for an object that has been closed since it was watched.
fn watched_descriptor(py: Python<'_>, this: &Loop, given: Borrowed<'_, '_, PyAny>) -> PyResult<Fd> {
    descriptor(py, given).or_else(|error| this.files.number_of(given).ok_or(error))
}

#[cold]
fn missing(method: &str) -> PyErr {
    PyTypeError::new_err(format!("{method}() missing required positional arguments"))
}

/// A watched descriptor is ready.
pub(super) fn fire(
    py: Python<'_>,
    slf: &Bound<'_, Loop>,
    key: Key,
    direction: Direction,
) -> PyResult<()> {
    let this = slf.get();
    let handle = this.engine().watch_job(key, direction).map(|job| job.0.clone_ref(py));
    let Some(handle) = handle else { return Ok(()) };
    if HandleRef::of(&handle).is_some_and(HandleRef::is_cancelled) {
        let fd = this.engine().fd_of(key);
        let job = this.engine().unwatch_key(key, direction);
        drop(job);
        if let Some(fd) = fd {
            this.forget_file(fd);
        }
        return Ok(());
    }
    Ok(super::run::run(py, slf, Job(handle))?)
}
