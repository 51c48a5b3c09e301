//! How a datagram transport begins.

use std::cell::{Cell, RefCell};

use oxloop_engine::Measures;
use oxloop_os::datagram::{LARGEST, LARGEST_INET};
use pyo3::prelude::*;

use super::super::types::Kind;
use super::super::{Opening, Transport};
use super::destination::Family;
use super::{Connection, Mailbox, Peers};
use crate::event_loop::{Loop, file_descriptor};
use crate::hooks::hooks;
use crate::raw::{Lookup, Slot, copy_context};

/// A transport over a non-blocking datagram socket; `connection_made` follows in the next turn,
/// then reading, then the waiter. What is no plain socket, or of a family that is not known here,
/// gets asyncio's own.
pub(crate) fn make_datagram_transport<'py>(
    slf: &Bound<'py, Loop>,
    sock: Bound<'py, PyAny>,
    protocol: Bound<'py, PyAny>,
    address: Option<Bound<'py, PyAny>>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let Some((fd, family)) = plain_socket(&sock)? else {
        let foreign = hooks().get(py, "make_foreign_datagram_transport")?;
        return foreign.call1((slf, sock, protocol, address, waiter, extra));
    };
    slf.method1("_ensure_fd_no_transport", (&sock,))?;
    let extra = hooks().get(py, "transport_extra")?.call1((&sock, extra))?;
    let mailbox = Mailbox {
        address: Slot::default(),
        peers: RefCell::new(Peers::default()),
        family,
        connection: Cell::new(connection(&extra.get_item(hooks().names.peername.bind(py))?)?),
    };
    if let Some(address) = address
        && address.is_truthy()?
    {
        mailbox.address.set(Some(address.into()));
    }
    let largest = if family == Family::Unix { LARGEST } else { LARGEST_INET } as u32;
    let measures = Measures { largest, header: hooks().datagram_header };
    let opening = Opening {
        protocol,
        context: copy_context(py)?,
        server: None,
        fd,
        sock: Some(sock),
        peer: None,
        extra: Some(extra),
    };
    let object = Transport::open_as(slf, Kind::Datagram, opening, |this, engine, conn| {
        // A new tail has none.
        let _ = this.tail.mailbox.set(Box::new(mailbox));
        engine.open_endpoint(fd, measures, conn)
    })?;
    Transport::start(slf, &object, waiter)?;
    hooks().get(py, "note_transport")?.call1((slf, fd.raw(), object.bind(py)))?;
    Ok(object.bind(py).clone())
}

/// The descriptor and family of a socket on which system calls are what its methods would do.
fn plain_socket(sock: &Bound<'_, PyAny>) -> PyResult<Option<(oxloop_engine::Fd, Family)>> {
    let py = sock.py();
    let plain = hooks().get(py, "is_plain_datagram_socket")?.call1((sock,))?;
    if !hooks().is_real_socket(sock) || !plain.is_truthy()? {
        return Ok(None);
    }
    let fd = file_descriptor(sock)?;
    let address = oxloop_os::socket::local_address(fd).ok();
    Ok(address.as_ref().and_then(Family::of).map(|family| (fd, family)))
}

fn connection(peername: &Bound<'_, PyAny>) -> PyResult<Connection> {
    Ok(if peername.is_none() {
        Connection::None
    } else if peername.is_truthy()? {
        Connection::Named
    } else {
        Connection::Nameless
    })
}
