//! How a transport begins.

use std::io;

use oxloop_engine::{Address, Engine, Fd, Key};
use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::types::{Kind, base_slots, class, tail_of};
use super::{Tail, Transport};
use crate::errors::os_error;
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::host::PyHost;
use crate::raw::{Ref, enter_context, slot};

/// What a transport is made of.
pub(crate) struct Opening<'py> {
    pub(crate) protocol: Bound<'py, PyAny>,
    pub(crate) context: Ref,
    pub(crate) server: Option<Bound<'py, PyAny>>,
    pub(crate) fd: Fd,
    /// `None`: the descriptor is ours to close.
    pub(crate) sock: Option<Bound<'py, PyAny>>,
    pub(crate) peer: Option<Address>,
    pub(crate) extra: Option<Bound<'py, PyAny>>,
}

/// A transport over a connected, non-blocking Python socket; `connection_made` follows in the next
/// turn, then reading, then the waiter.
pub(crate) fn make_socket_transport<'py>(
    slf: &Bound<'py, Loop>,
    opening: Opening<'py>,
    waiter: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let object = Transport::open(slf, opening)?;
    Transport::start(slf, &object, waiter)?;
    Ok(object.bind(slf.py()).clone())
}

impl Transport<'_> {
    /// Makes the transport and its stream. On an error a bare descriptor is closed.
    pub(crate) fn open(owner: &Bound<'_, Loop>, opening: Opening<'_>) -> PyResult<Ref> {
        let fd = opening.fd;
        // Refused for anything but TCP, where there is no Nagle.
        let _ = oxloop_os::socket::set_nodelay(fd);
        Transport::open_as(owner, Kind::Stream, opening, |_, engine, conn| {
            engine.open_stream(fd, conn)
        })
    }

    /// As [`Transport::open`]; `register` finishes the tail and makes what is to be in the engine.
    pub(super) fn open_as(
        owner: &Bound<'_, Loop>,
        kind: Kind,
        opening: Opening<'_>,
        register: impl FnOnce(Transport<'_>, &mut Engine<PyHost>, Ref) -> Result<Key, (io::Error, Ref)>,
    ) -> PyResult<Ref> {
        let py = owner.py();
        let object = Transport::allocate(py, kind).inspect_err(|_| {
            if opening.sock.is_none() {
                opening.fd.close();
            }
        })?;
        let Some(this) = Transport::of(&object) else { unreachable!("it was just made") };
        let tail = this.tail;
        let (extra_slot, loop_slot) = base_slots();
        // SAFETY: empty slots of the base of a live instance.
        unsafe {
            *slot(this.object, loop_slot) = Ref::from(owner).into_ptr();
            if let Some(extra) = opening.extra {
                *slot(this.object, extra_slot) = Ref::from(extra).into_ptr();
            }
        }
        tail.socket.bare.set(opening.sock.is_none());
        tail.socket.fd.set(Some(opening.fd));
        tail.sock.set(opening.sock.map(Ref::from));
        tail.peer.set(opening.peer);
        tail.context.set(Some(opening.context));
        tail.owner.set(Some(owner.into()));
        owner.get().take_over(py, opening.fd)?;
        let opened = register(this, &mut owner.get().engine(), object.clone_ref(py));
        match opened {
            Ok(stream) => tail.stream.set(Some(stream)),
            Err((error, conn)) => {
                drop(conn);
                return Err(os_error(py, &error));
            }
        }
        let mut ready = this.use_protocol(py, &opening.protocol);
        if let (Ok(()), Some(server)) = (&ready, &opening.server) {
            ready = this.attach(py, server);
        }
        if let Err(error) = ready {
            this.discard(py);
            return Err(error);
        }
        Ok(object)
    }

    /// A transport without anything.
    pub(super) fn allocate(py: Python<'_>, kind: Kind) -> PyResult<Ref> {
        // SAFETY: a new instance; its tail is written before anything looks at it.
        unsafe {
            let object = Ref::from_owned(py, ffi::PyType_GenericAlloc(class(kind).as_ptr(), 0))?;
            tail_of(object.as_ptr()).write(Tail::new(kind));
            Ok(object)
        }
    }

    /// The transport could not begin: nothing of it stays in the engine, and its descriptor is
    /// closed unless it came in a socket, which is the caller's.
    pub(super) fn discard(self, py: Python<'_>) {
        self.tail.closing.set(true);
        self.tail.sock.set(None);
        if let Err(error) = self.let_go(py) {
            error.write_unraisable(py, Some(&self.bind(py)));
        }
    }

    fn attach(self, py: Python<'_>, server: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = hooks().names._attach.bind(py).cast::<PyString>()?;
        if hooks().server_counts_transports {
            server.call_method1(name, (self.bind(py),))?;
        } else {
            server.call_method0(name)?;
        }
        self.tail.server.set(Some(server.into()));
        Ok(())
    }

    /// `connection_made` now, for a connection that was accepted in this event.
    pub(crate) fn start_now(self, py: Python<'_>) -> PyResult<()> {
        let made = self.call_protocol(py, |protocol| {
            let name = hooks().names.connection_made.bind(py).cast::<PyString>()?;
            protocol.bind(py).call_method1(name, (self.bind(py),)).map(drop)
        });
        let begun = self.begin(py);
        if let Err(error) = made {
            if is_exit(py, &error) {
                return Err(error);
            }
            let report = hooks().get(py, "report_connection_made_error")?;
            report.call1((self.bind(py), error.into_value(py)))?;
        }
        begun
    }

    /// `connection_made` in the next turn, then reading, then the waiter. An error leaves nothing.
    pub(super) fn start(
        owner: &Bound<'_, Loop>,
        object: &Ref,
        waiter: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = owner.py();
        let Some(this) = Transport::of(object) else { return Ok(()) };
        let started = this.start_later(py, owner, waiter);
        if started.is_err() {
            this.discard(py);
        }
        started
    }

    pub(super) fn start_later(
        self,
        py: Python<'_>,
        owner: &Bound<'_, Loop>,
        waiter: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        let Some(context) = self.tail.context.get(py) else { return Ok(()) };
        let names = &hooks().names;
        let made = protocol.bind(py).getattr(names.connection_made.bind(py).cast::<PyString>()?)?;
        owner.get().schedule(py, owner, &made, &[self.bind(py)], &context)?;
        let begin = self.bind(py).getattr(names._begin.bind(py).cast::<PyString>()?)?;
        let waiter = waiter.unwrap_or_else(|| py.None().into_bound(py));
        owner.get().schedule(py, owner, &begin, &[waiter], &context)
    }

    /// Starts to read, unless `connection_made` paused or closed the transport.
    fn begin(self, py: Python<'_>) -> PyResult<()> {
        if !self.is_reading() {
            return Ok(());
        }
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let started = owner.engine().start_reading(stream);
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = os_error(py, &error);
                match self.tail.kind {
                    Kind::WritePipe => self.cannot_notice_the_end(py, error),
                    _ => {
                        let text = "Fatal error: the connection cannot be watched";
                        self.fatal_error(py, error, text)
                    }
                }
            }
        }
    }

    /// Reads, whether or not it was paused.
    pub(super) fn read_again(self, py: Python<'_>) -> PyResult<()> {
        self.tail.paused.set(false);
        self.begin(py)
    }

    pub(super) fn py_begin(
        py: Python<'_>,
        this: Transport<'_>,
        waiter: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        let begun = this.begin(py);
        if !waiter.is_none() {
            hooks().get(py, "set_result_unless_cancelled")?.call1((waiter, py.None()))?;
        }
        begun
    }

    /// Runs a callback of the protocol in the connection's context; nothing without a protocol.
    #[inline]
    pub(super) fn call_protocol<T>(
        self,
        py: Python<'_>,
        call: impl FnOnce(&Ref) -> PyResult<T>,
    ) -> PyResult<Option<T>> {
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(None) };
        match self.tail.context.get(py) {
            Some(context) => enter_context(py, &context, || call(&protocol)).map(Some),
            None => call(&protocol).map(Some),
        }
    }
}
