//! `Handle`, `TimerHandle` and, from 3.14 on, `ThreadSafeHandle`: scheduled callbacks.
//!
//! They derive from asyncio's classes of the same name. Callback, context, loop and the cancelled
//! flag are in the base's slots, so what is inherited (repr, ordering, `_run`) works on them. The
//! positional arguments are in our tail, at most [`INLINE`] of them, and become a tuple in the
//! base's `_args` slot when Python asks for it; with more of them the tuple is made at once.
//!
//! A handle that nobody but the engine holds is unknown to the garbage collector while the loop
//! runs: the loop is alive then, and so is what it has scheduled. It becomes known when it is run or
//! cancelled and somebody else holds it ([`HandleRef::make_known_if_kept`]), and at the end of the
//! run ([`HandleRef::make_known`]). Most handles live and die unknown.
//!
//! Invariant: `_args` is the tuple if its slot is filled, and the inline arguments otherwise, unless
//! the handle is cancelled: then it has none.

mod layout;
mod run;
mod step;
mod types;

use std::ffi::c_ulong;

use oxloop_engine::Key;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

use crate::event_loop::Loop;
use crate::raw::{Raised, Ref, slot};

use layout::Layout;
pub(crate) use layout::layout;
pub(crate) use run::{debug_run, is_exit, run_job};
pub(crate) use step::TaskStep;
pub(crate) use types::init;

/// Arguments that need no tuple.
pub(crate) const INLINE: usize = 3;

/// What a handle has beyond its base.
#[repr(C)]
pub(crate) struct Tail {
    /// The callback's arguments, behind a place that a vectorcall may use for `self`.
    arguments: [*mut ffi::PyObject; INLINE + 1],
    count: u8,
    /// Made by `call_soon_threadsafe`, on a Python where cancelling waits for the callback.
    threadsafe: bool,
    /// The thread that is running the callback; 0: none.
    runner: c_ulong,
    /// The engine's timer, until it has run or was cancelled.
    timer: Option<Key>,
    /// The deadline in seconds, if the `_when` slot is empty: an object is made when it is asked for.
    when: f64,
}

/// A handle of ours, borrowed for a call.
#[derive(Clone, Copy)]
pub(crate) struct HandleRef {
    object: *mut ffi::PyObject,
    tail: *mut Tail,
}

impl HandleRef {
    /// # Safety
    /// `object` is an instance of one of our handle types and alive.
    #[inline]
    pub(crate) unsafe fn from_self(object: *mut ffi::PyObject) -> HandleRef {
        let layout = layout();
        let class = layout.class_of(object).unwrap_or(&layout.handle);
        // SAFETY: an instance of the class.
        HandleRef { object, tail: unsafe { class.tail(object) } }
    }

    /// `None` if `object` is not a handle of ours.
    #[inline]
    pub(crate) fn of(object: &Ref) -> Option<HandleRef> {
        let object = object.as_ptr();
        let class = layout().class_of(object)?;
        // SAFETY: an instance of the class.
        Some(HandleRef { object, tail: unsafe { class.tail(object) } })
    }

    #[inline]
    fn tail(self) -> *mut Tail {
        self.tail
    }

    #[inline]
    fn slot(self, offset: isize) -> *mut *mut ffi::PyObject {
        // SAFETY: callers pass offsets of the layout.
        unsafe { slot(self.object, offset) }
    }

    #[inline]
    pub(crate) fn is_cancelled(self) -> bool {
        // SAFETY: a slot of the base.
        unsafe { *self.slot(layout().cancelled) == ffi::Py_True() }
    }

    /// From now on the collector looks into the handle.
    pub(crate) fn make_known(self) {
        // SAFETY: a live object of a type that has the collector's header.
        unsafe {
            if ffi::PyObject_GC_IsTracked(self.object) == 0 {
                ffi::PyObject_GC_Track(self.object.cast());
            }
        }
    }

