//! `StreamCoroutine`: what the native methods return to be awaited, a [`Call`] as an object.
//!
//! It is registered as a `collections.abc.Coroutine`, so tasks and `asyncio.wait_for` take it.

use std::ffi::{CStr, c_int, c_void};

use pyo3::Borrowed;
use pyo3::exceptions::{PyRuntimeWarning, PyStopIteration};
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::Call;
use super::inflow::Inflow;
use super::operation::Operation;
use crate::raw::{
    Arguments, Class, ClassSpec, Global, Raised, Ref, Sent, base_size, entry, getset, leak_table,
    method,
};

static CLASS: Global<Class> = Global::new();

/// Makes the type. Called once, by the module's initialisation.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let methods = vec![
        method!(one c"send", This, py_send),
        method!(fast c"throw", This, py_throw),
        method!(noargs c"close", This, py_close),
    ];
    let attributes =
        vec![getset!(c"__name__", This, get_name), getset!(c"__qualname__", This, get_qualname)];
    let base = py.get_type::<PyAny>();
    let spec = ClassSpec {
        name: c"oxloop.StreamCoroutine",
        tail: base_size(&base),
        tail_size: size_of::<Call>(),
        slots: vec![
            slot(ffi::Py_tp_methods, leak_table(methods, ffi::PyMethodDef::zeroed())),
            slot(ffi::Py_tp_getset, leak_table(attributes, ffi::PyGetSetDef::default())),
            slot(ffi::Py_am_await, itself as *mut c_void),
            slot(ffi::Py_am_send, am_send as *mut c_void),
            slot(ffi::Py_tp_iter, itself as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
            slot(ffi::Py_tp_traverse, traverse as *mut c_void),
            slot(ffi::Py_tp_clear, clear as *mut c_void),
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        ],
        own_slots: Vec::new(),
        members: Vec::new(),
    };
    let class = Class::build(&base, spec)?;
    py.import("oxloop._streams")?.call_method1("register_coroutine", (class.bind(py),))?;
    // SAFETY: called once, before anything that reads it.
    unsafe { CLASS.set(class) };
    Ok(())
}

/// A coroutine, borrowed for a call.
#[derive(Clone, Copy)]
struct This(*mut ffi::PyObject);

/// The awaitable of one call.
#[inline]
pub(super) fn call(
    py: Python<'_>,
    subject: *mut ffi::PyObject,
    inflow: Option<Bound<'_, Inflow>>,
    operation: Operation,
) -> PyResult<Ref> {
    let class = CLASS.get();
    // SAFETY: `subject` is alive for the call; the tail is written before anybody sees the object,
    // which is then tracked.
    unsafe {
        let object = class.allocate(py)?;
        let call = Call::new(Ref::from_borrowed(subject), inflow, operation);
        class.tail::<Call>(object.as_ptr()).write(call);
        ffi::PyObject_GC_Track(object.as_ptr().cast());
        Ok(object)
    }
}

impl This {
    /// # Safety
    /// A live instance.
    unsafe fn from_self(object: *mut ffi::PyObject) -> This {
        This(object)
    }

    fn call(&self) -> &Call {
        // SAFETY: a live instance; its tail is only shared, its fields are cells.
        unsafe { &*CLASS.get().tail::<Call>(self.0) }
    }
}

fn py_send(py: Python<'_>, this: This, value: Borrowed<'_, '_, PyAny>) -> PyResult<Ref> {
    match this.call().advance(py, value.as_ptr())? {
        Sent::Yielded(value) => Ok(value),
        Sent::Returned(value) => Err(PyStopIteration::new_err((Py::from(value.bind(py).clone()),))),
    }
}

fn py_throw(py: Python<'_>, this: This, arguments: Arguments<'_>) -> PyResult<Ref> {
    this.call().throw(py, &arguments)
}

fn py_close(py: Python<'_>, this: This) -> PyResult<()> {
    this.call().close(py)
}

fn get_name(py: Python<'_>, this: This) -> PyResult<Bound<'_, pyo3::types::PyString>> {
    Ok(pyo3::types::PyString::new(py, this.call().name()))
}

fn get_qualname(py: Python<'_>, this: This) -> PyResult<Bound<'_, pyo3::types::PyString>> {
    Ok(pyo3::types::PyString::new(py, &this.call().qualname()))
}

unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: alive for the call.
    unsafe { ffi::Py_NewRef(object) }
}

/// `await` comes here. A result of None needs no exception to come out.
unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    entry::<PyErr>(|py| {
        // SAFETY: a singleton.
        match This(object).call().advance(py, unsafe { ffi::Py_None() })? {
            Sent::Yielded(value) => Ok(value.into_ptr()),
            Sent::Returned(value) => {
                set_stop_iteration(py, &value);
                Ok(std::ptr::null_mut())
            }
        }
    })
}

fn set_stop_iteration(py: Python<'_>, value: &Ref) {
    // SAFETY: live objects. Tuples and exceptions would be taken for arguments, or for the
    // exception itself; results are bytes or None.
    unsafe {
        if value.as_ptr() == ffi::Py_None() {
            return;
        }
        if ffi::PyBytes_CheckExact(value.as_ptr()) != 0 {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr());
            return;
        }
    }
    let error = PyStopIteration::new_err((Py::from(value.bind(py).clone()),));
    let Raised = Raised::from(error);
}

unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let mut outcome = ffi::PySendResult::PYGEN_ERROR;
    let object = entry::<PyErr>(|py| match This(object).call().advance(py, value)? {
        Sent::Yielded(value) => {
            outcome = ffi::PySendResult::PYGEN_NEXT;
            Ok(value.into_ptr())
        }
        Sent::Returned(value) => {
            outcome = ffi::PySendResult::PYGEN_RETURN;
            Ok(value.into_ptr())
        }
    });
    // SAFETY: the caller's place for the result.
    unsafe { *result = object };
    outcome
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    entry::<PyErr>(|py| {
        let text = format!("<coroutine object {} at {object:p}>", This(object).call().qualname());
        Ok(pyo3::types::PyString::new(py, &text).into_any().into_ptr())
    })
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector for an instance; nothing is changed.
    unsafe {
        for reference in (*CLASS.get().tail::<Call>(object)).references() {
            if !reference.is_null() {
                let stop = visit(reference, arg);
                if stop != 0 {
                    return stop;
                }
            }
        }
        CLASS.get().traverse(object, visit, arg)
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector for an instance.
    unsafe { (*CLASS.get().tail::<Call>(object)).finish() };
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; untracked first, so that the collector never sees it half
    // empty. The tail was written when the object was made.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let call = CLASS.get().tail::<Call>(object);
        if (*call).is_new() {
            warn_never_awaited(&*call);
        }
        std::ptr::drop_in_place(call);
        CLASS.get().free(object);
    }
}

#[cold]
fn warn_never_awaited(call: &Call) {
    // SAFETY: objects die attached.
    let py = unsafe { Python::assume_attached() };
    // An exception may be set while objects die.
    let pending = PyErr::take(py);
    let text = format!("coroutine '{}' was never awaited\0", call.qualname());
    if let Ok(text) = CStr::from_bytes_with_nul(text.as_bytes()) {
        let category = py.get_type::<PyRuntimeWarning>();
        if let Err(error) = PyErr::warn(py, &category, text, 1) {
            error.write_unraisable(py, None);
        }
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}
