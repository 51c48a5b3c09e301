//! How a TLS transport begins.

use std::rc::Rc;

use oxloop_engine::{Limits, Pump};
use pyo3::exceptions::PyConnectionResetError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::below::Carrier;
use super::tail::Tail;
use super::types::{class, loop_slot};
use super::{Session, Tls};
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref, slot};
use crate::streams;
use crate::transport::{Opening, Transport};

/// What a TLS transport is made of. Options are `None`, or a value as Python gave it.
pub(crate) struct TlsOpening<'py> {
    pub(crate) protocol: Bound<'py, PyAny>,
    pub(crate) context: Bound<'py, PyAny>,
    pub(crate) waiter: Option<Bound<'py, PyAny>>,
    pub(crate) server_side: bool,
    pub(crate) server_hostname: Option<Bound<'py, PyAny>>,
    pub(crate) handshake_timeout: Option<Bound<'py, PyAny>>,
    pub(crate) shutdown_timeout: Option<Bound<'py, PyAny>>,
    /// The protocol has had its `connection_made`.
    pub(crate) connected: bool,
    /// Nobody waits for the handshake: its failure is reported in debug mode.
    pub(crate) accepted: bool,
}

/// A protected transport over a connected, non-blocking socket; the handshake begins in the next
/// turn. `below` is what the transport that carries it is made of, but for its protocol.
pub(crate) fn make_tls_transport<'py>(
    slf: &Bound<'py, Loop>,
    opening: TlsOpening<'py>,
    below: impl FnOnce(Bound<'py, PyAny>) -> Opening<'py>,
) -> PyResult<Ref> {
    let py = slf.py();
    let object = Tls::open(slf, opening)?;
    let Some(this) = Tls::of(&object) else { unreachable!("it was just made") };
    let lower = Transport::open(slf, below(this.bind(py)))?;
    this.tail.lower.set(Some(lower.clone_ref(py)));
    let (Some(transport), true) = (Transport::of(&lower), this.tail.accepted.get()) else {
        if let Err(error) = this.start_later(py) {
            Transport::of(&lower).inspect(|lower| lower.discard(py));
            return Err(error);
        }
        return Ok(object);
    };
    // In the event that accepted it, in the connection's context.
    transport.call_protocol(py, |_| this.start(py))?;
    Ok(object)
}

/// Protects a stream or TLS transport of ours from here on, whatever it has carried; the handshake
/// begins in the next turn.
pub(crate) fn start_tls<'py>(
    slf: &Bound<'py, Loop>,
    lower: &Ref,
    opening: TlsOpening<'py>,
    received: &[u8],
) -> PyResult<Ref> {
    let py = slf.py();
    let Some(carrier) = Carrier::of(lower) else {
        return Err(pyo3::exceptions::PyTypeError::new_err("not a stream or TLS transport"));
    };
    // The arguments first, as asyncio does.
    let object = Tls::open(slf, opening)?;
    slf.get().check_closed()?;
    let Some(this) = Tls::of(&object) else { unreachable!("it was just made") };
    this.tail.lower.set(Some(lower.clone_ref(py)));
    let (Some(below), false) = (this.below(py), carrier.is_ending(py)) else {
        return Err(PyConnectionResetError::new_err("Connection lost"));
    };
    below.set_reading(py, false)?;
    let paused = below.is_write_paused();
    let full = below.limit(py, below.limits())?;
    if let Some(pump) = this.pump() {
        if paused {
            pump.begin_paused();
        }
        if full {
            pump.set_blocked(true);
        }
        if !received.is_empty()
            && let Err(error) = pump.feed(received)
        {
            return Err(PyErr::from_value(error.bind(py).clone()));
        }
    }
    // From here on, what comes is ciphertext.
    carrier.carry(py, &this.bind(py))?;
    this.start_later(py)?;
    Ok(object)
}

