//! The border between `oxloop._oxloop` and other native modules: a table of C functions, and what they
//! are given. Declarations only; `crates/py` fills the table in, `crates/extension` calls it.
//!
//! An extension module has its own copy of every Rust crate, so nothing crosses but data in C's layout:
//! pointers to Python objects, opaque pointers, numbers, functions. What holds for all of it:
//!
//! - **Attached.** A function is called by a thread that is attached to the interpreter (that holds the
//!   GIL), and so are the callbacks, unless it says *from any thread*. On the loop's own thread, too, if
//!   the loop is running; nobody checks.
//! - **Errors.** A function that returns an `int` returns -1, and one that returns an object null, with
//!   a Python exception set. So do the callbacks: [`Call::run`] and the functions of a
//!   [`ProtocolTable`].
//! - **No unwinding.** Neither side lets a panic or a C++ exception out of a function of these types.
//! - **Objects** that are given are borrowed for the call; those that are returned are new references.
//! - **Growth.** Fields are added at the end, and [`Api::size`] tells who has them. Anything else
//!   changes [`VERSION`], and then nobody of another version may read on.
//!
//! The table is in a capsule named [`CAPSULE`], which is also the path that `PyCapsule_Import` takes.
#![no_std]
#![forbid(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};

/// The name of the capsule and, with dots, the way to it.
pub const CAPSULE: &CStr = c"oxloop._oxloop._C_API";

/// What [`Api::version`] has to be.
pub const VERSION: u32 = 1;

/// A `PyObject *`.
pub type Object = *mut c_void;

/// Something to call once, and what it owns.
///
/// Who takes one (says so by success) calls exactly one of `run` and `drop`, once, attached. If taking
/// it fails it still is the caller's, and neither has been called.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Does what is to be done, with `data`, which is its own from here on. -1 with an exception set
    /// goes to the loop's exception handler, KeyboardInterrupt and SystemExit end the run.
    pub run: unsafe extern "C" fn(data: *mut c_void) -> c_int,
    /// Gives `data` up: it will never be run. May be called by any attached thread.
    pub drop: unsafe extern "C" fn(data: *mut c_void),
    pub data: *mut c_void,
}

/// A piece of memory to be written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub start: *const u8,
    pub length: usize,
}

/// A loop, for threads that are not attached. Opaque; counted by [`Api::remote_clone`] and
/// [`Api::remote_free`].
#[repr(C)]
#[derive(Debug)]
pub struct Remote {
    _opaque: [u8; 0],
}

/// `int visit(PyObject *, void *)` of the garbage collector.
pub type Visit = unsafe extern "C" fn(object: Object, argument: *mut c_void) -> c_int;

/// What a native protocol does. It lives as long as the process.
///
/// The order of calls is that of `asyncio.Protocol`. `transport` is the transport object, borrowed for
/// the call, whatever its class: the functions of [`Api`] for transports take each, oxloop's own
/// directly. `pause_writing` comes inside the write that is too much, so a protocol may be called
/// from within its own call of the table.
#[repr(C)]
#[derive(Debug)]
pub struct ProtocolTable {
    /// The size of this table in bytes.
    pub size: usize,
    pub connection_made: unsafe extern "C" fn(data: *mut c_void, transport: Object) -> c_int,
    /// `start` is lent for the call.
    pub data_received: unsafe extern "C" fn(
        data: *mut c_void,
        transport: Object,
        start: *const u8,
        length: usize,
    ) -> c_int,
    /// 1: keep the transport open, to go on writing; 0: close it.
    pub eof_received: unsafe extern "C" fn(data: *mut c_void, transport: Object) -> c_int,
    pub pause_writing: unsafe extern "C" fn(data: *mut c_void, transport: Object) -> c_int,
    pub resume_writing: unsafe extern "C" fn(data: *mut c_void, transport: Object) -> c_int,
    /// `error` is an exception, or null if the connection was closed by either end.
    pub connection_lost:
        unsafe extern "C" fn(data: *mut c_void, transport: Object, error: Object) -> c_int,
    /// Shows the collector the Python objects that `data` refers to; null without any. Calls `visit`
    /// only, and stops if that does not return 0.
    pub traverse: Option<
        unsafe extern "C" fn(data: *mut c_void, visit: Visit, argument: *mut c_void) -> c_int,
    >,
    /// Gives `data` up. By any attached thread, once, never while another function of the table runs.
    pub drop: unsafe extern "C" fn(data: *mut c_void),
}

