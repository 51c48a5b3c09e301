//! Whose clock a loop goes by: its own, unless a subclass has a `time` or one was assigned to the
//! instance, which tests do. Owns the answer and how long it holds.
//!
//! Invariant: an answer that was kept is never stale. It is kept where the interpreter tells of
//! changes of a dict (3.12), and looked for anew each time where it does not.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Loop, LoopRef};
use crate::hooks::hooks;
use crate::raw::{Ref, Slot};

/// What the engine is told the time is.
#[inline]
pub(super) fn now(py: Python<'_>, this: LoopRef<'_>) -> PyResult<f64> {
    if this.native.clock.is_own() {
        return Ok(oxloop_os::clock::monotonic());
    }
    now_of_another(py, this)
}

#[derive(Debug)]
pub(super) struct Clock {
    /// The instance's `__dict__`, once it has been looked for.
    namespace: Slot,
    /// The class' `time` is ours, not a subclass'.
    of_class: Cell<bool>,
    /// The last answer, which holds for this edition of all namespaces.
    own: Cell<bool>,
    edition: Cell<usize>,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            namespace: Slot::default(),
            of_class: Cell::new(true),
            own: Cell::new(false),
            edition: Cell::new(changes::NEVER),
        }
    }

    /// `of_class`: the class' `time` is ours.
    pub(super) fn find(&self, namespace: Ref, of_class: bool) {
        let kept = changes::tell_of_changes(&namespace);
        self.namespace.set(Some(namespace));
        self.of_class.set(of_class);
        self.own.set(of_class && !self.is_assigned());
        self.edition.set(if kept { changes::edition() } else { changes::NEVER });
    }

    /// Whether `loop.time()` is our clock at this moment.
    #[inline]
    pub(super) fn is_own(&self) -> bool {
        if self.edition.get() == changes::edition() { self.own.get() } else { self.look() }
    }

    /// The reference that the collector has to know of.
    pub(super) fn namespace(&self) -> &Slot {
        &self.namespace
    }

    fn look(&self) -> bool {
        let own = self.namespace.is_some() && self.of_class.get() && !self.is_assigned();
        self.own.set(own);
        if self.edition.get() != changes::NEVER {
            self.edition.set(changes::edition());
        }
        own
    }

    fn is_assigned(&self) -> bool {
        let (namespace, time) = (self.namespace.as_ptr(), hooks().names.time.as_ptr());
        // SAFETY: a dict, and an interned string, whose hash and comparison run no Python.
        unsafe { !ffi::PyDict_GetItemWithError(namespace, time).is_null() }
    }
}

#[cold]
fn now_of_another(py: Python<'_>, this: LoopRef<'_>) -> PyResult<f64> {
    if !this.native.clock.namespace.is_some() {
        Loop::find_overrides(&this.bind(py))?;
        return now(py, this);
    }
    let name = hooks().names.time.bind(py).cast::<PyString>()?;
    this.bind(py).call_method0(name)?.extract()
}

/// The interpreter counts the changes of all loops' namespaces: they are few, and one count serves
/// every loop.
#[cfg(Py_3_12)]
mod changes {
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

    use pyo3::ffi;

    use crate::raw::Ref;

    /// No edition: a kept answer holds for none.
    pub(super) const NEVER: usize = 0;

    static EDITION: AtomicUsize = AtomicUsize::new(NEVER + 1);

    /// What the interpreter calls our watcher.
    static WATCHER: AtomicI32 = AtomicI32::new(NOT_YET);
    const NOT_YET: c_int = -1;

    #[inline]
    pub(super) fn edition() -> usize {
        EDITION.load(Ordering::Relaxed)
    }

    /// False: the interpreter would not, and nobody tells.
    pub(super) fn tell_of_changes(namespace: &Ref) -> bool {
        // SAFETY: attached, as whoever has a `Ref`; a dict. An exception is swallowed at once.
        unsafe {
            if WATCHER.load(Ordering::Relaxed) == NOT_YET {
                WATCHER.store(PyDict_AddWatcher(count), Ordering::Relaxed);
            }
            let watcher = WATCHER.load(Ordering::Relaxed);
            let told = watcher != NOT_YET && ffi::PyDict_Watch(watcher, namespace.as_ptr()) == 0;
            if !told {
                ffi::PyErr_Clear();
            }
            told
        }
    }

    /// Called before each change, by whoever makes it; what is looked for next is after it.
    extern "C" fn count(
        _event: c_int,
        _namespace: *mut ffi::PyObject,
        _key: *mut ffi::PyObject,
        _value: *mut ffi::PyObject,
    ) -> c_int {
        EDITION.fetch_add(1, Ordering::Relaxed);
        0
    }

    type Callback =
        extern "C" fn(c_int, *mut ffi::PyObject, *mut ffi::PyObject, *mut ffi::PyObject) -> c_int;

    unsafe extern "C" {
        /// Not in PyO3's table yet.
        fn PyDict_AddWatcher(callback: Callback) -> c_int;
    }
}

#[cfg(not(Py_3_12))]
mod changes {
    use crate::raw::Ref;

    /// No edition: a kept answer holds for none.
    pub(super) const NEVER: usize = 0;

    #[inline]
    pub(super) fn edition() -> usize {
        NEVER + 1
    }

    /// Nobody tells.
    pub(super) fn tell_of_changes(_namespace: &Ref) -> bool {
        false
    }
}
