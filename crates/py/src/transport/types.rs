//! The transports' types: their tables of methods and attributes, and their end.
//!
//! Every one has the same tail at the same offset, whatever it derives from, so a method finds its
//! state without asking which of them it was called on. [`Kind`] says so where they differ.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::datagram::datagram_table;
use super::{Tail, Transport};
use crate::hooks::{Hooks, hooks};
use crate::raw::{
    Class, ClassSpec, Global, base_size, entry, getset, leak_table, method, slot_offset,
};

/// Which of our transports one is; also its place in the table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stream,
    ReadPipe,
    WritePipe,
    Datagram,
}

const KINDS: usize = 4;

/// The types, in the order of [`Kind`], and what they have in common.
struct Classes {
    table: [Class; KINDS],
    /// Offsets of the slots `_extra` and `_loop`.
    extra: isize,
    owner: isize,
}

static CLASSES: Global<Classes> = Global::new();

/// The type of that kind. The module's initialisation has made it.
#[inline(always)]
pub(super) fn class(kind: Kind) -> &'static Class {
    &CLASSES.get().table[kind as usize]
}

/// Whether `object` is one of our transports.
#[inline]
pub(super) fn is_transport(object: *mut ffi::PyObject) -> bool {
    CLASSES.get().table.iter().any(|class| class.is_type_of(object))
}

/// The tail of a transport of any kind.
///
/// # Safety
/// `object` is one of our transports.
#[inline]
pub(super) unsafe fn tail_of(object: *mut ffi::PyObject) -> *mut Tail {
    // SAFETY: by contract; all classes have their tails at the offset of the first one's.
    unsafe { class(Kind::Stream).tail(object) }
}

/// Offsets of the slots `_extra` and `_loop`.
pub(super) fn base_slots() -> (isize, isize) {
    let classes = CLASSES.get();
    (classes.extra, classes.owner)
}

/// Makes the types.
pub(crate) fn init(py: Python<'_>, hooks: &Hooks) -> PyResult<()> {
    let base = hooks.base_class(py, "FlowControlMixin")?;
    let tail = base_size(&base);
    let (extra, owner) = (slot_offset(&base, "_extra")?, slot_offset(&base, "_loop")?);
    let stream = build(&base, c"oxloop.StreamTransport", tail, stream_table())?;
    let write_pipe = build(&base, c"oxloop.WritePipeTransport", tail, write_pipe_table())?;
    // Its base is smaller and lacks `_loop`: it has one of its own, at the same place.
    let read_base = hooks.base_class(py, "ReadTransport")?;
    let mut table = read_pipe_table();
    table.own_slots = vec![(c"_loop", owner)];
    let read_pipe = build(&read_base, c"oxloop.ReadPipeTransport", tail, table)?;
    let base = hooks.base_class(py, "DatagramBase")?;
    let datagram = build(&base, c"oxloop.DatagramTransport", tail, datagram_table())?;
    let table = [stream, read_pipe, write_pipe, datagram];
    for (class, name) in table.iter().zip(CONSTANTS) {
        set_constants(&class.bind(py), &hooks.get(py, name)?)?;
    }
    let classes = Classes { table, extra, owner };
    // SAFETY: called once, by the module's initialisation, before anything that reads them.
    unsafe { CLASSES.set(classes) };
    Ok(())
}

/// The type objects, for the module.
pub(crate) fn type_objects(py: Python<'_>) -> [Bound<'_, PyType>; KINDS] {
    CLASSES.get().table.each_ref().map(|class| class.bind(py))
}

/// Names in `oxloop._hooks`.
const CONSTANTS: [&str; KINDS] = [
    "STREAM_TRANSPORT_CONSTANTS",
    "READ_PIPE_CONSTANTS",
    "WRITE_PIPE_CONSTANTS",
    "DATAGRAM_TRANSPORT_CONSTANTS",
];

/// What the types have of their own.
pub(super) struct Table {
    pub(super) methods: Vec<ffi::PyMethodDef>,
    pub(super) attributes: Vec<ffi::PyGetSetDef>,
    /// Reference slots that the base does not have, and where they are.
    pub(super) own_slots: Vec<(&'static CStr, isize)>,
}

fn build(
    base: &Bound<'_, PyType>,
    name: &'static CStr,
    tail: usize,
    table: Table,
) -> PyResult<Class> {
    let own_slots = table.own_slots.iter().map(|&(_, offset)| offset).collect();
    let members = members(tail as ffi::Py_ssize_t, &table.own_slots);
    let (tail_size, slots) = (size_of::<Tail>(), slots(table));
    Class::build(base, ClassSpec { name, tail, tail_size, slots, own_slots, members })
}

fn set_constants(class: &Bound<'_, PyType>, constants: &Bound<'_, PyAny>) -> PyResult<()> {
    for item in constants.call_method0("items")?.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
        class.setattr(name.extract::<String>()?, value)?;
    }
    Ok(())
}

