//! The type of TLS transports: its table of methods and attributes, and its end.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Tls;
use super::tail::Tail;
use crate::hooks::Hooks;
use crate::raw::{
    Class, ClassSpec, Global, base_size, entry, getset, leak_table, method, slot_offset,
};

static CLASS: Global<Class> = Global::new();
static LOOP_SLOT: Global<isize> = Global::new();

/// The type. The module's initialisation has made it.
#[inline(always)]
pub(super) fn class() -> &'static Class {
    CLASS.get()
}

/// The offset of the base's slot `_loop`.
pub(super) fn loop_slot() -> isize {
    *LOOP_SLOT.get()
}

/// Makes the type, `_oxloop.SSLTransport`.
pub(crate) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    let base = hooks.base_class(py, "FlowControlMixin")?;
    let loop_slot = slot_offset(&base, "_loop")?;
    let tail = base_size(&base);
    let spec = ClassSpec {
        name: c"oxloop.SSLTransport",
        tail,
        tail_size: size_of::<Tail>(),
        slots: slots(),
        own_slots: Vec::new(),
        members: members(tail as ffi::Py_ssize_t),
    };
    let built = Class::build(&base, spec)?;
    // SAFETY: called once, by the module's initialisation, before anything that reads them.
    unsafe {
        LOOP_SLOT.set(loop_slot);
        CLASS.set(built);
    }
    let constants = hooks.get(py, "SSL_TRANSPORT_CONSTANTS")?;
    for item in constants.call_method0("items")?.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
        class().bind(py).setattr(name.extract::<String>()?, value)?;
    }
    Ok(())
}

/// The type object, for the module.
pub(crate) fn type_object(py: Python<'_>) -> Bound<'_, pyo3::types::PyType> {
    class().bind(py)
}

fn slots() -> Vec<ffi::PyType_Slot> {
    type This<'a> = Tls<'a>;
    let methods = vec![
        method!(one c"write"("data"), This<'_>, Tls::py_write),
        method!(one c"writelines"("list_of_data"), This<'_>, Tls::py_writelines),
        method!(noargs c"write_eof", This<'_>, Tls::py_write_eof),
        method!(noargs c"can_write_eof", This<'_>, Tls::py_can_write_eof),
        method!(noargs c"close", This<'_>, Tls::py_close),
        method!(noargs c"abort", This<'_>, Tls::py_abort),
        method!(noargs c"is_closing", This<'_>, Tls::py_is_closing),
        method!(noargs c"pause_reading", This<'_>, Tls::py_pause_reading),
        method!(noargs c"resume_reading", This<'_>, Tls::py_resume_reading),
        method!(noargs c"is_reading", This<'_>, Tls::py_is_reading),
        method!(noargs c"get_protocol", This<'_>, Tls::py_get_protocol),
        method!(one c"set_protocol"("protocol"), This<'_>, Tls::py_set_protocol),
        method!(fast c"get_extra_info"("name", "default"), This<'_>, Tls::py_get_extra_info),
        method!(noargs c"get_write_buffer_size", This<'_>, Tls::py_buffer_size),
        method!(noargs c"get_write_buffer_limits", This<'_>, Tls::py_limits),
        method!(fast c"set_write_buffer_limits", This<'_>, Tls::py_set_limits),
        method!(noargs c"get_read_buffer_size", This<'_>, Tls::py_read_size),
        method!(noargs c"get_read_buffer_limits", This<'_>, Tls::py_read_limits),
        method!(fast c"set_read_buffer_limits", This<'_>, Tls::py_set_read_limits),
        method!(noargs c"_start_handshake", This<'_>, Tls::py_start),
        method!(noargs c"_resume", This<'_>, Tls::py_resume),
        method!(noargs c"_go_on", This<'_>, Tls::py_go_on),
        method!(one c"_force_close", This<'_>, Tls::py_force_close),
        method!(one c"_set_blocked", This<'_>, Tls::py_set_blocked),
        method!(one c"_test__append_write_backlog", This<'_>, Tls::py_append_backlog),
        method!(noargs c"_check_handshake_timeout", This<'_>, Tls::py_check_handshake_timeout),
        method!(noargs c"_check_shutdown_timeout", This<'_>, Tls::py_check_shutdown_timeout),
    ];
    let attributes = vec![
        dict_attribute(),
        getset!(c"_protocol_paused", This<'_>, Tls::get_protocol_paused),
        getset!(c"_closed", This<'_>, Tls::get_closed),
        getset!(c"_transport", This<'_>, Tls::get_lower),
        getset!(c"_ssl_protocol", This<'_>, Tls::get_ssl_protocol),
        getset!(c"_ssl_object", This<'_>, Tls::get_ssl_object),
        getset!(c"_sslcontext", This<'_>, Tls::get_ssl_context),
        getset!(c"_session", This<'_>, Tls::get_session),
        getset!(c"_server_side", This<'_>, Tls::get_server_side),
    ];
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    vec![
        slot(ffi::Py_tp_methods, leak_table(methods, ffi::PyMethodDef::zeroed())),
        slot(ffi::Py_tp_getset, leak_table(attributes, ffi::PyGetSetDef::default())),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_finalize, finalize as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
    ]
}

fn members(tail: ffi::Py_ssize_t) -> Vec<ffi::PyMemberDef> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: tail + offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    vec![
        member(c"__dictoffset__", offset_of!(Tail, dict)),
        member(c"__weaklistoffset__", offset_of!(Tail, weak)),
    ]
}

fn dict_attribute() -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: c"__dict__".as_ptr(),
        get: Some(ffi::PyObject_GenericGetDict),
        set: Some(ffi::PyObject_GenericSetDict),
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector for an instance; nothing is changed.
    unsafe {
        match Tls::from_self(object).tail.traverse(visit, arg) {
            0 => class().traverse(object, visit, arg),
            stop => stop,
        }
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector for an instance.
    unsafe {
        Tls::from_self(object).tail.clear();
        class().clear_slots(object);
    }
    0
}

unsafe extern "C" fn finalize(object: *mut ffi::PyObject) {
    entry::<PyErr>(|py| {
        // An exception may be set while objects die.
        let pending = PyErr::take(py);
        // SAFETY: alive until its finalizer is over.
        if let Err(error) = unsafe { Tls::from_self(object) }.abandon(py) {
            // SAFETY: as above.
            error.write_unraisable(py, Some(&unsafe { Bound::from_borrowed_ptr(py, object) }));
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
        Ok(std::ptr::null_mut())
    });
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; untracked first, so that the collector never sees it half
    // empty. The tail's Rust fields are dropped with it.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(object) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(object.cast());
        let ty = ffi::Py_TYPE(object);
        let tail = class().tail::<Tail>(object);
        if !(*tail).weak.get().is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        std::ptr::drop_in_place(tail);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(ty.cast());
    }
}
