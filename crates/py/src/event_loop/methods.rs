//! What Python calls of the loop: each method takes its arguments and hands them on.
//!
//! What is called for every callback has no place here: `super::init` installs it.

use std::ffi::c_ulong;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::accept::{self, Serving};
use super::{Loop, opening, process, resolve, run, sock, sock_peer};
use crate::raw::Ref;
use crate::transport::{TlsOpening, make_datagram_transport, make_pipe_transport, start_tls};

#[pymethods]
impl Loop {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Loop {
        Loop::default()
    }

    /// Seconds of the monotonic clock, as `time.monotonic()`.
    fn time(&self) -> f64 {
        oxloop_os::clock::monotonic()
    }

    /// Ends the run after the current turn. What is scheduled later stays for the next run.
    fn stop(&self) {
        self.engine().stop(true);
    }

    #[getter(_closed)]
    fn get_closed(&self) -> bool {
        self.closed.get()
    }

    #[setter(_closed)]
    fn set_closed(&self, closed: bool) {
        self.closed.set(closed);
    }

    #[getter(_stopping)]
    fn get_stopping(&self) -> bool {
        self.engine().is_stopping()
    }

    #[setter(_stopping)]
    fn set_stopping(&self, stopping: &Bound<'_, PyAny>) -> PyResult<()> {
        let stopping = stopping.is_truthy()?;
        self.engine().stop(stopping);
        Ok(())
    }

    #[getter(_debug)]
    fn get_debug_flag(&self) -> bool {
        self.debug.get()
    }

    #[setter(_debug)]
    fn set_debug_flag(&self, debug: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.set(debug.is_truthy()?);
        Ok(())
    }

    #[getter(_thread_id)]
    fn get_thread(&self) -> Option<c_ulong> {
        Some(self.thread.get()).filter(|&thread| thread != 0)
    }

    #[setter(_thread_id)]
    fn set_thread(&self, thread: Option<c_ulong>) {
        self.thread.set(thread.unwrap_or(0));
        if thread.is_none() {
            self.show_handles();
        }
    }

    #[getter(_task_factory)]
    fn get_task_factory_slot(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task_factory.get(py).map(|factory| factory.bind(py).clone().unbind())
    }

    #[setter(_task_factory)]
    fn set_task_factory_slot(&self, factory: &Bound<'_, PyAny>) {
        let factory = (!factory.is_none()).then(|| Ref::from(factory));
        self.task_factory.set(factory);
    }

    /// Run until stop() is called.
    ///
    /// Raises RuntimeError if the loop is closed or running, or another loop runs in this thread.
    fn run_forever(slf: &Bound<'_, Self>) -> PyResult<()> {
        run::run_forever(slf)
    }

    /// Runs turns until `stop()` if the loop is running, which `run_forever()` sees to; exactly
    /// one turn if it is not.
    fn _run_once(slf: &Bound<'_, Self>) -> PyResult<()> {
        run::run_once(slf)
    }

