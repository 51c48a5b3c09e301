//! `_oxloop.Loop`: the native half of `oxloop.EventLoop`.
//!
//! It comes first in the MRO, before the interpreter's own selector loop, and overrides what runs
//! per callback, per event or per connection. The private attributes that the base class writes
//! (`_closed`, `_stopping`, `_debug`, …) are properties here, so the inherited methods set the
//! native state without knowing it.
//!
//! Invariant: the engine is borrowed only between two lines that run no Python; [`Loop::engine`] is
//! the one way to it.

mod accept;
mod clock;
mod collect;
mod files;
mod loop_ref;
mod process;
mod resolve;
mod run;
mod schedule;
mod sock;
mod sock_peer;
mod tasks;
mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::ffi::c_ulong;
use std::sync::Arc;

use oxloop_engine::{Door, Engine, Payload, System};
use pyo3::Borrowed;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::handle::HandleRef;
use crate::hooks::hooks;
use crate::host::{Job, PyHost};
use crate::native::Remote;
use crate::raw::{Lookup, Ref, Slot, copy_context};
use crate::transport::{
    Opening, TlsOpening, make_datagram_transport, make_pipe_transport, make_socket_transport,
    make_tls_transport, start_tls,
};

use accept::Serving;

pub(crate) use accept::file_descriptor;
pub(crate) use loop_ref::LoopRef;
pub(crate) use schedule::check_context;

/// The native half of an event loop: scheduling, turns, readiness, streams.
#[pyclass(frozen, subclass, module = "oxloop._oxloop")]
#[derive(Debug)]
pub struct Loop {
    engine: RefCell<Engine<PyHost>>,
    door: RefCell<Door<Job, System>>,
    /// For the threads of other native modules, from when one asks on.
    remote: RefCell<Option<Arc<Remote>>>,
    files: files::WatchedFiles,
    closed: Cell<bool>,
    debug: Cell<bool>,
    /// `_thread_id`: who runs the loop; 0: nobody.
    thread: Cell<c_ulong>,
    task_factory: Slot,
    clock: clock::Clock,
    /// `{"loop": self}`, what futures and tasks are made with; none once the loop is closed.
    keywords: Slot,
    /// `call_at` is ours: `call_later` need not call it by name.
    own_call_at: Cell<bool>,
    /// `call_soon` is ours: nobody sees what it returns to a C Task.
    own_call_soon: Cell<bool>,
    /// `Handle._run` is not asyncio's any more: call it instead of running handles natively.
    run_patched: Cell<bool>,
}

// SAFETY: the cells are touched by attached threads only, one at a time: the module declares that
// it needs the GIL.
unsafe impl Send for Loop {}
// SAFETY: as above.
unsafe impl Sync for Loop {}

/// The class of the loop that was last recognised: mostly there is but one.
static LAST_CLASS: Slot = Slot::new();

impl Loop {
    /// The engine, until the end of the statement.
    #[inline]
    pub(crate) fn engine(&self) -> RefMut<'_, Engine<PyHost>> {
        self.engine.borrow_mut()
    }

    /// The native half of `object`, if it is an event loop of ours.
    ///
    /// # Safety
    /// `object` is null or alive, and stays so while the result is used.
    #[inline]
    pub(crate) unsafe fn of_pointer<'a>(object: *mut ffi::PyObject) -> Option<&'a Loop> {
        // SAFETY: by contract; attached, since every caller is a method. The class that was found
        // last is kept alive, so its address names it.
        unsafe {
            let py = Python::assume_attached();
            let object = Borrowed::from_ptr_or_opt(py, object)?;
            if object.get_type_ptr().cast() != LAST_CLASS.as_ptr() {
                object.cast::<Loop>().ok()?;
                LAST_CLASS.set(Some(object.get_type().into()));
            }
            let this: &Loop = object.cast_unchecked::<Loop>().get();
            Some(&*std::ptr::from_ref(this))
        }
    }

    /// Whether nobody sees what is scheduled: not in debug mode, and `call_soon` is ours.
    pub(crate) fn has_plain_call_soon(&self) -> bool {
        self.own_call_soon.get() && !self.debug.get()
    }

    pub(crate) fn is_debug(&self) -> bool {
        self.debug.get()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether `run_forever` is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.get() != 0
    }

    pub(crate) fn check_closed(&self) -> PyResult<()> {
        if self.closed.get() { Err(closed_error()) } else { Ok(()) }
    }

    /// Makes every handle in the engine known to the collector: the run is over, and the loop may
    /// become garbage.
    fn show_handles(&self) {
        self.engine().visit(|payload| {
            if let Payload::Job(Job(object)) = payload
                && let Some(handle) = HandleRef::of(object)
            {
                handle.make_known();
            }
        });
    }

    pub(crate) fn is_on_own_thread(&self) -> bool {
        // SAFETY: no preconditions.
        self.thread.get() == unsafe { ffi::PyThread_get_thread_ident() }
    }
}

