//! asyncio's streams, native: a reader that is fed without Python, and reads without it.
//!
//! `asyncio.open_connection` and `start_server` make a `StreamReader` and a `StreamReaderProtocol`,
//! and hand the protocol to a transport of ours. There the pair is recognised if both are exactly
//! asyncio's, and neither their classes nor they have anything overridden. They change their class
//! to subclasses of ours; so does the `StreamWriter` of a server's connection. Received bytes then
//! go into the reader's [`Inflow`], past the protocol.
//!
//! Everything else, and everything unusual, is asyncio's own Python on the same state. As soon as
//! somebody assigns to what counts, of an object or of asyncio's classes, the objects get their old
//! class and state back.

mod buffer;
mod call;
mod coroutine;
mod inflow;
mod late;
mod operation;
mod protocol;
mod reader;
mod stock;
mod writer;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::hooks::hooks;
use crate::raw::{Ref, Slot};

pub(crate) use inflow::Inflow;

use stock::classes;

/// Makes the classes. Called once, by the module's initialisation.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    let classes = stock::init(py)?;
    coroutine::init(py)?;
    reader::install_into(&classes.reader.native_class(py)?)?;
    protocol::install_into(&classes.protocol.native_class(py)?)?;
    writer::install_into(&classes.writer.native_class(py)?)
}

/// The inflow behind a protocol that a transport got, if it and its reader are asyncio's own.
pub(crate) fn adopt(py: Python<'_>, protocol: &Bound<'_, PyAny>) -> Option<Ref> {
    let stock = &classes().protocol;
    let is_native = stock.is_native(protocol.as_ptr());
    if !classes().known || !(is_native || stock.is_class_of(protocol.as_ptr())) {
        return None;
    }
    // Not recognising them is never wrong.
    match try_adopt(py, protocol, is_native) {
        Ok(inflow) => inflow,
        Err(error) => {
            error.write_unraisable(py, Some(protocol));
            None
        }
    }
}

fn try_adopt(
    py: Python<'_>,
    protocol: &Bound<'_, PyAny>,
    is_native: bool,
) -> PyResult<Option<Ref>> {
    if !is_native && !classes().protocol.accepts(py, protocol) {
        return Ok(None);
    }
    let reader = protocol.getattr(inflow::name(py, &hooks().names._stream_reader)?)?;
    let inflow = if classes().reader.is_native(reader.as_ptr()) {
        Inflow::of(py, reader.as_ptr())?
    } else if classes().reader.accepts(py, &reader) {
        Inflow::adopt(py, &reader)?
    } else {
        None
    };
    let Some(inflow) = inflow else { return Ok(None) };
    if !is_native {
        classes().protocol.adopt(py, protocol.as_ptr())?;
        protocol::lighten(py, protocol)?;
    }
    Ok(Some(inflow.into_any().into()))
}

/// Makes a reader native that has no protocol of asyncio's streams. False if it is not asyncio's own,
/// or cannot be fed natively now.
pub(crate) fn adopt_reader(py: Python<'_>, reader: &Ref) -> bool {
    let stock = &classes().reader;
    if !classes().known || !stock.is_intact(py) {
        return false;
    }
    if stock.is_native(reader.as_ptr()) {
        return true;
    }
    let reader = reader.bind(py);
    // Not recognising it is never wrong.
    stock.accepts(py, reader) && Inflow::adopt(py, reader).is_ok_and(|inflow| inflow.is_some())
}

/// Where data for `protocol` goes, if that is still `inflow`; `None`: to `data_received`.
#[inline]
pub(crate) fn fed<'py>(
    py: Python<'py>,
    protocol: &Slot,
    inflow: &Slot,
) -> Option<Bound<'py, Inflow>> {
    if !inflow.is_some() || !protocol.is_some() {
        return None;
    }
    let classes = classes();
    let usual = classes.protocol.is_native(protocol.as_ptr())
        && classes.protocol.is_intact(py)
        && classes.reader.is_intact(py);
    // Nobody but the transport has it: the reader is gone. asyncio's way says what happens then.
    // SAFETY: a live object.
    if !usual || unsafe { ffi::Py_REFCNT(inflow.as_ptr()) } == 1 {
        return None;
    }
    let inflow = inflow.get(py)?;
    let inflow = inflow.bind(py).clone().cast_into::<Inflow>().ok()?;
    inflow.get().takes_data().then_some(inflow)
}