    #[pyo3(signature = (protocol_factory, sock, sslcontext=None, server=None, backlog=100,
                        ssl_handshake_timeout=None, ssl_shutdown_timeout=None, context=None))]
    #[expect(clippy::too_many_arguments, reason = "the signature is asyncio's")]
    fn _start_serving(
        slf: &Bound<'_, Self>,
        protocol_factory: Py<PyAny>,
        sock: Py<PyAny>,
        sslcontext: Option<Bound<'_, PyAny>>,
        server: Option<Py<PyAny>>,
        backlog: isize,
        ssl_handshake_timeout: Option<Py<PyAny>>,
        ssl_shutdown_timeout: Option<Py<PyAny>>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let context = opening::context_or_copy(slf.py(), context)?;
        let context = context.bind(slf.py()).clone().unbind();
        let sslcontext = match sslcontext {
            Some(tls) if tls.is_truthy()? => Some(tls.unbind()),
            _ => None,
        };
        let serving = Serving {
            protocol_factory,
            sock,
            sslcontext,
            server,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            context,
        };
        accept::start(slf, serving, usize::try_from(backlog).unwrap_or(0))
    }

    fn _resume_accepting(&self, py: Python<'_>, fd: i32) -> PyResult<()> {
        accept::resume(py, self, fd)
    }

    #[pyo3(signature = (sock, protocol, waiter=None, *, extra=None, server=None, context=None))]
    fn _make_socket_transport<'py>(
        slf: &Bound<'py, Self>,
        sock: Bound<'py, PyAny>,
        protocol: Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyAny>>,
        server: Option<Bound<'py, PyAny>>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        opening::socket(slf, sock, protocol, waiter, extra, server, context)
    }

    /// A TLS transport over a real socket, as `_make_ssl_transport`.
    #[pyo3(signature = (sock, protocol, sslcontext, waiter, server_side, server_hostname,
                        ssl_handshake_timeout, ssl_shutdown_timeout, extra, server, context))]
    #[expect(clippy::too_many_arguments, reason = "the signature is asyncio's")]
    fn _make_tls_transport<'py>(
        slf: &Bound<'py, Self>,
        sock: Bound<'py, PyAny>,
        protocol: Bound<'py, PyAny>,
        sslcontext: Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        server_side: &Bound<'py, PyAny>,
        server_hostname: Option<Bound<'py, PyAny>>,
        ssl_handshake_timeout: Option<Bound<'py, PyAny>>,
        ssl_shutdown_timeout: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyAny>>,
        server: Option<Bound<'py, PyAny>>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let tls = TlsOpening {
            protocol,
            context: sslcontext,
            waiter,
            server_side: server_side.is_truthy()?,
            server_hostname,
            handshake_timeout: ssl_handshake_timeout,
            shutdown_timeout: ssl_shutdown_timeout,
            connected: false,
            accepted: false,
        };
        opening::tls(slf, sock, tls, extra, server, context)
    }

    /// Protects a stream transport of ours, as `start_tls`; `waiter` hears of the handshake.
    /// `received` was read from it and is not delivered.
    #[expect(clippy::too_many_arguments, reason = "the signature is asyncio's")]
    fn _protect<'py>(
        slf: &Bound<'py, Self>,
        transport: &Bound<'py, PyAny>,
        protocol: Bound<'py, PyAny>,
        sslcontext: Bound<'py, PyAny>,
        waiter: Bound<'py, PyAny>,
        server_side: &Bound<'py, PyAny>,
        server_hostname: Option<Bound<'py, PyAny>>,
        ssl_handshake_timeout: Option<Bound<'py, PyAny>>,
        ssl_shutdown_timeout: Option<Bound<'py, PyAny>>,
        received: &[u8],
    ) -> PyResult<Py<PyAny>> {
        let opening = TlsOpening {
            protocol,
            context: sslcontext,
            waiter: Some(waiter),
            server_side: server_side.is_truthy()?,
            server_hostname,
            handshake_timeout: ssl_handshake_timeout,
            shutdown_timeout: ssl_shutdown_timeout,
            connected: true,
            accepted: false,
        };
        let made = start_tls(slf, &Ref::from(transport), opening, received)?;
        Ok(made.bind(slf.py()).clone().unbind())
    }

    #[pyo3(signature = (pipe, protocol, waiter=None, extra=None))]
    fn _make_read_pipe_transport<'py>(
        slf: &Bound<'py, Self>,
        pipe: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        make_pipe_transport(slf, false, pipe, protocol, waiter, extra)
    }

    #[pyo3(signature = (pipe, protocol, waiter=None, extra=None))]
    fn _make_write_pipe_transport<'py>(
        slf: &Bound<'py, Self>,
        pipe: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        make_pipe_transport(slf, true, pipe, protocol, waiter, extra)
    }

    #[pyo3(signature = (sock, protocol, address=None, waiter=None, extra=None))]
    fn _make_datagram_transport<'py>(
        slf: &Bound<'py, Self>,
        sock: Bound<'py, PyAny>,
        protocol: Bound<'py, PyAny>,
        address: Option<Bound<'py, PyAny>>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().check_closed()?;
        make_datagram_transport(slf, sock, protocol, address, waiter, extra)
    }

    fn _watch_child(slf: &Bound<'_, Self>, pid: i32, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        process::watch(slf, pid, transport)
    }

    fn _try_recv(&self, py: Python<'_>, fd: i32, count: isize) -> PyResult<Option<Py<PyAny>>> {
        sock::receive(py, self, fd, count)
    }

    fn _try_recv_into(
        &self,
        py: Python<'_>,
        fd: i32,
        buffer: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        sock::receive_into(py, fd, buffer)
    }

    fn _try_send(
        &self,
        py: Python<'_>,
        fd: i32,
        data: &Bound<'_, PyAny>,
        start: usize,
    ) -> PyResult<Option<usize>> {
        sock::send(py, fd, data, start)
    }

    fn _try_recvfrom<'py>(
        &self,
        py: Python<'py>,
        fd: i32,
        count: isize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        sock_peer::receive_from(py, self, fd, count)
    }

    fn _try_recvfrom_into<'py>(
        &self,
        py: Python<'py>,
        fd: i32,
        buffer: Bound<'py, PyAny>,
        count: isize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        sock_peer::receive_from_into(py, fd, &buffer, count)
    }

    fn _try_sendto(
        &self,
        py: Python<'_>,
        sock: &Bound<'_, PyAny>,
        family: i32,
        data: &Bound<'_, PyAny>,
        address: &Bound<'_, PyAny>,
    ) -> PyResult<isize> {
        sock_peer::send_to(py, sock, family, data, address)
    }

    fn _try_connect(
        &self,
        py: Python<'_>,
        sock: &Bound<'_, PyAny>,
        family: i32,
        address: &Bound<'_, PyAny>,
    ) -> PyResult<isize> {
        sock_peer::connect(py, sock, family, address)
    }

    fn _try_accept<'py>(&self, py: Python<'py>, fd: i32) -> PyResult<Option<Bound<'py, PyAny>>> {
        sock_peer::accept(py, fd)
    }

    fn _try_sendfile(
        &self,
        py: Python<'_>,
        fd: i32,
        file: i32,
        offset: u64,
        count: Option<u64>,
    ) -> PyResult<Option<usize>> {
        sock::send_file(py, fd, file, offset, count)
    }

    #[pyo3(signature = (host, port, family, r#type, proto, flags, /))]
    #[expect(clippy::too_many_arguments, reason = "the signature is getaddrinfo's")]
    fn _resolve_literal<'py>(
        &self,
        py: Python<'py>,
        host: Bound<'py, PyAny>,
        port: Bound<'py, PyAny>,
        family: i32,
        r#type: i32,
        proto: i32,
        flags: i32,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.check_closed()?;
        let wanted = resolve::Wanted { family, kind: r#type, protocol: proto, flags };
        resolve::literal(py, &host, &port, wanted)
    }

    #[pyo3(signature = (host, service, family, r#type, proto, flags, /))]
    fn _resolve<'py>(
        slf: &Bound<'py, Self>,
        host: Option<&[u8]>,
        service: Option<&[u8]>,
        family: i32,
        r#type: i32,
        proto: i32,
        flags: i32,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().check_closed()?;
        let wanted = resolve::Wanted { family, kind: r#type, protocol: proto, flags };
        resolve::addresses(slf, host, service, wanted)
    }

    #[pyo3(signature = (host, port, scope, flags, /))]
    fn _resolve_name<'py>(
        slf: &Bound<'py, Self>,
        host: &str,
        port: u16,
        scope: Option<(u32, u32)>,
        flags: i32,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        slf.get().check_closed()?;
        resolve::names(slf, host, port, scope, flags)
    }

    #[pyo3(signature = (token, /))]
    fn _forget_lookup(&self, token: u64) {
        resolve::forget(self, token);
    }

    fn _watch_once(slf: &Bound<'_, Self>, fd: i32, writing: bool) -> PyResult<Py<PyAny>> {
        let future = sock::watch_once(slf, fd, writing)?;
        Ok(future.bind(slf.py()).clone().unbind())
    }

    fn _unwatch_once(&self, fd: i32, writing: bool, future: &Bound<'_, PyAny>) {
        sock::unwatch_once(self, fd, writing, future);
    }

    /// Drops everything scheduled and watched. Part of `close()`.
    fn _drop_all(&self) {
        self.drop_all();
    }

    /// Ends the loop's wait, if it is in one. From any thread.
    fn _write_to_self(&self) {
        self.door.borrow().wake();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.show(&visit)
    }

    fn __clear__(&self) {
        self.let_go();
    }
}
