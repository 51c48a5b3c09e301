//! Where the binding leaves PyO3: types whose slots are written by hand, because they derive from
//! classes of the running interpreter or because a call on them is counted in nanoseconds.
//!
//! Everything unsafe about objects, classes and entries is here, behind names that the other
//! modules use without `unsafe` or with one local reason for it.

mod buffer;
mod class;
mod context;
mod entry;
mod global;
mod method;
mod named;
mod object;
mod raised;
mod reference;

pub(crate) use buffer::{ByteArray, NewBytes, View};
pub(crate) use class::{Class, ClassSpec, base_size, slot, slot_offset};
pub(crate) use context::{call_in, copy_context, enter_context};
pub(crate) use entry::{entry, entry_status, panic_error};
pub(crate) use global::Global;
pub(crate) use method::{
    Arguments, Output, call_forwarding, call_with, getset, install, install_attributes, leak_table,
    method,
};
pub(crate) use object::{
    Lookup, Sent, bytes, dict_get, dict_set, forget_running_loop, instance_dict, send, set_generic,
    text,
};
pub(crate) use raised::{Raised, Restore};
pub(crate) use reference::{Ref, Slot};
