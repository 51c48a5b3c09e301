//! The handle types: slots, attributes, and a list of free instances.

use std::ffi::{c_int, c_void};

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;

use super::{HandleRef, Layout, Tail, layout};
use crate::hooks::Hooks;
use crate::raw::{Class, ClassSpec, Ref, base_size, getset, leak_table, method};

/// Makes the types.
pub(crate) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    super::step::init(py)?;
    Layout::make(py, hooks, |base, name, timer| {
        let tail = base_size(base);
        let (tail_size, slots) = (size_of::<Tail>(), slots(timer));
        let (own_slots, members) = (Vec::new(), Vec::new());
        Class::build(base, ClassSpec { name, tail, tail_size, slots, own_slots, members })
    })
}

fn slots(timer: bool) -> Vec<ffi::PyType_Slot> {
    let methods = vec![
        method!(noargs c"cancel", HandleRef, cancel),
        method!(noargs c"cancelled", HandleRef, cancelled),
        method!(noargs c"_run", HandleRef, HandleRef::py_run),
    ];
    let mut attributes = vec![getset!(c"_args", HandleRef, get_args, set_args)];
    if timer {
        attributes.push(getset!(c"_when", HandleRef, get_when, set_when));
        attributes.push(getset!(c"_scheduled", HandleRef, get_scheduled));
    }
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    vec![
        slot(ffi::Py_tp_methods, leak_table(methods, ffi::PyMethodDef::zeroed())),
        slot(ffi::Py_tp_getset, leak_table(attributes, ffi::PyGetSetDef::default())),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
    ]
}

fn cancel(py: Python<'_>, handle: HandleRef) -> PyResult<()> {
    handle.cancel(py)
}

fn cancelled(py: Python<'_>, handle: HandleRef) -> PyResult<bool> {
    handle.wait_for_runner(py);
    Ok(handle.is_cancelled())
}

fn get_args(py: Python<'_>, handle: HandleRef) -> PyResult<Option<Ref>> {
    handle.args(py)
}

fn get_when(py: Python<'_>, handle: HandleRef) -> PyResult<Ref> {
    Ok(handle.when(py))
}

fn set_when(
    py: Python<'_>,
    handle: HandleRef,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or_else(|| super::none_ref(py), |value| (&*value).into());
    handle.put(layout().when, value);
    Ok(())
}

fn get_scheduled(_py: Python<'_>, handle: HandleRef) -> PyResult<bool> {
    Ok(handle.is_scheduled())
}

fn set_args(
    py: Python<'_>,
    handle: HandleRef,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or_else(|| super::none_ref(py), |value| (&*value).into());
    handle.put(layout().args, value);
    handle.drop_arguments();
    Ok(())
}

fn class_of(object: *mut ffi::PyObject) -> &'static Class {
    let layout = layout();
    layout.class_of(object).unwrap_or(&layout.handle)
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector for an instance; nothing is changed.
    unsafe {
        let tail = &*class_of(object).tail::<Tail>(object);
        for &argument in &tail.arguments[1..=usize::from(tail.count)] {
            let stop = visit(argument, arg);
            if stop != 0 {
                return stop;
            }
        }
        class_of(object).traverse(object, visit, arg)
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector for an instance.
    unsafe {
        HandleRef::from_self(object).drop_arguments();
        class_of(object).clear_slots(object);
    }
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. Untracked first, so that the collector never sees it
    // half empty; emptied before its memory is given away.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let weak = (*ffi::Py_TYPE(object)).tp_weaklistoffset;
        if weak != 0 && !(*object.byte_offset(weak).cast::<*mut ffi::PyObject>()).is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let class = class_of(object);
        let tail = class.tail::<Tail>(object);
        if (*tail).count > 0 {
            HandleRef::from_self(object).drop_arguments();
        }
        class.clear_slots(object);
        class.free(object);
    }
}
