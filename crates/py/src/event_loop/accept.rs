//! Serving: what `_start_serving` was given, and connections as they come in.

use oxloop_engine::AcceptFailure;
use oxloop_engine::{Address, Fd, Key};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::Loop;
use crate::errors::os_error;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref, enter_context};
use crate::transport::{Opening, TlsOpening, Transport, make_tls_transport};

/// What a listening socket serves; the payload of a listener.
#[pyclass(frozen, module = "oxloop._oxloop")]
#[derive(Debug)]
pub(crate) struct Serving {
    #[pyo3(get)]
    pub(super) protocol_factory: Py<PyAny>,
    #[pyo3(get)]
    pub(super) sock: Py<PyAny>,
    #[pyo3(get)]
    pub(super) sslcontext: Option<Py<PyAny>>,
    #[pyo3(get)]
    pub(super) server: Option<Py<PyAny>>,
    #[pyo3(get)]
    pub(super) ssl_handshake_timeout: Option<Py<PyAny>>,
    #[pyo3(get)]
    pub(super) ssl_shutdown_timeout: Option<Py<PyAny>>,
    /// Every connection runs in a copy of this.
    #[pyo3(get)]
    pub(super) context: Py<PyAny>,
}

#[pymethods]
impl Serving {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.protocol_factory)?;
        visit.call(&self.sock)?;
        visit.call(&self.context)?;
        visit.call(&self.sslcontext)?;
        visit.call(&self.server)?;
        visit.call(&self.ssl_handshake_timeout)?;
        visit.call(&self.ssl_shutdown_timeout)
    }
}

/// Starts to accept for `serving`, at most `backlog` connections an event.
pub(super) fn start(slf: &Bound<'_, Loop>, serving: Serving, backlog: usize) -> PyResult<()> {
    let (py, this) = (slf.py(), slf.get());
    this.check_closed()?;
    let fd = file_descriptor(serving.sock.bind(py))?;
    let serving: Ref = Bound::new(py, serving)?.into();
    let listening = this.engine().listen(fd, backlog.saturating_add(1), serving);
    listening.map(drop).map_err(|(error, serving)| {
        drop(serving);
        os_error(py, &error)
    })
}

/// Goes on accepting after a failure, if the socket is still served.
pub(super) fn resume(py: Python<'_>, this: &Loop, fd: i32) -> PyResult<()> {
    let mut engine = this.engine();
    let key = Fd::new(fd).and_then(|fd| engine.listener_on(fd));
    let resumed = key.map_or(Ok(()), |key| engine.resume_listener(key));
    drop(engine);
    resumed.map_err(|error| os_error(py, &error))
}

/// The descriptor of an open socket.
pub(crate) fn file_descriptor(sock: &Bound<'_, PyAny>) -> PyResult<Fd> {
    let number: i32 = sock.method0("fileno")?.extract()?;
    match Fd::new(number) {
        Some(fd) => Ok(fd),
        None => {
            let text = format!("Invalid file descriptor: {number}");
            Err(pyo3::exceptions::PyValueError::new_err(text))
        }
    }
}

/// A connection came in: nobody but us has its descriptor yet.
pub(super) fn accepted(slf: &Bound<'_, Loop>, key: Key, fd: Fd, peer: Address) -> PyResult<()> {
    let (py, this) = (slf.py(), slf.get());
    let serving = this.engine().listener(key).map(|serving| serving.clone_ref(py));
    let Some(serving) = serving else {
        fd.close();
        return Ok(());
    };
    let serving = serving.bind(py).clone().cast_into::<Serving>()?;
    let borrowed = match serving.get().sslcontext {
        Some(_) => is_tls_patched(py),
        None => Ok(false),
    };
    let borrowed = borrowed.inspect_err(|_| fd.close())?;
    let opened = if borrowed {
        let accept = hooks().get(py, "accept_tls")?;
        accept.call1((slf, serving, fd.raw())).map(drop)
    } else {
        open(slf, serving.get(), fd, peer)
    };
    // A connection that cannot begin is no reason to end the run.
    match opened {
        Err(error) if !is_exit(py, &error) => {
            let report = hooks().get(py, "report_accept_error")?;
            report.call1((slf, error.into_value(py))).map(drop)
        }
        other => other,
    }
}

fn open(slf: &Bound<'_, Loop>, serving: &Serving, fd: Fd, peer: Address) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: `context` is a Context: Server made it, or `copy_context`.
    let context =
        unsafe { Ref::from_owned(py, pyo3::ffi::PyContext_Copy(serving.context.as_ptr())) };
    let factory = serving.protocol_factory.bind(py);
    let made = context.and_then(|context| {
        let protocol = enter_context(py, &context, || factory.call0())?;
        // What is no protocol fails here, as in asyncio, and not as a connection.
        protocol.attribute("connection_made")?;
        Ok((context, protocol))
    });
    let (context, protocol) = match made {
        Ok(made) => made,
        Err(error) => {
            fd.close();
            return Err(error);
        }
    };
    let server = serving.server.as_ref().map(|server| server.bind(py).clone());
    let opening =
        Opening { protocol, context, server, fd, sock: None, peer: Some(peer), extra: None };
    if let Some(sslcontext) = &serving.sslcontext {
        return open_tls(slf, serving, sslcontext.bind(py), opening);
    }
    let transport = Transport::open(slf, opening)?;
    Transport::of(&transport).map_or(Ok(()), |transport| transport.start_now(py))
}

/// Whether somebody has changed asyncio's TLS protocol, and means to be called.
fn is_tls_patched(py: Python<'_>) -> PyResult<bool> {
    hooks().get(py, "is_tls_patched")?.call0()?.is_truthy()
}

/// The same with TLS: `connection_made` follows the handshake. `opening` owns its descriptor.
fn open_tls<'py>(
    slf: &Bound<'py, Loop>,
    serving: &Serving,
    sslcontext: &Bound<'py, PyAny>,
    opening: Opening<'py>,
) -> PyResult<()> {
    let py = slf.py();
    let timeout = |given: &Option<Py<PyAny>>| given.as_ref().map(|given| given.bind(py).clone());
    let tls = TlsOpening {
        protocol: opening.protocol.clone(),
        context: sslcontext.clone(),
        waiter: None,
        server_side: true,
        server_hostname: None,
        handshake_timeout: timeout(&serving.ssl_handshake_timeout),
        shutdown_timeout: timeout(&serving.ssl_shutdown_timeout),
        connected: false,
        accepted: true,
    };
    let fd = opening.fd;
    let mut begun = false;
    let made = make_tls_transport(slf, tls, |protocol| {
        begun = true;
        Opening { protocol, ..opening }
    });
    if !begun {
        // There is no transport that would close it.
        fd.close();
    }
    made.map(drop)
}

/// Accepting failed; the listener is paused. asyncio's constants say for how long.
pub(super) fn failed(slf: &Bound<'_, Loop>, key: Key, failure: &AcceptFailure) -> PyResult<()> {
    let (py, this) = (slf.py(), slf.get());
    let serving = this.engine().listener(key).map(|serving| serving.clone_ref(py));
    let Some(serving) = serving else { return Ok(()) };
    let serving = serving.bind(py).clone().cast_into::<Serving>()?;
    let error = os_error(py, &failure.error).into_value(py);
    let report = hooks().get(py, "accept_failed")?;
    report.call1((slf, serving, error, failure.first)).map(drop)
}