    /// The engine has just given the handle up, or is about to: only who else holds it may put it
    /// into a cycle.
    #[inline]
    fn make_known_if_kept(self) {
        // SAFETY: a live object.
        if unsafe { ffi::Py_REFCNT(self.object) } > 1 {
            self.make_known();
        }
    }

    /// Replaces what a slot holds. Dropping the old value may run Python.
    fn put(self, offset: isize, value: Ref) {
        // SAFETY: the slot is filled before the old reference is dropped.
        unsafe {
            let old = std::ptr::replace(self.slot(offset), value.into_ptr());
            ffi::Py_XDECREF(old);
        }
    }

    fn read(self, offset: isize) -> Option<Ref> {
        // SAFETY: a slot holds null or a live object.
        unsafe {
            let value = *self.slot(offset);
            (!value.is_null()).then(|| Ref::from_borrowed(value))
        }
    }

    /// Empties a slot.
    fn forget(self, offset: isize) {
        // SAFETY: emptied before the old reference is dropped.
        unsafe {
            let old = std::ptr::replace(self.slot(offset), std::ptr::null_mut());
            ffi::Py_XDECREF(old);
        }
    }

    /// `_when` of a timer.
    fn when(self, py: Python<'_>) -> Ref {
        self.read(layout().when).unwrap_or_else(|| {
            // SAFETY: the tail of a live handle.
            PyFloat::new(py, unsafe { (*self.tail()).when }).into_any().into()
        })
    }

    /// `_scheduled` of a timer.
    fn is_scheduled(self) -> bool {
        // SAFETY: the tail of a live handle.
        unsafe { (*self.tail()).timer.is_some() }
    }

    /// The first inline argument, borrowed; null without one.
    pub(crate) fn first_argument(self) -> *mut ffi::PyObject {
        // SAFETY: the tail of a live handle.
        unsafe {
            let tail = &*self.tail();
            if tail.count > 0 { tail.arguments[1] } else { std::ptr::null_mut() }
        }
    }

    pub(crate) fn set_timer(self, key: Key) {
        // SAFETY: the tail of a live handle; nothing else points into it.
        unsafe { (*self.tail()).timer = Some(key) }
    }

    /// `_args`, made when it is asked for.
    fn args(self, py: Python<'_>) -> PyResult<Option<Ref>> {
        if let Some(args) = self.read(layout().args) {
            return Ok(Some(args));
        }
        if self.is_cancelled() {
            return Ok(None);
        }
        // SAFETY: the tail of a live handle; the arguments are alive while it holds them.
        let arguments = unsafe {
            let tail = &*self.tail();
            let inline = &tail.arguments[1..=usize::from(tail.count)];
            inline.iter().map(|&argument| Ref::from_borrowed(argument)).collect::<Vec<_>>()
        };
        let tuple: Ref =
            PyTuple::new(py, arguments.iter().map(|argument| argument.bind(py)))?.into();
        self.put(layout().args, tuple.clone_ref(py));
        Ok(Some(tuple))
    }

    fn drop_arguments(self) {
        // SAFETY: the count is zeroed before the references are dropped.
        unsafe {
            let tail = self.tail();
            let count = std::mem::take(&mut (*tail).count);
            for at in 1..=usize::from(count) {
                let argument =
                    std::ptr::replace(&raw mut (*tail).arguments[at], std::ptr::null_mut());
                ffi::Py_XDECREF(argument);
            }
        }
    }

