//! The two handle types: slots, attributes, and a list of free instances.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;

use super::{HandleRef, Layout, Tail, layout};
use crate::hooks::Hooks;
use crate::raw::{Class, ClassSpec, Ref, getset, leak_table, method};

/// Makes both types.
pub(crate) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    Layout::make(py, hooks, |base, timer| {
        let name = if timer { c"oxloop.TimerHandle" } else { c"oxloop.Handle" };
        Class::build(base, ClassSpec { name, tail_size: size_of::<Tail>(), slots: slots() })
    })
}

fn slots() -> Vec<ffi::PyType_Slot> {
    let methods = vec![
        method!(noargs c"cancel", HandleRef, cancel),
        method!(noargs c"cancelled", HandleRef, cancelled),
    ];
    let attributes = vec![getset!(c"_args", HandleRef, get_args, set_args)];
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

thread_local! {
    /// Memory of handles that are gone, for the next ones: a loop makes and drops one for every
    /// callback. Of the thread's own, so that nothing has to guard it.
    static FREE: RefCell<Vec<*mut ffi::PyObject>> = const { RefCell::new(Vec::new()) };
}

/// More than a busy loop has in flight.
const FREE_AT_MOST: usize = 2048;

/// A new handle with empty slots and an uninitialised tail, not tracked yet.
///
/// # Safety
/// The caller fills every slot that it does not want null, and the tail, before it tracks it.
pub(super) unsafe fn allocate(py: Python<'_>, class: &Class) -> PyResult<Ref> {
    if std::ptr::eq(class, &raw const layout().handle)
        && let Some(object) = FREE.with_borrow_mut(Vec::pop)
    {
        // SAFETY: memory of an instance of this very type, its slots emptied by `dealloc`.
        return unsafe { Ref::from_owned(py, ffi::PyObject_Init(object, class.as_ptr())) };
    }
    // SAFETY: allocates zeroed memory and tracks it, which is undone until it is filled.
    unsafe {
        let object = Ref::from_owned(py, ffi::PyType_GenericAlloc(class.as_ptr(), 0))?;
        ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
        Ok(object)
    }
}

fn class_of(object: *mut ffi::PyObject) -> &'static Class {
    let layout = layout();
    if layout.handle.is_type_of(object) { &layout.handle } else { &layout.timer }
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
        let ty = ffi::Py_TYPE(object);
        let weak = (*ty).tp_weaklistoffset;
        if weak != 0 && !(*object.byte_offset(weak).cast::<*mut ffi::PyObject>()).is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        let keep = layout().handle.is_type_of(object) && keep_memory(object);
        if !keep {
            ffi::PyObject_GC_Del(object.cast());
        }
        ffi::Py_DECREF(ty.cast());
    }
}

/// False if the memory has to be freed: there is enough, or the thread is ending.
fn keep_memory(object: *mut ffi::PyObject) -> bool {
    FREE.try_with(|free| {
        let Ok(mut free) = free.try_borrow_mut() else { return false };
        let room = free.len() < FREE_AT_MOST && free.try_reserve(1).is_ok();
        if room {
            free.push(object);
        }
        room
    })
    .unwrap_or(false)
}
