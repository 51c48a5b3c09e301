//! What is native of a writer: draining.

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::coroutine;
use super::inflow::Inflow;
use super::late;
use super::operation::Operation;
use super::stock::{Stock, call_inherited, classes, documented, name_and_value};
use crate::hooks::hooks;
use crate::raw::{
    Arguments, Ref, dict_get, getset, install, install_attributes, instance_dict, method,
    set_generic,
};
use crate::transport::{Tls, Transport};

/// A writer, borrowed for a call.
#[derive(Clone, Copy)]
struct Writer(*mut ffi::PyObject);

/// Adds what is native to our class.
pub(super) fn install_into(class: &Bound<'_, PyType>) -> PyResult<()> {
    let methods = [
        (method!(noargs c"drain", Writer, drain), "($self)"),
        (method!(fast c"__setattr__", Writer, set_attribute), "($self, name, value)"),
    ];
    install(class, documented(class, methods)?)?;
    let unused = getset!(c"_complete_fut", Writer, get_complete, set_complete);
    install_attributes(class, vec![unused])
}

impl Writer {
    /// # Safety
    /// A live writer of our class.
    unsafe fn from_self(object: *mut ffi::PyObject) -> Writer {
        Writer(object)
    }

    fn stock() -> &'static Stock {
        &classes().writer
    }
}

fn drain(py: Python<'_>, this: Writer) -> PyResult<Ref> {
    if Writer::stock().is_intact(py) {
        return coroutine::call(py, this.0, None, Operation::Drain);
    }
    let method = Writer::stock().inherited(py, this.0, "drain")?;
    Writer::stock().release(py, this.0)?;
    call_inherited(py, &method, this.0, &Arguments::none())
}

/// Whether draining has nothing to wait for and nothing to raise: the reader has no exception, the
/// transport is open, and the protocol is not paused.
pub(super) fn is_fluent(py: Python<'_>, writer: *mut ffi::PyObject) -> PyResult<bool> {
    let names = &hooks().names;
    let dict = instance_dict(py, writer)?;
    let get = |name: &Ref| dict_get(py, &dict, name);
    let (Some(reader), Some(transport), Some(protocol)) =
        (get(&names._reader), get(&names._transport), get(&names._protocol))
    else {
        return Ok(false);
    };
    let classes = classes();
    let usual = classes.reader.is_native(reader.as_ptr())
        && classes.protocol.is_native(protocol.as_ptr())
        && classes.reader.is_intact(py)
        && classes.protocol.is_intact(py);
    if !usual {
        return Ok(false);
    }
    let failed =
        Inflow::of(py, reader.as_ptr())?.is_none_or(|inflow| inflow.get().exception.is_some());
    let open = match Transport::of(&transport) {
        Some(transport) => transport.is_open_for(&protocol),
        None => Tls::of(&transport).is_some_and(|transport| transport.is_open_for(py, &protocol)),
    };
    Ok(open && !failed && is_writable(py, &protocol)?)
}

/// Whether the protocol is neither paused nor without a connection.
fn is_writable(py: Python<'_>, protocol: &Ref) -> PyResult<bool> {
    let dict = instance_dict(py, protocol.as_ptr())?;
    let is_false = |name: &Ref| {
        let value = dict_get(py, &dict, name);
        // SAFETY: a singleton.
        value.is_some_and(|value| value.as_ptr() == unsafe { ffi::Py_False() })
    };
    Ok(is_false(&hooks().names._paused) && is_false(&hooks().names._connection_lost))
}

fn set_attribute(py: Python<'_>, this: Writer, arguments: Arguments<'_>) -> PyResult<()> {
    let (name, value) = name_and_value(&arguments)?;
    // SAFETY: borrowed for the call.
    if Writer::stock().is_override(&unsafe { Bound::from_borrowed_ptr(py, name) })? {
        Writer::stock().release(py, this.0)?;
    }
    set_generic(py, this.0, name, value)
}

fn get_complete(py: Python<'_>, this: Writer) -> PyResult<Ref> {
    late::get(py, this.0, &hooks().names._complete_fut, late::make_done_future)
}

fn set_complete(
    py: Python<'_>,
    this: Writer,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    late::set(py, this.0, &hooks().names._complete_fut, value)
}
