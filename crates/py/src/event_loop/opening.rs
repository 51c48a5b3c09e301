//! Transports over what Python hands to the loop: a socket object, its extra info, a context.

use pyo3::prelude::*;

use super::{Loop, accept};
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref, copy_context};
use crate::transport::{Opening, TlsOpening, make_socket_transport, make_tls_transport};

/// A transport of a stream socket: ours, or asyncio's own where `sock` only stands in for a socket.
pub(super) fn socket<'py>(
    slf: &Bound<'py, Loop>,
    sock: Bound<'py, PyAny>,
    protocol: Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
    server: Option<Bound<'py, PyAny>>,
    context: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    slf.get().check_closed()?;
    if !hooks().is_real_socket(&sock) {
        let foreign = hooks().get(py, "make_foreign_transport")?;
        return foreign.call1((slf, sock, protocol, waiter, extra, server, context));
    }
    slf.method1("_ensure_fd_no_transport", (&sock,))?;
    let fd = accept::file_descriptor(&sock)?;
    let context = context_or_copy(py, context)?;
    let extra = Some(hooks().get(py, "transport_extra")?.call1((&sock, extra))?);
    let sock = Some(sock);
    let opening = Opening { protocol, context, server, fd, sock, peer: None, extra };
    make_socket_transport(slf, opening, waiter)
}

/// A TLS transport over a real socket.
pub(super) fn tls<'py>(
    slf: &Bound<'py, Loop>,
    sock: Bound<'py, PyAny>,
    tls: TlsOpening<'py>,
    extra: Option<Bound<'py, PyAny>>,
    server: Option<Bound<'py, PyAny>>,
    context: Option<Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    slf.get().check_closed()?;
    let fd = accept::file_descriptor(&sock)?;
    let context = context_or_copy(py, context)?;
    let extra = Some(hooks().get(py, "transport_extra")?.call1((&sock, extra))?);
    let sock = Some(sock);
    let made = make_tls_transport(slf, tls, |protocol| Opening {
        protocol,
        context,
        server,
        fd,
        sock,
        peer: None,
        extra,
    })?;
    Ok(made.bind(py).clone().unbind())
}

/// The context that was given, or a copy of the current one.
pub(super) fn context_or_copy(py: Python<'_>, context: Option<Bound<'_, PyAny>>) -> PyResult<Ref> {
    Ok(match context {
        Some(context) => Ref::from(context),
        None => copy_context(py)?,
    })
}
