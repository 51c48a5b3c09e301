//! The table itself: C functions around what the other modules of this folder do.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use oxloop_abi::{Api, CAPSULE, Call, Object, ProtocolTable, Slice, VERSION};
use oxloop_engine::{Key, Moment};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::OwnedCall;
use super::transport::{self, Method};
use super::{NativeCall, NativeProtocol, Remote};
use crate::event_loop::Loop;
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Ref, entry, entry_status};

static API: Api = Api {
    version: VERSION,
    size: size_of::<Api>(),
    running_loop,
    call_soon,
    call_later,
    cancel_timer,
    remote_new,
    remote_clone,
    remote_free,
    remote_post,
    remote_is_closed,
    protocol_new,
    write,
    writev,
    write_eof,
    close,
    abort,
    is_closing,
    pause_reading,
    resume_reading,
};

/// Gives the module the capsule.
pub(super) fn publish(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // SAFETY: static, and so is the name; a new reference or null with an exception.
    let capsule = unsafe {
        let pointer = (&raw const API).cast_mut().cast();
        Ref::from_owned(py, ffi::PyCapsule_New(pointer, CAPSULE.as_ptr(), None))?
    };
    // Not one of the names that `import *` would bring.
    module.as_any().setattr("_C_API", capsule.bind(py))
}

unsafe extern "C" fn running_loop() -> Object {
    entry::<PyErr>(|py| {
        let running = hooks().get_running_loop.bind(py).call0()?;
        if running.cast::<Loop>().is_err() {
            let kind = running.get_type().fully_qualified_name()?;
            let text = format!("the running event loop is not oxloop's, but a {kind}");
            return Err(PyTypeError::new_err(text));
        }
        Ok(running.into_ptr())
    })
    .cast()
}

unsafe extern "C" fn call_soon(event_loop: Object, call: Call, context: Object) -> c_int {
    entry_status(|py| {
        // SAFETY: borrowed for the call, by contract.
        let (owner, context) = unsafe { (owner(event_loop)?, given(context)) };
        let job = job(py, owner, call, context)?;
        let pushed = owner.engine().call_soon(job);
        pushed.map_err(give_back)
    })
}

unsafe extern "C" fn call_later(
    event_loop: Object,
    seconds: f64,
    call: Call,
    context: Object,
    timer: *mut u64,
) -> c_int {
    entry_status(|py| {
        // SAFETY: borrowed for the call, by contract.
        let (owner, context) = unsafe { (owner(event_loop)?, given(context)) };
        // SAFETY: as above.
        let now = unsafe { Loop::now(py, event_loop.cast())? };
        let deadline = Moment::from_seconds(now + seconds)
            .map_err(|_| PyValueError::new_err("Invalid deadline: NaN (not a number)"))?;
        let job = job(py, owner, call, context)?;
        let scheduled = owner.engine().call_at(deadline, job);
        let key = scheduled.map_err(give_back)?;
        // SAFETY: the caller's place.
        unsafe { timer.write(key.token()) };
        Ok(())
    })
}

unsafe extern "C" fn cancel_timer(event_loop: Object, timer: u64) -> c_int {
    let mut cancelled = false;
    let status = entry_status(|_| {
        // SAFETY: borrowed for the call, by contract.
        let owner = unsafe { owner(event_loop)? };
        let job = owner.engine().cancel_timer(Key::from_token(timer));
        cancelled = job.is_some();
        drop(job);
        Ok(())
    });
    if status < 0 { status } else { c_int::from(cancelled) }
}

unsafe extern "C" fn remote_new(event_loop: Object) -> *const oxloop_abi::Remote {
    let mut made = None;
    entry_status(|py| {
        // SAFETY: borrowed for the call, by contract.
        made = Some(unsafe { owner(event_loop)? }.remote(py)?);
        Ok(())
    });
    made.map_or(std::ptr::null(), |remote| Arc::into_raw(remote).cast())
}

unsafe extern "C" fn remote_clone(remote: *const oxloop_abi::Remote) {
    // SAFETY: from `remote_new`, and alive.
    unsafe { Arc::increment_strong_count(remote.cast::<Remote>()) }
}

unsafe extern "C" fn remote_free(remote: *const oxloop_abi::Remote) {
    // SAFETY: from `remote_new`. An open loop has a reference, and closing it empties the remote: the
    // last one drops nothing of Python's.
    unsafe { Arc::decrement_strong_count(remote.cast::<Remote>()) }
}

