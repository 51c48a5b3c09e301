//! What is native of a streams' protocol: next to nothing. It notices the writer of a connection
//! that was accepted, and assignments to itself.
//!
//! (A native `_drain_helper` was measured to be slower than the interpreter's call of a coroutine
//! that does not wait.)

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::inflow::name;
use super::late;
use super::stock::{Stock, classes, dict_value, documented, name_and_value};
use crate::hooks::hooks;
use crate::raw::{
    Arguments, Ref, dict_set, getset, install, install_attributes, instance_dict, method,
    set_generic,
};

/// A protocol, borrowed for a call.
#[derive(Clone, Copy)]
struct Protocol(*mut ffi::PyObject);

/// Adds what is native to our class.
pub(super) fn install_into(class: &Bound<'_, PyType>) -> PyResult<()> {
    let set_attribute = method!(fast c"__setattr__", Protocol, set_attribute);
    install(class, documented(class, [(set_attribute, "($self, name, value)")])?)?;
    install(class, vec![(method!(fast c"_connected", Protocol, connected), None)])?;
    let callback = getset!(c"_client_connected_cb", Protocol, get_callback, set_callback);
    let waiters = getset!(c"_drain_waiters", Protocol, get_waiters, set_waiters);
    install_attributes(class, vec![callback, waiters])
}

/// Lets go of what a connection that idles does not need.
pub(super) fn lighten(py: Python<'_>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    let (names, protocol) = (&hooks().names, protocol.as_ptr());
    late::put_off(py, protocol, &names._drain_waiters, late::is_empty)
}

impl Protocol {
    /// # Safety
    /// A live protocol of our class.
    unsafe fn from_self(object: *mut ffi::PyObject) -> Protocol {
        Protocol(object)
    }

    fn stock() -> &'static Stock {
        &classes().protocol
    }
}

fn set_attribute(py: Python<'_>, this: Protocol, arguments: Arguments<'_>) -> PyResult<()> {
    let (name, value) = name_and_value(&arguments)?;
    // SAFETY: borrowed for the call.
    if Protocol::stock().is_override(&unsafe { Bound::from_borrowed_ptr(py, name) })? {
        Protocol::stock().release(py, this.0)?;
    }
    set_generic(py, this.0, name, value)
}

/// What `connection_made` calls with the reader and the writer: [`connected`], for the sake of the
/// writer.
fn get_callback(py: Python<'_>, this: Protocol) -> PyResult<Ref> {
    match dict_value(py, this.0, &hooks().names._client_connected_cb)? {
        Some(callback) if !callback.bind(py).is_none() => {
            // SAFETY: borrowed for the call.
            let this = unsafe { Bound::from_borrowed_ptr(py, this.0) };
            Ok(this.getattr(name(py, &hooks().names._connected)?)?.into())
        }
        _ => Ok(py.None().into_bound(py).into()),
    }
}

fn set_callback(
    py: Python<'_>,
    this: Protocol,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or_else(|| py.None().into_bound(py).into(), |value| Ref::from(&*value));
    dict_set(py, &instance_dict(py, this.0)?, &hooks().names._client_connected_cb, &value)
}

fn connected(py: Python<'_>, this: Protocol, arguments: Arguments<'_>) -> PyResult<Ref> {
    let callback = dict_value(py, this.0, &hooks().names._client_connected_cb)?;
    let callback = callback.unwrap_or_else(|| py.None().into_bound(py).into());
    if let &[_, writer] = arguments.positional {
        // SAFETY: borrowed for the call.
        let writer = unsafe { Bound::from_borrowed_ptr(py, writer) };
        // It was made just now: nobody has assigned anything to it.
        let stock = &classes().writer;
        if stock.is_class_of(writer.as_ptr()) && stock.is_intact(py) {
            stock.adopt(py, writer.as_ptr())?;
            let unused = &hooks().names._complete_fut;
            late::put_off(py, writer.as_ptr(), unused, late::is_unused_future)?;
        }
    }
    crate::raw::call_forwarding(py, &callback, arguments.positional, &arguments)
}

fn get_waiters(py: Python<'_>, this: Protocol) -> PyResult<Ref> {
    late::get(py, this.0, &hooks().names._drain_waiters, late::make_list)
}

fn set_waiters(
    py: Python<'_>,
    this: Protocol,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    late::set(py, this.0, &hooks().names._drain_waiters, value)
}
