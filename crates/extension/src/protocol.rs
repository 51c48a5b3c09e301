//! Protocols in Rust, as objects that any loop takes for protocols.
//!
//! The object is oxloop's (`NativeProtocol`); it owns what is here. Invariant: a protocol is borrowed
//! while one of its callbacks runs, and what would call it again meanwhile waits (flow control) or is
//! refused.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::fmt;

use oxloop_abi::{Object, ProtocolTable};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::api::api;
use crate::guard::{drop_quietly, entry};
use crate::transport::Transport;

/// What a connection tells, in the order of `asyncio.Protocol`: `connection_made`; then
/// `data_received`, `pause_writing` and `resume_writing` in turns; perhaps `eof_received`;
/// `connection_lost`, once.
///
/// An error or panic closes the connection and goes to the loop's exception handler. A protocol is
/// never called from within itself: `pause_writing` comes when the callback that wrote too much has
/// returned. It may be dropped by any thread, hence `Send`.
///
/// ```no_run
/// use oxloop_extension::{Protocol, Transport, protocol_factory};
/// use pyo3::prelude::*;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()> {
///         transport.write(data)
///     }
/// }
///
/// /// `await loop.create_server(echo(), "127.0.0.1", 7777)`
/// #[pyfunction]
/// fn echo(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
///     protocol_factory(py, |_| Ok(Echo))
/// }
/// ```
#[expect(unused_variables, reason = "named for those who implement them")]
pub trait Protocol: Send + 'static {
    /// The connection is there.
    ///
    /// # Errors
    /// Are told; the connection stays, as in asyncio.
    fn connection_made(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        Ok(())
    }

    /// Data has come, and is lent for the call.
    ///
    /// # Errors
    /// End the connection.
    fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()>;

    /// The other end will send nothing more. False closes the transport; true keeps it, to go on
    /// writing.
    ///
    /// # Errors
    /// End the connection.
    fn eof_received(&mut self, transport: &Transport<'_>) -> PyResult<bool> {
        Ok(false)
    }

    /// What waits to be sent has exceeded the high mark.
    ///
    /// # Errors
    /// Are told.
    fn pause_writing(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        Ok(())
    }

    /// What waits to be sent has fallen to the low mark.
    ///
    /// # Errors
    /// Are told.
    fn resume_writing(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        Ok(())
    }

    /// The connection is over. Without an error it was closed by either end.
    ///
    /// # Errors
    /// Are told.
    fn connection_lost(
        &mut self,
        transport: &Transport<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Ok(())
    }

    /// Shows the garbage collector the Python objects that the protocol keeps and that may lead back
    /// to it. Calls [`Visit::visit`] and nothing else.
    fn traverse(&self, visit: &mut Visit) {}
}

/// The garbage collector, looking for what a protocol refers to.
pub struct Visit {
    visit: oxloop_abi::Visit,
    argument: *mut c_void,
    stopped: c_int,
}

