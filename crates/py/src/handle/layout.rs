//! Where a handle's fields are on the running interpreter.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::hooks::Hooks;
use crate::raw::{Class, Global, slot_offset};

/// The classes, and the offsets of their bases' slots. `TimerHandle` derives from `Handle`, so
/// what they share is at the same place.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) handle: Class,
    pub(crate) timer: Class,
    /// From 3.14 on: what `call_soon_threadsafe` returns.
    pub(crate) threadsafe: Option<Class>,
    pub(crate) callback: isize,
    pub(crate) args: isize,
    pub(crate) cancelled: isize,
    pub(crate) r#loop: isize,
    pub(crate) traceback: isize,
    pub(crate) repr: isize,
    pub(crate) context: isize,
    pub(crate) when: isize,
}

static LAYOUT: Global<Layout> = Global::new();

/// The layout of this process. The module's initialisation has made it.
#[inline(always)]
pub(crate) fn layout() -> &'static Layout {
    LAYOUT.get()
}

impl Layout {
    /// Which of the classes `object` is an instance of.
    #[inline]
    pub(crate) fn class_of(&self, object: *mut ffi::PyObject) -> Option<&Class> {
        if self.handle.is_type_of(object) {
            Some(&self.handle)
        } else if self.timer.is_type_of(object) {
            Some(&self.timer)
        } else {
            self.threadsafe.as_ref().filter(|class| class.is_type_of(object))
        }
    }

    pub(super) fn make(
        py: Python<'_>,
        hooks: &Hooks,
        build: impl Fn(&Bound<'_, PyType>, &'static CStr, bool) -> PyResult<Class>,
    ) -> PyResult<()> {
        let handle = hooks.base_class(py, "Handle")?;
        let timer = hooks.base_class(py, "TimerHandle")?;
        let layout = Layout {
            callback: slot_offset(&handle, "_callback")?,
            args: slot_offset(&handle, "_args")?,
            cancelled: slot_offset(&handle, "_cancelled")?,
            r#loop: slot_offset(&handle, "_loop")?,
            traceback: slot_offset(&handle, "_source_traceback")?,
            repr: slot_offset(&handle, "_repr")?,
            context: slot_offset(&handle, "_context")?,
            when: slot_offset(&timer, "_when")?,
            handle: build(&handle, c"oxloop.Handle", false)?,
            timer: build(&timer, c"oxloop.TimerHandle", true)?,
            threadsafe: match hooks.threadsafe_handle(py)? {
                Some(base) => Some(build(&base, c"oxloop.ThreadSafeHandle", false)?),
                None => None,
            },
        };
        // SAFETY: called once, by the module's initialisation, before anything that reads it.
        unsafe { LAYOUT.set(layout) };
        Ok(())
    }
}
