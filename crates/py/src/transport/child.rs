//! What a child process writes, on its way from the pipe to its protocol.
//!
//! In asyncio the pipe's protocol, a `ReadSubprocessPipeProto`, hands each piece to the child's
//! transport, which calls `pipe_data_received` of the child's protocol in the next turn. Here the
//! pipe's transport does that itself, in the same order. Whatever is unusual is asyncio's: pieces that
//! come before all pipes are connected, other classes, and methods that somebody has replaced.
//!
//! The readers of an `asyncio.subprocess.Process` become native when the first piece comes, as those
//! of connections do, and are what is called in the next turn.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::event_loop::Loop;
use crate::hooks::{Hooks, hooks};
use crate::raw::{Global, Ref, copy_context, dict_get, instance_dict};
use crate::streams;

/// asyncio's classes and methods, as they were when oxloop was imported.
#[derive(Debug)]
struct Stock {
    pipe_protocol: Ref,
    data_received: Ref,
    pipe_data_received: Ref,
    call: Ref,
    stream_protocol: Ref,
    feed: Ref,
}

static STOCK: Global<Option<Stock>> = Global::new();

/// Looks asyncio's classes up. Called once, by the module's initialisation.
pub(super) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    let found = hooks.get(py, "CHILD_OUTPUT")?;
    let stock = if found.is_none() {
        None
    } else {
        let found: [Bound<'_, PyAny>; 6] = found.extract()?;
        let [pipe_protocol, data_received, pipe_data_received, call, stream_protocol, feed] =
            found.map(Ref::from);
        Some(Stock {
            pipe_protocol,
            data_received,
            pipe_data_received,
            call,
            stream_protocol,
            feed,
        })
    };
    // SAFETY: called once, by the module's initialisation, before anything that reads it.
    unsafe { STOCK.set(stock) };
    Ok(())
}

/// Whether that is asyncio's protocol of a pipe that a child writes to.
pub(super) fn is_pipe_protocol(protocol: &Bound<'_, PyAny>) -> bool {
    STOCK.get().as_ref().is_some_and(|stock| is_exactly(protocol.as_ptr(), &stock.pipe_protocol))
}

/// Schedules the call that tells the child's protocol of `data`. False: nothing was done, and
/// asyncio's way has to be gone. In the pipe's context.
pub(super) fn deliver(py: Python<'_>, protocol: &Ref, data: &Ref) -> PyResult<bool> {
    let (Some(stock), names) = (STOCK.get(), &hooks().names) else { return Ok(false) };
    let pipe = Object::new(py, protocol)?;
    if !pipe.has_stock(py, &names.data_received, &stock.data_received)? {
        return Ok(false);
    }
    let (Some(child), Some(fd)) = (pipe.get(py, &names.proc), pipe.get(py, &names.fd)) else {
        return Ok(false);
    };
    let child = Object::new(py, &child)?;
    if !child.has_stock(py, &names._pipe_data_received, &stock.pipe_data_received)?
        || !child.has_stock(py, &names._call, &stock.call)?
    {
        return Ok(false);
    }
    let none = |value: &Ref| value.bind(py).is_none();
    let (Some(owner), Some(receiver), true) = (
        child.get(py, &names._loop),
        child.get(py, &names._protocol),
        child.get(py, &names._pending_calls).is_some_and(|calls| none(&calls)),
    ) else {
        return Ok(false);
    };
    let Ok(owner) = owner.bind(py).cast::<Loop>() else { return Ok(false) };
    if !owner.get().has_plain_call_soon() {
        return Ok(false);
    }
    let data = data.bind(py).clone();
    let context = copy_context(py)?;
    if let Some(feed) = feed_of(py, stock, &receiver, &fd)? {
        owner.get().schedule(py, owner, &feed, &[data], &context)?;
    } else {
        let callback = get_attribute(py, &receiver, &names.pipe_data_received)?;
        let fd = fd.bind(py).clone();
        owner.get().schedule(py, owner, callback.bind(py), &[fd, data], &context)?;
    }
    Ok(true)
}

/// `feed_data` of the reader that asyncio's own protocol would call.
fn feed_of<'py>(
    py: Python<'py>,
    stock: &Stock,
    receiver: &Ref,
    fd: &Ref,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let names = &hooks().names;
    if !is_exactly(receiver.as_ptr(), &stock.stream_protocol) {
        return Ok(None);
    }
    let receiver = Object::new(py, receiver)?;
    if !receiver.has_stock(py, &names.pipe_data_received, &stock.feed)? {
        return Ok(None);
    }
    let reader = match fd.bind(py).extract::<i32>() {
        Ok(1) => receiver.get(py, &names.stdout),
        Ok(2) => receiver.get(py, &names.stderr),
        _ => None,
    };
    let Some(reader) = reader.filter(|reader| streams::adopt_reader(py, reader)) else {
        return Ok(None);
    };
    Ok(Some(get_attribute(py, &reader, &names.feed_data)?.bind(py).clone()))
}

/// An object of asyncio's, and its dict.
struct Object<'a> {
    object: &'a Ref,
    dict: Ref,
}

impl<'a> Object<'a> {
    fn new(py: Python<'_>, object: &'a Ref) -> PyResult<Object<'a>> {
        Ok(Object { object, dict: instance_dict(py, object.as_ptr())? })
    }

    fn get(&self, py: Python<'_>, name: &Ref) -> Option<Ref> {
        dict_get(py, &self.dict, name)
    }

    /// Whether a method is asyncio's: nobody has replaced it, of the class or of the object.
    fn has_stock(&self, py: Python<'_>, name: &Ref, original: &Ref) -> PyResult<bool> {
        // SAFETY: a live object has a type, which lives as long.
        let class = unsafe { Ref::from_borrowed(ffi::Py_TYPE(self.object.as_ptr()).cast()) };
        let found = get_attribute(py, &class, name)?;
        Ok(found.as_ptr() == original.as_ptr() && self.get(py, name).is_none())
    }
}

fn is_exactly(object: *mut ffi::PyObject, class: &Ref) -> bool {
    // SAFETY: callers pass a live object.
    unsafe { ffi::Py_TYPE(object).cast() == class.as_ptr() }
}

fn get_attribute(py: Python<'_>, object: &Ref, name: &Ref) -> PyResult<Ref> {
    // SAFETY: two live objects; a new reference or null with an exception.
    unsafe { Ref::from_owned(py, ffi::PyObject_GetAttr(object.as_ptr(), name.as_ptr())) }
}