impl Visit {
    /// Shows it an object.
    pub fn visit<T>(&mut self, object: &Py<T>) {
        if self.stopped == 0 {
            // SAFETY: a live object, and the collector's own argument.
            self.stopped = unsafe { (self.visit)(object.as_ptr().cast(), self.argument) };
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

/// The object for a protocol: what a protocol factory returns to Python.
///
/// # Errors
/// ImportError if this module and the installed oxloop do not fit, MemoryError.
pub fn protocol<P: Protocol>(py: Python<'_>, protocol: P) -> PyResult<Bound<'_, PyAny>> {
    let api = api(py)?;
    let place = Place { protocol: RefCell::new(protocol), late: Cell::new(None) };
    let data = Box::into_raw(Box::new(place));
    // SAFETY: the table is static and fits the data, which is the object's if it is made.
    unsafe {
        let object = (api.protocol_new)(&Glue::<P>::TABLE, data.cast());
        Bound::from_owned_ptr_or_err(py, object.cast()).inspect_err(|_| drop(Box::from_raw(data)))
    }
}

/// A protocol factory for `create_server` and `create_connection`: called without arguments, it makes
/// a protocol by `make`.
///
/// # Errors
/// MemoryError.
pub fn protocol_factory<P, F>(py: Python<'_>, make: F) -> PyResult<Bound<'_, PyAny>>
where
    P: Protocol,
    F: Fn(Python<'_>) -> PyResult<P> + Send + Sync + 'static,
{
    let make = move |py: Python<'_>| Ok(protocol(py, make(py)?)?.unbind());
    let factory = Factory { make: Box::new(make), name: type_name::<P>() };
    Ok(Bound::new(py, factory)?.into_any())
}

type Make = dyn Fn(Python<'_>) -> PyResult<Py<PyAny>> + Send + Sync;

/// Makes protocols when it is called.
#[pyclass(frozen, module = "oxloop", name = "RustProtocolFactory")]
struct Factory {
    make: Box<Make>,
    name: &'static str,
}

#[pymethods]
impl Factory {
    fn __call__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        crate::guard::caught(|| (self.make)(py))?
    }

    fn __repr__(&self) -> String {
        format!("<RustProtocolFactory of {}>", self.name)
    }
}

/// A protocol in its object.
struct Place<P> {
    protocol: RefCell<P>,
    /// Flow control that came while a callback ran: true to pause.
    late: Cell<Option<bool>>,
}

impl<P: Protocol> Place<P> {
    /// Runs a callback, then what came meanwhile.
    #[inline]
    fn call<T>(
        &self,
        transport: &Transport<'_>,
        callback: impl FnOnce(&mut P, &Transport<'_>) -> PyResult<T>,
    ) -> PyResult<T> {
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
            return Err(PyRuntimeError::new_err("a Rust protocol was called from within itself"));
        };
        let result = callback(&mut protocol, transport)?;
        while let Some(pause) = self.late.take() {
            flow(&mut *protocol, transport, pause)?;
        }
        Ok(result)
    }

    fn tell_flow(&self, transport: &Transport<'_>, pause: bool) -> PyResult<()> {
        let busy = self.protocol.try_borrow_mut().is_err();
        if !busy {
            return self.call(transport, |protocol, transport| flow(protocol, transport, pause));
        }
        // One takes the other back.
        let late = if self.late.get() == Some(!pause) { None } else { Some(pause) };
        self.late.set(late);
        Ok(())
    }
}

fn flow<P: Protocol>(protocol: &mut P, transport: &Transport<'_>, pause: bool) -> PyResult<()> {
    if pause { protocol.pause_writing(transport) } else { protocol.resume_writing(transport) }
}

/// The functions of the table, for a protocol.
struct Glue<P>(std::marker::PhantomData<P>);

impl<P: Protocol> Glue<P> {
    const TABLE: ProtocolTable = ProtocolTable {
        size: size_of::<ProtocolTable>(),
        connection_made: Glue::<P>::connection_made,
        data_received: Glue::<P>::data_received,
        eof_received: Glue::<P>::eof_received,
        pause_writing: Glue::<P>::pause_writing,
        resume_writing: Glue::<P>::resume_writing,
        connection_lost: Glue::<P>::connection_lost,
        traverse: Some(Glue::<P>::traverse),
        drop: Glue::<P>::drop,
    };

    unsafe extern "C" fn connection_made(data: *mut c_void, transport: Object) -> c_int {
        // SAFETY: by the table's contract.
        unsafe {
            enter::<P>(data, transport, |place, transport| {
                place.call(transport, P::connection_made).map(|()| 0)
            })
        }
    }

    unsafe extern "C" fn data_received(
        data: *mut c_void,
        transport: Object,
        start: *const u8,
        length: usize,
    ) -> c_int {
        // SAFETY: by the table's contract; the bytes are lent for the call.
        unsafe {
            let bytes = if length == 0 { &[] } else { std::slice::from_raw_parts(start, length) };
            enter::<P>(data, transport, |place, transport| {
                let told = place.call(transport, |protocol, transport| {
                    protocol.data_received(transport, bytes)
                });
                told.map(|()| 0)
            })
        }
    }

    unsafe extern "C" fn eof_received(data: *mut c_void, transport: Object) -> c_int {
        // SAFETY: by the table's contract.
        unsafe {
            enter::<P>(data, transport, |place, transport| {
                place.call(transport, P::eof_received).map(c_int::from)
            })
        }
    }

    unsafe extern "C" fn pause_writing(data: *mut c_void, transport: Object) -> c_int {
        // SAFETY: by the table's contract.
        unsafe {
            enter::<P>(data, transport, |place, transport| {
                place.tell_flow(transport, true).map(|()| 0)
            })
        }
    }

    unsafe extern "C" fn resume_writing(data: *mut c_void, transport: Object) -> c_int {
        // SAFETY: by the table's contract.
        unsafe {
            enter::<P>(data, transport, |place, transport| {
                place.tell_flow(transport, false).map(|()| 0)
            })
        }
    }

    unsafe extern "C" fn connection_lost(
        data: *mut c_void,
        transport: Object,
        error: Object,
    ) -> c_int {
        // SAFETY: by the table's contract.
        unsafe {
            enter::<P>(data, transport, |place, transport| {
                let error = Bound::from_borrowed_ptr_or_opt(transport.py(), error.cast());
                let told = place.call(transport, |protocol, transport| {
                    protocol.connection_lost(transport, error.as_ref())
                });
                told.map(|()| 0)
            })
        }
    }

    unsafe extern "C" fn traverse(
        data: *mut c_void,
        visit: oxloop_abi::Visit,
        argument: *mut c_void,
    ) -> c_int {
        // SAFETY: the data that the object was made with.
        let place = unsafe { &*data.cast::<Place<P>>() };
        let mut visit = Visit { visit, argument, stopped: 0 };
        // One that is being called is no garbage.
        if let Ok(protocol) = place.protocol.try_borrow() {
            let _ = crate::guard::caught(|| protocol.traverse(&mut visit));
        }
        visit.stopped
    }

    unsafe extern "C" fn drop(data: *mut c_void) {
        // SAFETY: the data that the object was made with, given up once.
        drop_quietly(unsafe { Box::from_raw(data.cast::<Place<P>>()) });
    }
}

/// # Safety
/// The data of a `P`, and a live transport; attached.
#[inline]
unsafe fn enter<P: Protocol>(
    data: *mut c_void,
    transport: Object,
    body: impl FnOnce(&Place<P>, &Transport<'_>) -> PyResult<c_int>,
) -> c_int {
    entry(|py| {
        // SAFETY: by contract.
        let (place, transport) =
            unsafe { (&*data.cast::<Place<P>>(), Bound::from_borrowed_ptr(py, transport.cast())) };
        body(place, &Transport::of(transport))
    })
}
