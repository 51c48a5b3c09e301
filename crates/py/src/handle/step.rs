//! `TaskStep`: the step or wake-up of a C Task, scheduled without a handle, for nobody could have
//! seen it.
//!
//! It is an object only so that a [`Job`](crate::host::Job) is one reference whatever it is: Python
//! never gets hold of one, so there is just the one reference to it, in a queue. The collector does
//! not know it; who holds one shows it what is inside.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::raw::{Class, Global, Raised, Ref};

/// What a step is made of.
#[derive(Debug)]
pub(crate) struct TaskStep {
    pub(crate) context: Ref,
    /// Called in the context, with the argument if there is one.
    pub(crate) target: Ref,
    pub(crate) argument: Option<Ref>,
}

struct Steps {
    class: Class,
    /// Empty steps, to be filled again.
    pool: UnsafeCell<Vec<Ref>>,
}

/// How many empty steps are kept: more than a busy loop has in flight.
const KEPT_AT_MOST: usize = 2048;

// SAFETY: the pool is touched by attached threads only, and not while Python runs; the module
// declares that it needs the GIL.
unsafe impl Sync for Steps {}
// SAFETY: as above.
unsafe impl Send for Steps {}

static STEPS: Global<Steps> = Global::new();

/// Makes the type. Called once, by the module's initialisation.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let class = Class::carrier::<Option<TaskStep>>(py, c"oxloop.TaskStep", traverse, dealloc)?;
    // SAFETY: called once, before anything that reads it.
    unsafe { STEPS.set(Steps { class, pool: UnsafeCell::default() }) };
    Ok(())
}

impl TaskStep {
    /// As an object, for a queue.
    #[inline]
    pub(crate) fn into_object(self, py: Python<'_>) -> Result<Ref, Raised> {
        let steps = STEPS.get();
        // SAFETY: the pool is ours alone until `pop` returns. What is in it has an empty tail; a
        // new instance gets its tail here.
        unsafe {
            let object = match (*steps.pool.get()).pop() {
                Some(object) => object,
                None => steps.class.allocate(py)?,
            };
            steps.class.tail::<Option<TaskStep>>(object.as_ptr()).write(Some(self));
            Ok(object)
        }
    }

    /// Takes the step out of its object; the object itself if it is none.
    #[inline]
    pub(crate) fn from_object(object: Ref) -> Result<TaskStep, Ref> {
        let steps = STEPS.get();
        if !steps.class.is_type_of(object.as_ptr()) {
            return Err(object);
        }
        // SAFETY: an instance, referred to by the caller alone; the pool is ours alone until it
        // has taken the empty object.
        unsafe {
            let Some(step) = (*steps.class.tail::<Option<TaskStep>>(object.as_ptr())).take() else {
                unreachable!("an empty step is in the pool only");
            };
            let pool = &mut *steps.pool.get();
            if pool.len() < KEPT_AT_MOST && pool.try_reserve(1).is_ok() {
                pool.push(object);
            }
            Ok(step)
        }
    }

    /// What is inside of `object`, if it is a step.
    #[inline]
    pub(crate) fn of(object: &Ref) -> Option<&TaskStep> {
        let class = &STEPS.get().class;
        if !class.is_type_of(object.as_ptr()) {
            return None;
        }
        // SAFETY: an instance, alive and unchanged while it is borrowed: only its owner changes it.
        unsafe { (*class.tail::<Option<TaskStep>>(object.as_ptr())).as_ref() }
    }
}

/// Never called: the collector does not know steps. A type that has it may be untracked.
unsafe extern "C" fn traverse(_: *mut ffi::PyObject, _: ffi::visitproc, _: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    let class = &STEPS.get().class;
    // SAFETY: the last reference is gone; the tail was written when the object was made.
    unsafe {
        drop((*class.tail::<Option<TaskStep>>(object)).take());
        class.free(object);
    }
}
