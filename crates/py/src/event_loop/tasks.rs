//! `create_future` and `create_task`, without a Python frame between them and the C classes.
//!
//! What asyncio's modules call `Future` and `Task` is looked up at every call: tests and profilers
//! put their own there.

use std::ffi::CStr;

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use super::LoopRef;
use crate::hooks::hooks;
use crate::raw::{Arguments, Ref, call_forwarding, call_with, method};

pub(super) fn methods() -> Vec<(ffi::PyMethodDef, Option<&'static CStr>)> {
    vec![
        (method!(noargs c"create_future", LoopRef<'_>, create_future), Some(CREATE_FUTURE)),
        (method!(fast c"create_task", LoopRef<'_>, create_task), Some(CREATE_TASK)),
        (method!(noargs c"get_debug", LoopRef<'_>, get_debug), Some(GET_DEBUG)),
    ]
}

const CREATE_FUTURE: &CStr = c"create_future(self)\n--\n\nMake an asyncio.Future of this loop.";
const CREATE_TASK: &CStr = c"create_task(self, coro, **kwargs)\n--\n\n\
Schedule a coroutine and return its Task. The keywords are those of the running Python.";

const GET_DEBUG: &CStr = c"get_debug(self)\n--\n\n\
Whether the loop is in debug mode. Every future and task asks as it is made.";

fn get_debug(py: Python<'_>, this: LoopRef<'_>) -> PyResult<Ref> {
    Ok(PyBool::new(py, this.native.is_debug()).to_owned().into_any().into())
}

pub(super) fn create_future(py: Python<'_>, this: LoopRef<'_>) -> PyResult<Ref> {
    let class = member(py, &hooks().futures, &hooks().names.Future)?;
    if class.as_ptr() == hooks().future.as_ptr()
        && let Some(keywords) = own_keywords(py, this)
    {
        // SAFETY: a type, a tuple and a dict, alive for the call.
        return unsafe {
            let none = hooks().no_arguments.as_ptr();
            Ref::from_owned(py, ffi::PyObject_Call(class.as_ptr(), none, keywords))
        };
    }
    call_with(py, &class, &[], &[this.as_ptr()], &hooks().loop_keyword)
}

fn create_task(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> PyResult<Ref> {
    check_given_context(py, &arguments)?;
    let &[coro] = arguments.positional else { return inherited(py, this, &arguments) };
    let known = arguments.keyword_names().all(|name| hooks().is_task_keyword(name));
    if this.native.debug.get() || !known {
        return inherited(py, this, &arguments);
    }
    this.native.check_closed()?;
    match this.native.task_factory.get(py) {
        None => new_task(py, this, coro, &arguments),
        Some(factory) if hooks().factories_take_keywords => {
            if arguments.has_no_keywords() && hooks().is_eager_factory(&factory) {
                return new_eager_task(py, this, coro);
            }
            call_forwarding(py, &factory, &[this.as_ptr(), coro], &arguments)
        }
        Some(_) => inherited(py, this, &arguments),
    }
}

/// `Task(coro, loop=this, **keywords)`.
fn new_task(
    py: Python<'_>,
    this: LoopRef<'_>,
    coro: *mut ffi::PyObject,
    arguments: &Arguments<'_>,
) -> PyResult<Ref> {
    let class = member(py, &hooks().tasks, &hooks().names.Task)?;
    if arguments.has_no_keywords() {
        if class.as_ptr() == hooks().task.as_ptr()
            && let Some(keywords) = own_keywords(py, this)
        {
            // SAFETY: a type, a new tuple and a dict, alive for the call.
            return unsafe {
                let given = Ref::from_owned(py, ffi::PyTuple_Pack(1, coro))?;
                Ref::from_owned(py, ffi::PyObject_Call(class.as_ptr(), given.as_ptr(), keywords))
            };
        }
        return call_with(py, &class, &[coro], &[this.as_ptr()], &hooks().loop_keyword);
    }
    // SAFETY: names are borrowed for the call.
    let given = arguments.keyword_names().map(|name| unsafe { Bound::from_borrowed_ptr(py, name) });
    let own = hooks().loop_name.bind(py).clone();
    let names = PyTuple::new(py, std::iter::once(own).chain(given).collect::<Vec<_>>())?;
    let mut values = [this.as_ptr(); 1 + Arguments::KEYWORDS_AT_MOST];
    let given = arguments.keyword_values();
    values[1..=given.len()].copy_from_slice(given);
    call_with(py, &class, &[coro], &values[..=given.len()], &names.into())
}

/// `{"loop": this}`, borrowed, for classes that do not keep or change it: asyncio's own. A call with
/// keywords makes such a dict each time. `None`: use the keywords.
#[inline]
fn own_keywords(py: Python<'_>, this: LoopRef<'_>) -> Option<*mut ffi::PyObject> {
    let keywords = &this.native.keywords;
    if !keywords.is_some() && !this.native.is_closed() {
        let made = PyDict::new(py);
        made.set_item(hooks().loop_name.bind(py), this.bind(py)).ok()?;
        keywords.set(Some(made.into()));
    }
    keywords.is_some().then(|| keywords.as_ptr())
}

/// What `asyncio.eager_task_factory` does: it is Python, and half of what such a task costs.
fn new_eager_task(py: Python<'_>, this: LoopRef<'_>, coro: *mut ffi::PyObject) -> PyResult<Ref> {
    // SAFETY: a singleton.
    let values = [this.as_ptr(), unsafe { ffi::Py_True() }];
    call_with(py, &hooks().task, &[coro], &values, &hooks().eager_keywords)
}

/// Names that are unknown here, factories of old, debug mode: as the running asyncio has them.
#[cold]
fn inherited(py: Python<'_>, this: LoopRef<'_>, arguments: &Arguments<'_>) -> PyResult<Ref> {
    let function = hooks().get(py, "base_create_task")?;
    let given = arguments.positional.iter();
    // SAFETY: borrowed for the call.
    let given = given.map(|&argument| unsafe { Bound::from_borrowed_ptr(py, argument) });
    let positional: Vec<_> = std::iter::once(this.bind(py).into_any()).chain(given).collect();
    let keywords = arguments.keywords(py)?;
    Ok(function.call(PyTuple::new(py, positional)?, keywords.as_ref())?.into())
}

/// A wrong context could only fail when the task runs, and then it would never end.
fn check_given_context(py: Python<'_>, arguments: &Arguments<'_>) -> PyResult<()> {
    let given = arguments.keyword_names().zip(arguments.keyword_values());
    for (name, &value) in given {
        if hooks().is_context_keyword(name) {
            // SAFETY: borrowed for the call.
            let context = unsafe { Borrowed::from_ptr(py, value) };
            super::schedule::check_context(&context)?;
        }
    }
    Ok(())
}

/// What a module calls by this name now.
#[inline]
fn member(py: Python<'_>, module: &Ref, name: &Ref) -> PyResult<Ref> {
    // SAFETY: a module and an interned string; what its dict holds is borrowed, and referred to
    // before anything else runs.
    unsafe {
        let namespace = ffi::PyModule_GetDict(module.as_ptr());
        let found = ffi::PyDict_GetItemWithError(namespace, name.as_ptr());
        if !found.is_null() {
            return Ok(Ref::from_borrowed(found));
        }
        // Not there, or an error: the attribute's own way says which.
        ffi::PyErr_Clear();
        Ref::from_owned(py, ffi::PyObject_GetAttr(module.as_ptr(), name.as_ptr()))
    }
}
