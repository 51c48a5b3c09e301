//! `NativeProtocol`: a protocol whose callbacks are C functions of another module.
//!
//! From Python it is a protocol like every other, so any transport of any loop may call it; ours know
//! the type and give `data_received` the engine's buffer. Invariant: `data` is given up once, with the
//! object or by the collector, and never while a function of the table runs.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use oxloop_abi::ProtocolTable;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::{Borrowed, PyTypeInfo};

use crate::raw::{Ref, Slot};

/// A protocol of another native module. Made by that module, from Python it has the methods of
/// asyncio.Protocol.
#[pyclass(frozen, module = "oxloop._oxloop")]
#[derive(Debug)]
pub(crate) struct NativeProtocol {
    table: &'static ProtocolTable,
    /// Null once it was given up.
    data: Cell<*mut c_void>,
    /// Functions of the table that run at this moment.
    busy: Cell<u32>,
    /// Of the connection that was made, until it is lost: for those who call the methods.
    transport: Slot,
}

// SAFETY: the cells are touched by attached threads only, one at a time: the module declares that it
// needs the GIL. Whoever gave `data` knows that any attached thread may use it.
unsafe impl Send for NativeProtocol {}
// SAFETY: as above.
unsafe impl Sync for NativeProtocol {}

impl NativeProtocol {
    /// One without data: it does nothing.
    pub(super) fn new(table: &'static ProtocolTable) -> NativeProtocol {
        let (data, busy) = (Cell::new(null_mut()), Cell::new(0));
        NativeProtocol { table, data, busy, transport: Slot::new() }
    }

    /// # Safety
    /// As [`oxloop_abi::Api::protocol_new`]; once.
    pub(super) unsafe fn own(&self, data: *mut c_void) {
        self.data.set(data);
    }

    /// Whether `object` is one, and nothing that derives from it.
    pub(crate) fn is(py: Python<'_>, object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr() == NativeProtocol::type_object_raw(py)
    }

    /// The protocol inside of an object for which [`NativeProtocol::is`] is true.
    ///
    /// # Safety
    /// `object` is one.
    #[inline]
    pub(crate) unsafe fn of<'a>(py: Python<'_>, object: &'a Ref) -> &'a NativeProtocol {
        // SAFETY: by contract; frozen, so it is only shared. Alive while `object` is.
        unsafe {
            let this: &NativeProtocol =
                Borrowed::from_ptr(py, object.as_ptr()).cast_unchecked::<NativeProtocol>().get();
            &*std::ptr::from_ref(this)
        }
    }

    /// `data_received`, without an object for the data.
    #[inline]
    pub(crate) fn receive(
        &self,
        py: Python<'_>,
        transport: *mut ffi::PyObject,
        bytes: &[u8],
    ) -> PyResult<()> {
        self.call(py, |table, data| {
            // SAFETY: the table's contract; the bytes are lent for the call.
            unsafe { (table.data_received)(data, transport.cast(), bytes.as_ptr(), bytes.len()) }
        })
        .map(drop)
    }

    /// `protocol` is set over a transport that is connected already; it may be native.
    pub(crate) fn is_set_on(protocol: &Bound<'_, PyAny>, transport: &Bound<'_, PyAny>) {
        if let Ok(protocol) = protocol.cast_exact::<NativeProtocol>() {
            protocol.get().transport.set(Some(transport.into()));
        }
    }

    /// Calls a function of the table; its exception, or what it returned.
    #[inline]
    fn call(
        &self,
        py: Python<'_>,
        function: impl FnOnce(&ProtocolTable, *mut c_void) -> c_int,
    ) -> PyResult<c_int> {
        let data = self.data.get();
        if data.is_null() {
            return Ok(0);
        }
        self.busy.set(self.busy.get() + 1);
        let status = function(self.table, data);
        self.busy.set(self.busy.get() - 1);
        if status < 0 { Err(PyErr::fetch(py)) } else { Ok(status) }
    }

