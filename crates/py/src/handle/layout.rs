//! Where a handle's fields are on the running interpreter.

use std::sync::OnceLock;

use pyo3::prelude::*;

use crate::hooks::Hooks;
use crate::raw::{Class, slot_offset};

/// Both classes, and the offsets of their bases' slots. `TimerHandle` derives from `Handle`, so
/// what they share is at the same place.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) handle: Class,
    pub(crate) timer: Class,
    pub(crate) callback: isize,
    pub(crate) args: isize,
    pub(crate) cancelled: isize,
    pub(crate) r#loop: isize,
    pub(crate) traceback: isize,
    pub(crate) repr: isize,
    pub(crate) context: isize,
    pub(crate) when: isize,
    pub(crate) scheduled: isize,
}

static LAYOUT: OnceLock<Layout> = OnceLock::new();

/// The layout of this process. The module's initialisation has made it.
#[inline]
pub(crate) fn layout() -> &'static Layout {
    match LAYOUT.get() {
        Some(layout) => layout,
        None => unreachable!("the module is initialised before anything of it is called"),
    }
}

impl Layout {
    pub(super) fn make(
        py: Python<'_>,
        hooks: &Hooks,
        build: impl Fn(&Bound<'_, pyo3::types::PyType>, bool) -> PyResult<Class>,
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
            scheduled: slot_offset(&timer, "_scheduled")?,
            handle: build(&handle, false)?,
            timer: build(&timer, true)?,
        };
        let _ = LAYOUT.set(layout);
        Ok(())
    }
}