    /// Marks the handle cancelled and forgets callback and arguments.
    pub(crate) fn cancel(self, py: Python<'_>) -> PyResult<()> {
        self.wait_for_runner(py);
        if self.is_cancelled() {
            return Ok(());
        }
        let layout = layout();
        self.put(layout.cancelled, true_ref(py));
        // SAFETY: a slot of a live handle, which keeps the loop alive: nothing below empties it.
        if let Some(owner) = unsafe { Loop::of_pointer(*self.slot(layout.r#loop)) } {
            // SAFETY: the tail of a live handle.
            let timer = unsafe { (*self.tail()).timer.take() };
            // This handle's own reference in the engine: the caller holds another.
            let job = timer.and_then(|key| owner.engine().cancel_timer(key));
            drop(job);
            if owner.is_debug() {
                // SAFETY: a live object.
                let this = unsafe { Bound::from_borrowed_ptr(py, self.object) };
                let repr: Ref = this.repr()?.into_any().into();
                self.put(layout.repr, repr);
            }
        }
        self.put(layout.callback, none_ref(py));
        self.forget(layout.args);
        self.drop_arguments();
        self.make_known_if_kept();
        Ok(())
    }
}

/// Which class a handle is of.
pub(crate) enum HandleKind {
    Soon,
    /// Made by `call_soon_threadsafe`: of its own class from 3.14 on.
    ThreadSafe,
    Timer(When),
}

/// A timer's deadline, as Python gave it.
pub(crate) enum When {
    Float(f64),
    /// Kept as it was given: an int, for instance.
    Object(Ref),
}

/// Makes a handle, `known` to the collector or not yet.
#[inline]
pub(crate) fn new_handle(
    py: Python<'_>,
    owner: *mut ffi::PyObject,
    callback: *mut ffi::PyObject,
    arguments: &[*mut ffi::PyObject],
    context: Ref,
    kind: HandleKind,
    known: bool,
) -> Result<Ref, Raised> {
    let layout = layout();
    let (class, when) = match kind {
        HandleKind::Soon => (&layout.handle, None),
        HandleKind::ThreadSafe => (layout.threadsafe.as_ref().unwrap_or(&layout.handle), None),
        HandleKind::Timer(when) => (&layout.timer, Some(when)),
    };
    let overflow = if arguments.len() > INLINE { Some(tuple_of(py, arguments)?) } else { None };
    // SAFETY: a new instance with empty slots, tracked only when it is filled.
    unsafe {
        let object = class.allocate(py)?;
        let tail: *mut Tail = class.tail(object.as_ptr());
        let handle = HandleRef { object: object.as_ptr(), tail };
        let fill = |offset: isize, value: *mut ffi::PyObject| *handle.slot(offset) = value;
        fill(layout.callback, new_reference(callback));
        fill(layout.r#loop, new_reference(owner));
        fill(layout.context, context.into_ptr());
        fill(layout.cancelled, new_reference(ffi::Py_False()));
        fill(layout.traceback, new_reference(ffi::Py_None()));
        fill(layout.repr, new_reference(ffi::Py_None()));
        let is_timer = when.is_some();
        match when {
            Some(When::Float(seconds)) => (*tail).when = seconds,
            Some(When::Object(object)) => fill(layout.when, object.into_ptr()),
            None => {}
        }
        (*tail).count = 0;
        (*tail).threadsafe = !is_timer && !std::ptr::eq(class, &raw const layout.handle);
        (*tail).runner = 0;
        (*tail).timer = None;
        match overflow {
            Some(tuple) => fill(layout.args, tuple.into_ptr()),
            None => {
                for (at, &argument) in arguments.iter().enumerate() {
                    (*tail).arguments[at + 1] = new_reference(argument);
                }
                (*tail).count = arguments.len() as u8;
            }
        }
        if known {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
        Ok(object)
    }
}

/// # Safety
/// `object` is alive.
#[inline]
unsafe fn new_reference(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by contract. On 3.11 None and False are counted like everything else.
    unsafe {
        ffi::Py_INCREF(object);
        object
    }
}

fn tuple_of(py: Python<'_>, arguments: &[*mut ffi::PyObject]) -> PyResult<Ref> {
    // SAFETY: the caller holds the arguments.
    let bound = arguments.iter().map(|&argument| unsafe { Bound::from_borrowed_ptr(py, argument) });
    Ok(PyTuple::new(py, bound.collect::<Vec<_>>())?.into())
}

fn none_ref(py: Python<'_>) -> Ref {
    py.None().into_bound(py).into()
}

fn true_ref(py: Python<'_>) -> Ref {
    pyo3::types::PyBool::new(py, true).to_owned().into_any().into()
}