    /// As [`NativeProtocol::call`], with the transport of the connection.
    fn call_connected(
        &self,
        py: Python<'_>,
        function: impl FnOnce(&ProtocolTable, *mut c_void, *mut c_void) -> c_int,
    ) -> PyResult<c_int> {
        let Some(transport) = self.transport.get(py) else {
            return Err(PyRuntimeError::new_err("the native protocol is not connected"));
        };
        self.call(py, |table, data| function(table, data, transport.as_ptr().cast()))
    }

    fn give_up(&self) {
        let data = self.data.replace(null_mut());
        if !data.is_null() {
            // SAFETY: once, attached; nothing of the table runs, or somebody would hold the object.
            unsafe { (self.table.drop)(data) }
        }
    }
}

#[pymethods]
impl NativeProtocol {
    fn connection_made(&self, py: Python<'_>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        self.transport.set(Some(transport.into()));
        self.call_connected(py, |table, data, transport| {
            // SAFETY: the table's contract.
            unsafe { (table.connection_made)(data, transport) }
        })
        .map(drop)
    }

    fn data_received(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.call_connected(py, |table, own, transport| {
            // SAFETY: the table's contract; the bytes are borrowed for the call.
            unsafe { (table.data_received)(own, transport, data.as_ptr(), data.len()) }
        })
        .map(drop)
    }

    fn eof_received(&self, py: Python<'_>) -> PyResult<bool> {
        self.call_connected(py, |table, data, transport| {
            // SAFETY: the table's contract.
            unsafe { (table.eof_received)(data, transport) }
        })
        .map(|keep| keep != 0)
    }

    fn pause_writing(&self, py: Python<'_>) -> PyResult<()> {
        self.call_connected(py, |table, data, transport| {
            // SAFETY: the table's contract.
            unsafe { (table.pause_writing)(data, transport) }
        })
        .map(drop)
    }

    fn resume_writing(&self, py: Python<'_>) -> PyResult<()> {
        self.call_connected(py, |table, data, transport| {
            // SAFETY: the table's contract.
            unsafe { (table.resume_writing)(data, transport) }
        })
        .map(drop)
    }

    fn connection_lost(&self, py: Python<'_>, exc: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let error = exc.map_or(null_mut(), |exc| exc.as_ptr().cast());
        let told = self.call_connected(py, |table, data, transport| {
            // SAFETY: the table's contract.
            unsafe { (table.connection_lost)(data, transport, error) }
        });
        self.transport.set(None);
        told.map(drop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.transport.visit(|transport| visit.call(transport.as_py()))?;
        traverse_data(self, &visit)
    }

    fn __clear__(&self) {
        self.transport.set(None);
        if self.busy.get() == 0 {
            self.give_up();
        }
    }
}

impl Drop for NativeProtocol {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// PyO3 hides the collector's function; its own way to call it is given an object at a time.
fn traverse_data(this: &NativeProtocol, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    struct Walk<'a, 'b> {
        visit: &'a PyVisit<'b>,
        stopped: Option<PyTraverseError>,
    }

    unsafe extern "C" fn each(object: *mut c_void, argument: *mut c_void) -> c_int {
        // SAFETY: the argument is the walk below; the object is alive, and only looked at.
        let walk = unsafe { &mut *argument.cast::<Walk<'_, '_>>() };
        // SAFETY: Py<T> is a transparent pointer, never null; this one is borrowed, and not dropped.
        let object = unsafe { &*(&raw const object).cast::<Py<PyAny>>() };
        walk.stopped = walk.visit.call(object).err();
        c_int::from(walk.stopped.is_some())
    }

    let data = this.data.get();
    let Some(traverse) = this.table.traverse.filter(|_| !data.is_null()) else { return Ok(()) };
    let mut walk = Walk { visit, stopped: None };
    // SAFETY: the table's contract; the walk lives as long as the call.
    unsafe { traverse(data, each, (&raw mut walk).cast()) };
    walk.stopped.map_or(Ok(()), Err)
}