/// What `oxloop._oxloop` offers. Its address is that of the process' only table, valid for ever.
#[repr(C)]
#[derive(Debug)]
pub struct Api {
    /// [`VERSION`]. Stays the first field, whatever the version.
    pub version: u32,
    /// The size of this table in bytes: fields behind it do not exist. Stays the second field.
    pub size: usize,

    /// The running event loop of this thread. RuntimeError if there is none, TypeError if it is not
    /// oxloop's.
    pub running_loop: unsafe extern "C" fn() -> Object,
    /// Runs `call` in the next turn, in `context` (a `contextvars.Context`), or in that of the thread
    /// if it is null.
    pub call_soon: unsafe extern "C" fn(event_loop: Object, call: Call, context: Object) -> c_int,
    /// The same when `seconds` have passed. `timer` gets a name for [`Api::cancel_timer`].
    pub call_later: unsafe extern "C" fn(
        event_loop: Object,
        seconds: f64,
        call: Call,
        context: Object,
        timer: *mut u64,
    ) -> c_int,
    /// Drops the call of a timer: 1, or 0 if it has run or was cancelled. Names are not used again.
    pub cancel_timer: unsafe extern "C" fn(event_loop: Object, timer: u64) -> c_int,
    /// The loop for other threads: one reference, for [`Api::remote_free`].
    pub remote_new: unsafe extern "C" fn(event_loop: Object) -> *const Remote,
    /// Another reference. From any thread.
    pub remote_clone: unsafe extern "C" fn(remote: *const Remote),
    /// Gives a reference up. From any thread, attached or not.
    pub remote_free: unsafe extern "C" fn(remote: *const Remote),
    /// Runs `call` on the loop's thread, in the next turn, and wakes the loop if it sleeps. From any
    /// thread, attached or not. -1, without an exception: the loop is closed, or there is no memory.
    pub remote_post: unsafe extern "C" fn(remote: *const Remote, call: Call) -> c_int,
    /// 1: the loop is closed, nothing can be posted any more. From any thread, attached or not.
    pub remote_is_closed: unsafe extern "C" fn(remote: *const Remote) -> c_int,

    /// A protocol object, for `create_server`, `create_connection` and every other transport: from
    /// Python it has the methods of an `asyncio.Protocol`. `data` is the object's if this succeeds.
    pub protocol_new:
        unsafe extern "C" fn(table: *const ProtocolTable, data: *mut c_void) -> Object,

    /// Sends or queues what is in memory at this moment, as `transport.write(bytes)`.
    pub write: unsafe extern "C" fn(transport: Object, start: *const u8, length: usize) -> c_int,
    /// The same with several pieces.
    pub writev:
        unsafe extern "C" fn(transport: Object, pieces: *const Slice, count: usize) -> c_int,
    pub write_eof: unsafe extern "C" fn(transport: Object) -> c_int,
    pub close: unsafe extern "C" fn(transport: Object) -> c_int,
    pub abort: unsafe extern "C" fn(transport: Object) -> c_int,
    /// 1 or 0.
    pub is_closing: unsafe extern "C" fn(transport: Object) -> c_int,
    pub pause_reading: unsafe extern "C" fn(transport: Object) -> c_int,
    pub resume_reading: unsafe extern "C" fn(transport: Object) -> c_int,
}