impl Tls<'_> {
    /// Makes the transport and its session, without anything below.
    fn open<'py>(owner: &Bound<'py, Loop>, opening: TlsOpening<'py>) -> PyResult<Ref> {
        let py = owner.py();
        let made = hooks().get(py, "tls_session")?.call1((
            &opening.context,
            opening.server_side,
            &opening.server_hostname,
            &opening.handshake_timeout,
            &opening.shutdown_timeout,
        ))?;
        let made: [Bound<'_, PyAny>; 6] = made.extract()?;
        let [context, object, incoming, outgoing, handshake_timeout, shutdown_timeout] = made;
        let session = Session::new(&object, &incoming, &outgoing)?;
        // SAFETY: a new instance; its tail is written before anything looks at it.
        let transport = unsafe {
            let transport = Ref::from_owned(py, ffi::PyType_GenericAlloc(class().as_ptr(), 0))?;
            class().tail::<Tail>(transport.as_ptr()).write(Tail::new());
            *slot(transport.as_ptr(), loop_slot()) = Ref::from(owner).into_ptr();
            transport
        };
        let Some(this) = Tls::of(&transport) else { unreachable!("it was just made") };
        let tail = this.tail;
        let (low, high) = tail.write_marks.get();
        let pump = Pump::new(session, Limits { low, high: high.saturating_sub(1) });
        tail.pump.replace(Some(Rc::new(pump)));
        tail.owner.set(Some(owner.into()));
        tail.ssl_context.set(Some(context.into()));
        tail.ssl_object.set(Some(object.into()));
        tail.handshake_timeout.set(Some(handshake_timeout.into()));
        tail.shutdown_timeout.set(Some(shutdown_timeout.into()));
        tail.waiter.set(opening.waiter.map(Ref::from));
        tail.connected.set(opening.connected);
        tail.accepted.set(opening.accepted);
        tail.server_side.set(opening.server_side);
        this.use_protocol(py, &opening.protocol)?;
        Ok(transport)
    }

    fn start_later(self, py: Python<'_>) -> PyResult<()> {
        let (Some(owner), Some(context)) = (self.owner(py), self.context(py)) else {
            return Ok(());
        };
        let start = self.bind(py).attribute("_start_handshake")?;
        owner.schedule(py, &owner.0, &start, &[], &context)
    }

    pub(super) fn py_start(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        match this.start(py) {
            Err(error) if !is_exit(py, &error) => {
                // Somebody waits for the handshake, which would never end.
                let error = error.into_value(py).into_bound(py).into_any();
                this.handshake_failed(py, error.into())
            }
            begun => begun,
        }
    }

    /// The handshake begins: as `SSLProtocol.connection_made`.
    fn start(self, py: Python<'_>) -> PyResult<()> {
        let (Some(owner), Some(lower)) = (self.owner(py), self.lower(py)) else { return Ok(()) };
        let Some(carrier) = Carrier::of(&lower) else { return Ok(()) };
        if carrier.is_ending(py) {
            return Ok(());
        }
        if owner.is_debug() {
            self.tail.began.set(owner.0.method0("time")?.extract()?);
            self.log(py, "starts SSL handshake")?;
        }
        let timeout = self.tail.handshake_timeout.get(py);
        self.set_timer(py, timeout, "_check_handshake_timeout")?;
        carrier.read_again(py)?;
        self.go_on(py)
    }

    /// Makes `protocol` the one that is called.
    pub(super) fn use_protocol(self, py: Python<'_>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffered = protocol.is_instance(hooks().buffered_protocol.bind(py))?;
        let streaming = protocol.is_instance(hooks().stream_reader_protocol.bind(py))?;
        self.tail.buffered.set(buffered);
        self.tail.streaming.set(streaming);
        self.tail.protected.set(Tls::of(&Ref::from(protocol)).is_some());
        self.tail.inflow.set(streams::adopt(py, protocol));
        self.tail.protocol.set(Some(protocol.into()));
        Ok(())
    }

    /// Calls a method of this transport in a while, instead of the one before.
    pub(super) fn set_timer(
        self,
        py: Python<'_>,
        timeout: Option<Ref>,
        method: &str,
    ) -> PyResult<()> {
        self.stop_timer(py)?;
        let (Some(owner), Some(timeout)) = (self.owner(py), timeout) else { return Ok(()) };
        let callback = self.bind(py).attribute(method)?;
        let timer = owner.0.method1("call_later", (timeout.bind(py), callback))?;
        self.tail.timer.set(Some(timer.into()));
        Ok(())
    }

    pub(super) fn stop_timer(self, py: Python<'_>) -> PyResult<()> {
        match self.tail.timer.take() {
            Some(timer) => timer.bind(py).method0("cancel").map(drop),
            None => Ok(()),
        }
    }

    /// Tells who waits for the handshake, if anybody still does.
    pub(super) fn wake_waiter(self, py: Python<'_>, error: Option<&Ref>) -> PyResult<()> {
        let Some(waiter) = self.tail.waiter.take() else { return Ok(()) };
        let waiter = waiter.bind(py);
        if waiter.method0("done")?.is_truthy()? {
            return Ok(());
        }
        let woken = match error {
            None => waiter.method1("set_result", (py.None(),)),
            Some(error) => waiter.method1("set_exception", (error.bind(py),)),
        };
        // Before 3.12 a future refuses StopIteration: who waits gets to know that, then.
        woken.or_else(|error| waiter.method1("set_exception", (error.into_value(py),))).map(drop)
    }
}
