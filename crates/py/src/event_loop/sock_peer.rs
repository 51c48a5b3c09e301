//! Tries of the `sock_*` calls that have to do with addresses.
//!
//! Only addresses that are written out are read here; what else one may be, the coroutines in
//! `oxloop._sock` leave to the methods of the socket.

use std::io;

use oxloop_engine::Fd;
use oxloop_os::{peer, socket};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::Loop;
use super::sock::{RECEIVE_AT_MOST, descriptor, none_if_blocked};
use crate::errors::os_error;
use crate::hooks::hooks;
use crate::raw::{Lookup, View, bytes, text};
use crate::transport::{Family, address_to_python};

/// `(bytes, address)` of one message, or `None` if there is none yet.
pub(super) fn receive_from<'py>(
    py: Python<'py>,
    this: &Loop,
    fd: i32,
    count: isize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Ok(count) = usize::try_from(count) else {
        return Err(PyValueError::new_err("negative buffersize in recvfrom"));
    };
    let fd = descriptor(fd)?;
    let mut engine = this.engine();
    let received = engine.receive_scratch_from(fd, count.min(RECEIVE_AT_MOST));
    // Making a bytes object runs no Python.
    let received = received.map(|(data, name)| (bytes(py, data), name));
    drop(engine);
    match received {
        Ok((data, name)) => {
            let address = address_to_python(py, &name.address())?;
            Ok(Some((data?.bind(py), address).into_pyobject(py)?.into_any()))
        }
        Err(error) => none_if_blocked(py, &error),
    }
}

/// `(count, address)` of one message that came into `buffer`, or `None` if there is none yet.
pub(super) fn receive_from_into<'py>(
    py: Python<'py>,
    fd: i32,
    buffer: &Bound<'py, PyAny>,
    count: isize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Ok(count) = usize::try_from(count) else {
        return Err(PyValueError::new_err("negative buffersize in recvfrom_into"));
    };
    let fd = descriptor(fd)?;
    let mut view = View::writable(buffer)?;
    let Some(place) = view.bytes_mut().get_mut(..count) else {
        let text = "nbytes is greater than the length of the buffer";
        return Err(PyValueError::new_err(text));
    };
    let received = peer::receive_from(fd, place);
    drop(view);
    match received {
        Ok((count, name)) => {
            let address = address_to_python(py, &name.address())?;
            Ok(Some((count, address).into_pyobject(py)?.into_any()))
        }
        Err(error) => none_if_blocked(py, &error),
    }
}

/// What came of a try with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The address is not for us to read.
    Unknown = -2,
    /// It would have had to wait.
    Blocked = -1,
}

/// How many bytes were sent; negative: an [`Outcome`].
pub(super) fn send_to(
    py: Python<'_>,
    sock: &Bound<'_, PyAny>,
    family: i32,
    data: &Bound<'_, PyAny>,
    address: &Bound<'_, PyAny>,
) -> PyResult<isize> {
    let name = Family::from_number(family).and_then(|family| family.name(address));
    let Some(name) = name else { return Ok(Outcome::Unknown as isize) };
    audit(py, "socket.sendto", sock, address)?;
    let fd = open_descriptor(sock)?;
    let view = View::readable(data)?;
    let sent = peer::send_to(fd, view.bytes(), &name);
    drop(view);
    match sent {
        Ok(sent) => Ok(isize::try_from(sent).unwrap_or(isize::MAX)),
        Err(error) => none_if_blocked::<isize>(py, &error).map(|_| Outcome::Blocked as isize),
    }
}

/// Whether the socket is connected now: 1, or an [`Outcome`].
pub(super) fn connect(
    py: Python<'_>,
    sock: &Bound<'_, PyAny>,
    family: i32,
    address: &Bound<'_, PyAny>,
) -> PyResult<isize> {
    let name = Family::from_number(family).and_then(|family| family.name(address));
    let Some(name) = name else { return Ok(Outcome::Unknown as isize) };
    audit(py, "socket.connect", sock, address)?;
    match peer::connect(open_descriptor(sock)?, &name) {
        Ok(true) => Ok(1),
        Ok(false) => Ok(Outcome::Blocked as isize),
        Err(error) => Err(os_error(py, &error)),
    }
}

/// `(descriptor, address)` of a connection, non-blocking and the caller's to close; `None` if there
/// is none yet.
pub(super) fn accept<'py>(py: Python<'py>, fd: i32) -> PyResult<Option<Bound<'py, PyAny>>> {
    match socket::accept(descriptor(fd)?) {
        Ok((connection, address)) => {
            let made = address_to_python(py, &address)
                .and_then(|address| Ok((connection.raw(), address).into_pyobject(py)?.into_any()));
            if made.is_err() {
                connection.close();
            }
            made.map(Some)
        }
        // As Python's accept(), which makes the call again.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => none_if_blocked(py, &error),
    }
}

/// Tells whoever audits the process, who may refuse: before anything is done.
fn audit(
    py: Python<'_>,
    event: &str,
    sock: &Bound<'_, PyAny>,
    address: &Bound<'_, PyAny>,
) -> PyResult<()> {
    hooks().get(py, "audit")?.call1((text(py, event)?, sock, address)).map(drop)
}

/// Asked for after the audit, in which the socket may have been closed.
fn open_descriptor(sock: &Bound<'_, PyAny>) -> PyResult<Fd> {
    descriptor(sock.method0("fileno")?.extract()?)
}
