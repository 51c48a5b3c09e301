//! `create_future` and `create_task`, without a Python frame between them and the C classes.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::LoopRef;
use crate::hooks::hooks;
use crate::raw::{Arguments, Ref, method};

pub(super) fn methods() -> Vec<(ffi::PyMethodDef, Option<&'static CStr>)> {
    vec![
        (method!(noargs c"create_future", LoopRef<'_>, create_future), Some(CREATE_FUTURE)),
        (method!(fast c"create_task", LoopRef<'_>, create_task), Some(CREATE_TASK)),
    ]
}

const CREATE_FUTURE: &CStr = c"create_future(self)\n--\n\nMake an asyncio.Future of this loop.";
const CREATE_TASK: &CStr = c"create_task(self, coro, **kwargs)\n--\n\n\
Schedule a coroutine and return its Task. The keywords are those of the running Python.";

pub(super) fn create_future(py: Python<'_>, this: LoopRef<'_>) -> PyResult<Ref> {
    let class = class(py, &hooks().futures, &hooks().names.Future)?;
    construct(py, &class, this, &[])
}

fn create_task(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<Ref> {
    let plain = arguments.positional.len() == 1
        && arguments.has_no_keywords()
        && !this.native.task_factory.is_some()
        && !this.native.debug.get();
    if plain {
        this.native.check_closed()?;
        let class = class(py, &hooks().tasks, &hooks().names.Task)?;
        return construct(py, &class, this, arguments.positional);
    }
    // Factories, names, contexts, debug mode: as the running asyncio has them.
    let function = hooks().get(py, "base_create_task")?;
    // SAFETY: borrowed for the call.
    let positional = unsafe {
        let given = arguments.positional.iter();
        let given = given.map(|&argument| Bound::from_borrowed_ptr(py, argument));
        std::iter::once(this.bind(py).into_any()).chain(given).collect::<Vec<_>>()
    };
    let keywords = arguments.keywords(py)?;
    if let Some(keywords) = &keywords
        && let Some(context) = keywords.get_item("context")?
    {
        super::schedule::check_context(&context)?;
    }
    Ok(function.call(PyTuple::new(py, positional)?, keywords.as_ref())?.into())
}

/// What a module calls by this name now: tests and profilers put their own there.
fn class(py: Python<'_>, module: &Ref, name: &Ref) -> PyResult<Ref> {
    // SAFETY: live objects; a new reference or null with an exception.
    unsafe { Ref::from_owned(py, ffi::PyObject_GetAttr(module.as_ptr(), name.as_ptr())) }
}

/// `class(*positional, loop=this)`.
#[inline]
fn construct(
    py: Python<'_>,
    class: &Ref,
    this: LoopRef<'_>,
    positional: &[*mut ffi::PyObject],
) -> PyResult<Ref> {
    let null = std::ptr::null_mut();
    let first = positional.first().copied().unwrap_or(this.as_ptr());
    let arguments = [null, first, this.as_ptr()];
    // SAFETY: live objects; the place before the arguments is ours; one keyword, whose value
    // follows the positional arguments.
    unsafe {
        let count = positional.len().min(1);
        let start = arguments.as_ptr().add(1);
        Ref::from_owned(
            py,
            ffi::PyObject_Vectorcall(
                class.as_ptr(),
                start,
                count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                hooks().loop_keyword.as_ptr(),
            ),
        )
    }
}
