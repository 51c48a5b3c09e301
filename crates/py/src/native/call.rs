//! `NativeCall`: a job of another native module.
//!
//! An object only so that a [`Job`](crate::host::Job) is one reference whatever it is, as a
//! [`TaskStep`](crate::handle::TaskStep): Python never gets hold of one, and the collector does not
//! know it. Invariant: what it holds is run once or dropped once, by an attached thread.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use oxloop_abi::Call;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Remote;
use crate::event_loop::Loop;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::raw::{Class, Global, Ref, enter_context};

/// What is inside of the object.
#[derive(Debug)]
enum Content {
    Call(OwnedCall, Option<Ref>),
    /// Calls have come from other threads: they are with the remote.
    Mail(Arc<Remote>),
}

/// A call that is ours to run or to drop.
#[derive(Debug)]
pub(super) struct OwnedCall(Call);

// SAFETY: run and dropped by attached threads; whoever gave it knows that these may be any.
unsafe impl Send for OwnedCall {}

impl OwnedCall {
    pub(super) fn new(call: Call) -> OwnedCall {
        OwnedCall(call)
    }

    /// Back to who gave it.
    pub(super) fn into_inner(self) -> Call {
        let call = self.0;
        std::mem::forget(self);
        call
    }

    fn run(self, py: Python<'_>) -> PyResult<()> {
        let call = self.into_inner();
        // SAFETY: ours, once; the thread is attached.
        let status = unsafe { (call.run)(call.data) };
        if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
    }
}

impl Drop for OwnedCall {
    fn drop(&mut self) {
        // SAFETY: ours, once; calls are dropped by attached threads.
        unsafe { (self.0.drop)(self.0.data) }
    }
}

static CLASS: Global<Class> = Global::new();

/// Makes the type. Called once, by the module's initialisation.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let class = Class::carrier::<Option<Content>>(py, c"oxloop.NativeCall", traverse, dealloc)?;
    // SAFETY: called once, before anything that reads it.
    unsafe { CLASS.set(class) };
    Ok(())
}

/// Objects that hold a call.
pub(crate) struct NativeCall;

impl NativeCall {
    /// A call for a queue. It is given back if there is no memory.
    pub(super) fn object(
        py: Python<'_>,
        call: OwnedCall,
        context: Option<Ref>,
    ) -> Result<Ref, (PyErr, Call)> {
        match NativeCall::allocate(py) {
            // SAFETY: new, its tail still empty.
            Ok(object) => unsafe {
                *content(&object) = Some(Content::Call(call, context));
                Ok(object)
            },
            Err(error) => Err((error, call.into_inner())),
        }
    }

    /// What the remote posts to be asked for its calls.
    pub(super) fn mail(py: Python<'_>, remote: Arc<Remote>) -> PyResult<Ref> {
        let object = NativeCall::allocate(py)?;
        // SAFETY: as above.
        unsafe { *content(&object) = Some(Content::Mail(remote)) };
        Ok(object)
    }

    fn allocate(py: Python<'_>) -> PyResult<Ref> {
        // SAFETY: the tail is written before anybody sees the object, which is never tracked.
        unsafe {
            let object = CLASS.get().allocate(py)?;
            CLASS.get().tail::<Option<Content>>(object.as_ptr()).write(None);
            Ok(object)
        }
    }

    #[inline]
    pub(crate) fn is(object: &Ref) -> bool {
        CLASS.get().is_type_of(object.as_ptr())
    }

    /// Takes the call out of an object that has not been run, for who gave it.
    pub(super) fn take_back(object: &Ref) -> Option<Call> {
        // SAFETY: an instance, for it comes from `object`.
        match unsafe { (*content(object)).take() } {
            Some(Content::Call(call, _)) => Some(call.into_inner()),
            _ => None,
        }
    }

    /// Shows the collector what an object in a queue holds.
    pub(crate) fn visit(object: &Ref, mut reach: impl FnMut(&Ref)) {
        // SAFETY: an instance; the collector changes nothing.
        if let Some(Content::Call(_, Some(context))) = unsafe { &*content(object) } {
            reach(context);
        }
    }

    /// Runs what an object from a queue holds. Errors go to the exception handler, but for SystemExit
    /// and KeyboardInterrupt.
    pub(crate) fn run(py: Python<'_>, owner: &Bound<'_, Loop>, object: Ref) -> PyResult<()> {
        // SAFETY: an instance, which only a queue had.
        match unsafe { (*content(&object)).take() } {
            Some(Content::Call(call, context)) => {
                drop(object);
                run(py, owner, call, context.as_ref())
            }
            Some(Content::Mail(remote)) => {
                // SAFETY: as above.
                unsafe { *content(&object) = Some(Content::Mail(remote.clone())) };
                remote.run_posted(py, owner, object)
            }
            None => Ok(()),
        }
    }
}

/// Runs a call, in `context` if there is one; errors as in [`NativeCall::run`].
pub(super) fn run(
    py: Python<'_>,
    owner: &Bound<'_, Loop>,
    call: OwnedCall,
    context: Option<&Ref>,
) -> PyResult<()> {
    let done = match context {
        Some(context) => enter_context(py, context, || call.run(py)),
        None => call.run(py),
    };
    match done {
        Err(error) if !is_exit(py, &error) => {
            let report = hooks().get(py, "report_native_error")?;
            report.call1((owner, error.into_value(py))).map(drop)
        }
        done => done,
    }
}

/// # Safety
/// `object` is an instance, and nobody else looks into it.
unsafe fn content(object: &Ref) -> *mut Option<Content> {
    // SAFETY: by contract.
    unsafe { CLASS.get().tail(object.as_ptr()) }
}

/// Never called: the collector does not know calls.
unsafe extern "C" fn traverse(_: *mut ffi::PyObject, _: ffi::visitproc, _: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    let class = CLASS.get();
    // SAFETY: the last reference is gone; the tail was written when the object was made.
    unsafe {
        drop((*class.tail::<Option<Content>>(object)).take());
        class.free(object);
    }
}