fn stream_table() -> Table {
    type This<'a> = Transport<'a>;
    let methods = vec![
        method!(one c"write"("data"), This<'_>, Transport::py_write),
        method!(one c"writelines"("list_of_data"), This<'_>, Transport::py_writelines),
        method!(noargs c"write_eof", This<'_>, Transport::py_write_eof),
        method!(noargs c"can_write_eof", This<'_>, Transport::py_can_write_eof),
        method!(noargs c"close", This<'_>, Transport::py_close),
        method!(noargs c"abort", This<'_>, Transport::py_abort),
        method!(noargs c"is_closing", This<'_>, Transport::py_is_closing),
        method!(noargs c"pause_reading", This<'_>, Transport::py_pause_reading),
        method!(noargs c"resume_reading", This<'_>, Transport::py_resume_reading),
        method!(fast c"get_extra_info", This<'_>, Transport::py_get_extra_info),
        method!(noargs c"is_reading", This<'_>, Transport::py_is_reading),
        method!(noargs c"get_protocol", This<'_>, Transport::py_get_protocol),
        method!(one c"set_protocol"("protocol"), This<'_>, Transport::py_set_protocol),
        method!(noargs c"get_write_buffer_size", This<'_>, Transport::py_buffer_size),
        method!(noargs c"get_write_buffer_limits", This<'_>, Transport::py_limits),
        method!(fast c"set_write_buffer_limits", This<'_>, Transport::py_set_limits),
        method!(one c"_begin", This<'_>, Transport::py_begin),
        method!(one c"_force_close", This<'_>, Transport::py_force_close),
        method!(fast c"_fatal_error", This<'_>, Transport::py_fatal_error),
        method!(one c"_call_connection_lost", This<'_>, Transport::py_connection_lost),
        method!(fast c"_send_file", This<'_>, Transport::py_send_file),
        method!(noargs c"_stop_file", This<'_>, Transport::py_stop_file),
        method!(noargs c"_is_write_blocked", This<'_>, Transport::py_is_write_blocked),
    ];
    let attributes = vec![
        getset!(c"_extra", This<'_>, Transport::get_extra, Transport::set_extra),
        getset!(c"_sock", This<'_>, Transport::get_sock),
        getset!(c"_sock_fd", This<'_>, Transport::get_sock_fd),
        getset!(c"_protocol", This<'_>, Transport::get_protocol, Transport::set_protocol),
        getset!(c"_server", This<'_>, Transport::get_server),
        getset!(c"_paused", This<'_>, Transport::get_paused),
        getset!(c"_closing", This<'_>, Transport::py_is_closing),
        getset!(c"_eof", This<'_>, Transport::get_eof),
        getset!(c"_conn_lost", This<'_>, Transport::get_lost),
        getset!(c"_protocol_connected", This<'_>, Transport::get_connected),
        getset!(c"_protocol_paused", This<'_>, Transport::get_protocol_paused),
        getset!(c"_high_water", This<'_>, Transport::get_high_water),
        getset!(c"_low_water", This<'_>, Transport::get_low_water),
    ];
    Table { methods, attributes, own_slots: Vec::new() }
}

fn read_pipe_table() -> Table {
    type This<'a> = Transport<'a>;
    let methods = vec![
        method!(noargs c"close", This<'_>, Transport::py_close),
        method!(noargs c"is_closing", This<'_>, Transport::py_is_closing),
        method!(noargs c"pause_reading", This<'_>, Transport::py_pause_reading),
        method!(noargs c"resume_reading", This<'_>, Transport::py_resume_reading),
        method!(noargs c"is_reading", This<'_>, Transport::py_is_reading),
        method!(noargs c"get_protocol", This<'_>, Transport::py_get_protocol),
        method!(one c"set_protocol"("protocol"), This<'_>, Transport::py_set_protocol),
        method!(one c"_begin", This<'_>, Transport::py_begin),
        method!(one c"_close", This<'_>, Transport::py_force_close),
        method!(fast c"_fatal_error", This<'_>, Transport::py_fatal_error),
        method!(one c"_call_connection_lost", This<'_>, Transport::py_connection_lost),
    ];
    let attributes = vec![
        getset!(c"_pipe", This<'_>, Transport::get_pipe, Transport::set_pipe),
        getset!(c"_fileno", This<'_>, Transport::get_sock_fd),
        getset!(c"_protocol", This<'_>, Transport::get_protocol, Transport::set_protocol),
        getset!(c"_paused", This<'_>, Transport::get_paused),
        getset!(c"_closing", This<'_>, Transport::py_is_closing),
    ];
    Table { methods, attributes, own_slots: Vec::new() }
}

fn write_pipe_table() -> Table {
    type This<'a> = Transport<'a>;
    let methods = vec![
        method!(one c"write"("data"), This<'_>, Transport::py_write_pipe),
        method!(noargs c"write_eof", This<'_>, Transport::py_close),
        method!(noargs c"can_write_eof", This<'_>, Transport::py_can_write_eof),
        method!(noargs c"close", This<'_>, Transport::py_close),
        method!(noargs c"abort", This<'_>, Transport::py_abort),
        method!(noargs c"is_closing", This<'_>, Transport::py_is_closing),
        method!(noargs c"get_protocol", This<'_>, Transport::py_get_protocol),
        method!(one c"set_protocol"("protocol"), This<'_>, Transport::py_set_protocol),
        method!(noargs c"get_write_buffer_size", This<'_>, Transport::py_buffer_size),
        method!(noargs c"get_write_buffer_limits", This<'_>, Transport::py_limits),
        method!(fast c"set_write_buffer_limits", This<'_>, Transport::py_set_limits),
        method!(one c"_begin", This<'_>, Transport::py_begin),
        method!(one c"_close", This<'_>, Transport::py_force_close),
        method!(fast c"_fatal_error", This<'_>, Transport::py_fatal_error),
        method!(one c"_call_connection_lost", This<'_>, Transport::py_connection_lost),
        method!(noargs c"_is_write_blocked", This<'_>, Transport::py_is_write_blocked),
    ];
    let attributes = vec![
        getset!(c"_pipe", This<'_>, Transport::get_pipe, Transport::set_pipe),
        getset!(c"_fileno", This<'_>, Transport::get_sock_fd),
        getset!(c"_protocol", This<'_>, Transport::get_protocol, Transport::set_protocol),
        getset!(c"_closing", This<'_>, Transport::py_is_closing),
        getset!(c"_conn_lost", This<'_>, Transport::get_lost),
        getset!(c"_protocol_paused", This<'_>, Transport::get_protocol_paused),
        getset!(c"_high_water", This<'_>, Transport::get_high_water),
        getset!(c"_low_water", This<'_>, Transport::get_low_water),
    ];
    Table { methods, attributes, own_slots: Vec::new() }
}

fn members(tail: ffi::Py_ssize_t, own_slots: &[(&'static CStr, isize)]) -> Vec<ffi::PyMemberDef> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: tail + offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let mut members = vec![
        member(c"__dictoffset__", offset_of!(Tail, dict)),
        member(c"__weaklistoffset__", offset_of!(Tail, weak)),
    ];
    members.extend(own_slots.iter().map(|&(name, offset)| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_OBJECT_EX,
        offset,
        flags: 0,
        doc: std::ptr::null(),
    }));
    members
}

/// What is the same for all of them, and `table`.
fn slots(table: Table) -> Vec<ffi::PyType_Slot> {
    let Table { methods, mut attributes, own_slots: _ } = table;
    attributes.push(dict_attribute());
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    vec![
        slot(ffi::Py_tp_methods, leak_table(methods, ffi::PyMethodDef::zeroed())),
        slot(ffi::Py_tp_getset, leak_table(attributes, ffi::PyGetSetDef::default())),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_finalize, finalize as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
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

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    entry::<PyErr>(|py| {
        // SAFETY: borrowed for the call.
        let this = unsafe { Bound::from_borrowed_ptr(py, object) };
        // SAFETY: as above.
        let kind = unsafe { Transport::from_self(object) }.tail.kind;
        Ok(hooks().get(py, kind.repr_hook())?.call1((this,))?.into_ptr())
    })
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector for an instance; nothing is changed.
    unsafe {
        let tail = Transport::from_self(object).tail;
        match tail.traverse(visit, arg) {
            0 => class(tail.kind).traverse(object, visit, arg),
            stop => stop,
        }
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector for an instance.
    unsafe {
        let tail = Transport::from_self(object).tail;
        tail.clear();
        class(tail.kind).clear_slots(object);
    }
    0
}

unsafe extern "C" fn finalize(object: *mut ffi::PyObject) {
    entry::<PyErr>(|py| {
        // An exception may be set while objects die.
        let pending = PyErr::take(py);
        // SAFETY: alive until its finalizer is over.
        if let Err(error) = unsafe { Transport::from_self(object) }.abandon(py) {
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
        let tail = tail_of(object);
        if !(*tail).weak.get().is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        std::ptr::drop_in_place(tail);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(ty.cast());
    }
}
