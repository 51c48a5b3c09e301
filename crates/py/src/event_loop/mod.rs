//! `_oxloop.Loop`: the native half of `oxloop.EventLoop`.
//!
//! It comes first in the MRO, before the interpreter's own selector loop, and overrides what runs
//! per callback, per event or per connection. The private attributes that the base class writes
//! (`_closed`, `_stopping`, `_debug`, …) are properties here, so the inherited methods set the
//! native state without knowing it.
//!
//! Invariant: the engine is borrowed only between two lines that run no Python; [`Loop::engine`] is
//! the one way to it.

mod accept;
mod clock;
mod collect;
mod files;
mod loop_ref;
mod methods;
mod opening;
mod process;
mod resolve;
mod run;
mod schedule;
mod signals;
mod sock;
mod sock_peer;
mod tasks;
mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::ffi::c_ulong;
use std::sync::Arc;

use oxloop_engine::{Door, Engine, Payload, System};
use pyo3::Borrowed;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::handle::HandleRef;
use crate::hooks::hooks;
use crate::host::{Job, PyHost};
use crate::native::Remote;
use crate::raw::{Global, Lookup, Ref, Slot};

pub(crate) use accept::file_descriptor;
pub(crate) use loop_ref::LoopRef;
pub(crate) use schedule::check_context;

/// The native half of an event loop: scheduling, turns, readiness, streams.
#[pyclass(frozen, subclass, module = "oxloop._oxloop")]
#[derive(Debug)]
pub struct Loop {
    engine: RefCell<Engine<PyHost>>,
    door: RefCell<Door<Job, System>>,
    /// For the threads of other native modules, from when one asks on.
    remote: RefCell<Option<Arc<Remote>>>,
    files: files::WatchedFiles,
    closed: Cell<bool>,
    debug: Cell<bool>,
    /// `_thread_id`: who runs the loop; 0: nobody.
    thread: Cell<c_ulong>,
    task_factory: Slot,
    clock: clock::Clock,
    /// `{"loop": self}`, what futures and tasks are made with; none once the loop is closed.
    keywords: Slot,
    /// `call_at` is ours: `call_later` need not call it by name.
    own_call_at: Cell<bool>,
    /// `call_soon` is ours: nobody sees what it returns to a C Task.
    own_call_soon: Cell<bool>,
    /// `Handle._run` is not asyncio's any more: call it instead of running handles natively.
    run_patched: Cell<bool>,
}

// SAFETY: the cells are touched by attached threads only, one at a time: the module declares that
// it needs the GIL.
unsafe impl Send for Loop {}
// SAFETY: as above.
unsafe impl Sync for Loop {}

/// `Loop` itself, which is for ever: its subclasses are recognised by descent.
static CLASS: Global<Ref> = Global::new();

impl Default for Loop {
    fn default() -> Loop {
        let engine = Engine::new(System::default());
        Loop {
            door: RefCell::new(engine.door()),
            remote: RefCell::default(),
            engine: RefCell::new(engine),
            files: files::WatchedFiles::default(),
            closed: Cell::new(false),
            debug: Cell::new(false),
            thread: Cell::new(0),
            task_factory: Slot::default(),
            clock: clock::Clock::new(),
            keywords: Slot::default(),
            own_call_at: Cell::new(true),
            own_call_soon: Cell::new(true),
            run_patched: Cell::new(false),
        }
    }
}

impl Loop {
    /// The engine, until the end of the statement.
    #[inline]
    pub(crate) fn engine(&self) -> RefMut<'_, Engine<PyHost>> {
        self.engine.borrow_mut()
    }

    /// The native half of `object`, if it is an event loop of ours.
    ///
    /// # Safety
    /// `object` is null or alive, and stays so while the result is used.
    #[inline]
    pub(crate) unsafe fn of_pointer<'a>(object: *mut ffi::PyObject) -> Option<&'a Loop> {
        // SAFETY: by contract; attached, since every caller is a method. A class that has our
        // instances' memory has `Loop` among those it is laid out after, one or two steps away.
        unsafe {
            let py = Python::assume_attached();
            let object = Borrowed::from_ptr_or_opt(py, object)?;
            let mut class = object.get_type_ptr();
            while class.cast() != CLASS.get().as_ptr() {
                class = (*class).tp_base;
                if class.is_null() {
                    return None;
                }
            }
            let this: &Loop = object.cast_unchecked::<Loop>().get();
            Some(&*std::ptr::from_ref(this))
        }
    }

    /// Whether nobody sees what is scheduled: not in debug mode, and `call_soon` is ours.
    pub(crate) fn has_plain_call_soon(&self) -> bool {
        self.own_call_soon.get() && !self.debug.get()
    }

    pub(crate) fn is_debug(&self) -> bool {
        self.debug.get()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether `run_forever` is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.get() != 0
    }

    pub(crate) fn check_closed(&self) -> PyResult<()> {
        if self.closed.get() { Err(closed_error()) } else { Ok(()) }
    }

    /// Makes every handle in the engine known to the collector: the run is over, and the loop may
    /// become garbage.
    fn show_handles(&self) {
        self.engine().visit(|payload| {
            if let Payload::Job(Job(object)) = payload
                && let Some(handle) = HandleRef::of(object)
            {
                handle.make_known();
            }
        });
    }

    pub(crate) fn is_on_own_thread(&self) -> bool {
        // SAFETY: no preconditions.
        self.thread.get() == unsafe { ffi::PyThread_get_thread_ident() }
    }
}

#[cold]
fn closed_error() -> PyErr {
    PyRuntimeError::new_err("Event loop is closed")
}

impl Loop {
    /// The loop for other threads.
    pub(crate) fn remote(&self, py: Python<'_>) -> PyResult<Arc<Remote>> {
        self.check_closed()?;
        if let Some(remote) = &*self.remote.borrow() {
            return Ok(remote.clone());
        }
        let remote = Remote::new(py, self, self.door.borrow().clone())?;
        self.remote.replace(Some(remote.clone()));
        Ok(remote)
    }

    /// What `loop.time()` returns.
    ///
    /// # Safety
    /// `object` is an instance, alive for the call.
    pub(crate) unsafe fn now(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<f64> {
        // SAFETY: by contract.
        clock::now(py, unsafe { LoopRef::from_self(object) })
    }

    /// Looks for methods that are not ours: of a subclass, or assigned to the instance.
    fn find_overrides(slf: &Bound<'_, Loop>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let own = hooks().get(py, "own_methods")?.call1((slf,))?;
        let (time, call_at, call_soon) = own.extract::<(bool, bool, bool)>()?;
        this.clock.find(slf.attribute("__dict__")?.into(), time);
        this.own_call_at.set(call_at);
        this.own_call_soon.set(call_soon);
        Ok(())
    }
}

/// Gives the type the methods that PyO3 would make too slow.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Loop>();
    // SAFETY: by the module's initialisation, once; methods of the class alone read it.
    unsafe { CLASS.set(class.clone().into()) };
    let mut methods = schedule::methods();
    methods.extend(tasks::methods());
    methods.extend(watch::methods());
    crate::raw::install(&class, methods)
}