unsafe extern "C" fn remote_post(remote: *const oxloop_abi::Remote, call: Call) -> c_int {
    // SAFETY: from `remote_new`, and alive.
    let remote = unsafe { &*remote.cast::<Remote>() };
    unattached(|| if remote.post(call).is_ok() { 0 } else { -1 })
}

unsafe extern "C" fn remote_is_closed(remote: *const oxloop_abi::Remote) -> c_int {
    // SAFETY: from `remote_new`, and alive.
    let remote = unsafe { &*remote.cast::<Remote>() };
    unattached(|| c_int::from(remote.is_closed()))
}

/// What a thread calls that may not be attached.
fn unattached(body: impl FnOnce() -> c_int) -> c_int {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(-1)
}

unsafe extern "C" fn protocol_new(table: *const ProtocolTable, data: *mut c_void) -> Object {
    entry::<PyErr>(|py| {
        // SAFETY: it lives as long as the process, by contract.
        let table = unsafe { &*table };
        if table.size < size_of::<ProtocolTable>() {
            return Err(PyRuntimeError::new_err("the protocol's table is too small"));
        }
        // If there is no memory for the object, `data` stays the caller's.
        let object = Bound::new(py, NativeProtocol::new(table))?;
        // SAFETY: by contract.
        unsafe { object.get().own(data) };
        Ok(object.into_ptr())
    })
    .cast()
}

unsafe extern "C" fn write(transport: Object, start: *const u8, length: usize) -> c_int {
    // SAFETY: borrowed for the call, by contract.
    unsafe { on(transport, |py, transport| transport::write(py, transport, bytes(start, length))) }
}

unsafe extern "C" fn writev(transport: Object, pieces: *const Slice, count: usize) -> c_int {
    // SAFETY: borrowed for the call, by contract.
    unsafe {
        on(transport, |py, transport| {
            let pieces = if count == 0 { &[] } else { std::slice::from_raw_parts(pieces, count) };
            for piece in pieces {
                transport::write(py, transport, bytes(piece.start, piece.length))?;
            }
            Ok(())
        })
    }
}

/// Makes the functions that take a transport alone.
macro_rules! methods {
    ($($name:ident $method:ident),*) => {
        $(unsafe extern "C" fn $name(transport: Object) -> c_int {
            // SAFETY: borrowed for the call, by contract.
            unsafe { on(transport, |py, it| transport::call(py, it, Method::$method)) }
        })*
    };
}

methods!(write_eof WriteEof, close Close, abort Abort);
methods!(pause_reading PauseReading, resume_reading ResumeReading);

unsafe extern "C" fn is_closing(transport: Object) -> c_int {
    let mut closing = false;
    // SAFETY: borrowed for the call, by contract.
    let status = unsafe {
        on(transport, |py, transport| {
            closing = transport::is_closing(py, transport)?;
            Ok(())
        })
    };
    if status < 0 { status } else { c_int::from(closing) }
}

/// # Safety
/// A live object.
unsafe fn on(object: Object, body: impl FnOnce(Python<'_>, &Ref) -> PyResult<()>) -> c_int {
    entry_status(|py| {
        // SAFETY: alive, by contract. Held, for the call may end the connection.
        let object = unsafe { Ref::from_borrowed(object.cast()) };
        body(py, &object)
    })
}

/// # Safety
/// So many bytes, unless there are none.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: by contract.
    if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, length) } }
}

/// # Safety
/// Null, or alive while the result is used.
unsafe fn owner<'a>(event_loop: Object) -> PyResult<&'a Loop> {
    // SAFETY: by contract.
    unsafe { Loop::of_pointer(event_loop.cast()) }
        .ok_or_else(|| PyTypeError::new_err("not an event loop of oxloop's"))
}

/// # Safety
/// Null or a live object.
unsafe fn given(context: Object) -> Option<Ref> {
    // SAFETY: by contract.
    (!context.is_null()).then(|| unsafe { Ref::from_borrowed(context.cast()) })
}

/// A job, if the loop takes any; otherwise the call is its giver's.
fn job(py: Python<'_>, owner: &Loop, call: Call, context: Option<Ref>) -> PyResult<Job> {
    owner.check_closed()?;
    if let Some(context) = &context {
        crate::event_loop::check_context(context.bind(py))?;
    }
    let object = NativeCall::object(py, OwnedCall::new(call), context);
    object.map(Job).map_err(|(error, _)| error)
}

#[cold]
fn give_back(Job(object): Job) -> PyErr {
    NativeCall::take_back(&object);
    PyMemoryError::new_err(())
}