#[cold]
fn closed_error() -> PyErr {
    PyRuntimeError::new_err("Event loop is closed")
}

#[pymethods]
impl Loop {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Loop {
        let engine = Engine::new(System::default());
        Loop {
            door: RefCell::new(engine.door()),
            remote: RefCell::default(),
            engine: RefCell::new(engine),
            files: files::WatchedFiles::default(),
            closed: Cell::new(false),
            debug: Cell::new(false),
            thread: Cell::new(0),
            task_factory: Slot::default(),
            clock: clock::Clock::new(),
            keywords: Slot::default(),
            own_call_at: Cell::new(true),
            own_call_soon: Cell::new(true),
            run_patched: Cell::new(false),
        }
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
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let context = match context {
            Some(context) => context,
            None => copy_context(slf.py())?.bind(slf.py()).clone().unbind(),
        };
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
        let py = slf.py();
        slf.get().check_closed()?;
        if !hooks().is_real_socket(&sock) {
            let foreign = hooks().get(py, "make_foreign_transport")?;
            return foreign.call1((slf, sock, protocol, waiter, extra, server, context));
        }
        slf.method1("_ensure_fd_no_transport", (&sock,))?;
        let fd = accept::file_descriptor(&sock)?;
        let context = match context {
            Some(context) => Ref::from(context),
            None => copy_context(py)?,
        };
        let extra = Some(hooks().get(py, "transport_extra")?.call1((&sock, extra))?);
        let sock = Some(sock);
        let opening = Opening { protocol, context, server, fd, sock, peer: None, extra };
        make_socket_transport(slf, opening, waiter)
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
        let py = slf.py();
        slf.get().check_closed()?;
        let fd = accept::file_descriptor(&sock)?;
        let context = match context {
            Some(context) => Ref::from(context),
            None => copy_context(py)?,
        };
        let extra = Some(hooks().get(py, "transport_extra")?.call1((&sock, extra))?);
        let opening = TlsOpening {
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
        let sock = Some(sock);
        let made = make_tls_transport(slf, opening, |protocol| Opening {
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

impl Loop {
    /// The loop for other threads.
    pub(crate) fn remote(&self, py: Python<'_>) -> PyResult<Arc<Remote>> {
        self.check_closed()?;
        if let Some(remote) = &*self.remote.borrow() {
            return Ok(remote.clone());
        }
        let remote = Remote::new(py, self, self.door.borrow().clone())?;
        self.remote.replace(Some(remote.clone()));
        Ok(remote)
    }

    /// What `loop.time()` returns.
    ///
    /// # Safety
    /// `object` is an instance, alive for the call.
    pub(crate) unsafe fn now(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<f64> {
        // SAFETY: by contract.
        clock::now(py, unsafe { LoopRef::from_self(object) })
    }

    /// Looks for methods that are not ours: of a subclass, or assigned to the instance.
    fn find_overrides(slf: &Bound<'_, Loop>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let own = hooks().get(py, "own_methods")?.call1((slf,))?;
        let (time, call_at, call_soon) = own.extract::<(bool, bool, bool)>()?;
        this.clock.find(slf.attribute("__dict__")?.into(), time);
        this.own_call_at.set(call_at);
        this.own_call_soon.set(call_soon);
        Ok(())
    }
}

/// Gives the type the methods that PyO3 would make too slow.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Loop>();
    let mut methods = schedule::methods();
    methods.extend(tasks::methods());
    methods.extend(watch::methods());
    crate::raw::install(&class, methods)
}
