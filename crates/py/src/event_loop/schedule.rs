//! `call_soon` and its kin: the hottest methods there are, with hand-written argument parsing.

use std::ffi::CStr;
use std::time::Duration;

use oxloop_engine::Moment;
use pyo3::Borrowed;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString, PyTuple};

use super::clock::now;
use super::{Loop, LoopRef};
use crate::handle::{HandleKind, HandleRef, TaskStep, When, layout, new_handle};
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Arguments, Raised, Ref, copy_context, method, slot};

/// How long a thread sleeps that has posted a crowd: the least, which is some 50 µs.
const NAP: Duration = Duration::from_micros(1);

pub(super) fn methods() -> Vec<(ffi::PyMethodDef, Option<&'static CStr>)> {
    vec![
        (method!(fast c"call_soon"("callback"), LoopRef<'_>, call_soon), Some(CALL_SOON)),
        (
            method!(fast c"call_soon_threadsafe"("callback"), LoopRef<'_>, call_soon_threadsafe),
            Some(THREADSAFE),
        ),
        (
            method!(fast c"call_later"("delay", "callback"), LoopRef<'_>, call_later),
            Some(CALL_LATER),
        ),
        (method!(fast c"call_at"("when", "callback"), LoopRef<'_>, call_at), Some(CALL_AT)),
        (method!(one c"_add_callback", LoopRef<'_>, add_callback), None),
        (method!(one c"_add_callback_signalsafe", LoopRef<'_>, add_callback_signalsafe), None),
        (method!(one c"_timer_handle_cancelled", LoopRef<'_>, timer_handle_cancelled), None),
    ]
}

const CALL_SOON: &CStr = c"call_soon(self, callback, *args, context=None)\n--\n\n\
Run callback(*args) in the next turn of the loop, in the order of the calls.\n\n\
Returns a Handle. Not thread-safe; raises RuntimeError if the loop is closed.";
const THREADSAFE: &CStr = c"call_soon_threadsafe(self, callback, *args, context=None)\n--\n\n\
Like call_soon(), from any thread: wakes the loop if it waits.\n\n\
Callbacks of one thread keep their order.";
const CALL_LATER: &CStr = c"call_later(self, delay, callback, *args, context=None)\n--\n\n\
Run callback(*args) when delay seconds (an int or float) have passed.\n\n\
Returns a TimerHandle. Raises ValueError if delay is NaN; an infinite delay never ends.";
const CALL_AT: &CStr = c"call_at(self, when, callback, *args, context=None)\n--\n\n\
Run callback(*args) when loop.time() has reached when, in seconds. Like call_later().";

fn call_soon(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: Arguments<'_>,
) -> Result<Option<Ref>, Raised> {
    let (&callback, rest) = split(&arguments, "call_soon", 1)?;
    let context = check_call(py, this, &arguments, "call_soon", callback)?;
    if let Some(context) = &context
        && this.native.own_call_soon.get()
        && !this.native.debug.get()
        && let Some(step) = task_step(py, callback, rest, context)
    {
        push(this, Job(step.into_object(py)?))?;
        return Ok(None);
    }
    let handle = handle(py, this, callback, rest, context, HandleKind::Soon)?;
    push(this, Job(handle.clone_ref(py)))?;
    Ok(Some(handle))
}

fn call_soon_threadsafe(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: Arguments<'_>,
) -> Result<Ref, Raised> {
    let (&callback, rest) = split(&arguments, "call_soon_threadsafe", 1)?;
    let context = context_keyword(py, &arguments, "call_soon_threadsafe")?;
    this.native.check_closed()?;
    if this.native.debug.get() {
        check_callback(py, this, callback, "call_soon_threadsafe")?;
    }
    let context = checked_context(py, context)?;
    let handle = handle(py, this, callback, rest, context, HandleKind::ThreadSafe)?;
    let job = Job(handle.clone_ref(py));
    // The owner, or anyone while nobody runs the loop, may use the front door: the order of
    // callbacks is then that of all calls.
    if this.native.thread.get() == 0 || this.native.is_on_own_thread() {
        push(this, job)?;
    } else {
        let posted = this.native.door.borrow().post(job);
        if posted.map_err(no_memory)?.0 {
            // Threads that wait for nothing would leave the loop little of the interpreter. One that
            // only yields has it back before the loop's thread is awake.
            py.detach(|| std::thread::sleep(NAP));
        }
    }
    Ok(handle)
}

fn call_later(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> Result<Ref, Raised> {
    let (&[delay, callback], rest) = split_timer(&arguments, "call_later")?;
    // SAFETY: borrowed for the call.
    let delay = unsafe { Borrowed::from_ptr(py, delay) };
    if delay.is_none() {
        return Err(PyTypeError::new_err("delay must not be None").into());
    }
    let now = now(py, this)?;
    let when = if let Ok(delay) = delay.cast_exact::<PyFloat>() {
        now + delay.value()
    } else if let Ok(delay) = delay.cast_exact::<PyInt>() {
        now + seconds_of(delay)?
    } else {
        PyFloat::new(py, now).add(delay)?.extract()?
    };
    if !this.native.own_call_at.get() {
        let when = PyFloat::new(py, when).into_any();
        return Ok(call_overridden_call_at(py, this, &arguments, when)?);
    }
    let context = check_call(py, this, &arguments, "call_later", callback)?;
    schedule(py, this, (when, When::Float(when)), callback, rest, context)
}

/// An int as seconds. Extracting a float from it would make a float object first.
fn seconds_of(delay: Borrowed<'_, '_, PyInt>) -> PyResult<f64> {
    // SAFETY: an int, alive for the call.
    let seconds = unsafe { ffi::PyLong_AsDouble(delay.as_ptr()) };
    if seconds == -1.0
        && let Some(error) = PyErr::take(delay.py())
    {
        return Err(error);
    }
    Ok(seconds)
}

/// A subclass has a `call_at` of its own, which asyncio's `call_later` goes through.
#[cold]
fn call_overridden_call_at(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: &Arguments<'_>,
    when: Bound<'_, PyAny>,
) -> PyResult<Ref> {
    let rest = arguments.positional.iter().skip(1);
    // SAFETY: borrowed for the call.
    let rest = rest.map(|&argument| unsafe { Bound::from_borrowed_ptr(py, argument) });
    let positional = PyTuple::new(py, std::iter::once(when).chain(rest).collect::<Vec<_>>())?;
    let keywords = arguments.keywords(py)?;
    Ok(this.bind(py).call_method("call_at", positional, keywords.as_ref())?.into())
}

fn call_at(py: Python<'_>, this: LoopRef<'_>, arguments: Arguments<'_>) -> Result<Ref, Raised> {
    let (&[when, callback], rest) = split_timer(&arguments, "call_at")?;
    // SAFETY: borrowed for the call.
    let when = unsafe { Bound::from_borrowed_ptr(py, when) };
    if when.is_none() {
        return Err(PyTypeError::new_err("when cannot be None").into());
    }
    let context = check_call(py, this, &arguments, "call_at", callback)?;
    let seconds = when.extract::<f64>()?;
    let when = match when.cast_exact::<PyFloat>() {
        Ok(_) => When::Float(seconds),
        Err(_) => When::Object(when.into()),
    };
    schedule(py, this, (seconds, when), callback, rest, context)
}

/// What asyncio checks before it looks at the time, in its order; returns the context.
#[inline]
fn check_call(
    py: Python<'_>,
    this: LoopRef<'_>,
    arguments: &Arguments<'_>,
    method: &str,
    callback: *mut ffi::PyObject,
) -> PyResult<Option<Ref>> {
    let context = context_keyword(py, arguments, method)?;
    this.native.check_closed()?;
    if this.native.debug.get() {
        check_thread(py, this)?;
        check_callback(py, this, callback, method)?;
    }
    checked_context(py, context)
}

fn schedule(
    py: Python<'_>,
    this: LoopRef<'_>,
    (seconds, when): (f64, When),
    callback: *mut ffi::PyObject,
    rest: &[*mut ffi::PyObject],
    context: Option<Ref>,
) -> Result<Ref, Raised> {
    let deadline = Moment::from_seconds(seconds).map_err(|_| {
        PyValueError::new_err("Invalid deadline: NaN (not a number): give a number of seconds")
    })?;
    let timer = handle(py, this, callback, rest, context, HandleKind::Timer(when))?;
    let job = Job(timer.clone_ref(py));
    let key = this.native.engine().call_at(deadline, job);
    let key = key.map_err(no_memory)?;
    if let Some(timer) = HandleRef::of(&timer) {
        timer.set_timer(key);
    }
    Ok(timer)
}

impl Loop {
    /// `call_soon` for the binding's own use.
    pub(crate) fn schedule(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, Loop>,
        callback: &Bound<'_, PyAny>,
        arguments: &[Bound<'_, PyAny>],
        context: &Ref,
    ) -> PyResult<()> {
        self.check_closed()?;
        let arguments: Vec<_> = arguments.iter().map(Bound::as_ptr).collect();
        let context = context.clone_ref(py);
        let callback = callback.as_ptr();
        let handle =
            new_handle(py, owner.as_ptr(), callback, &arguments, context, HandleKind::Soon, true)?;
        let pushed = self.engine().call_soon(Job(handle));
        pushed.map_err(no_memory)
    }
}

/// A handle from elsewhere, asyncio's for instance, joins the queue.
fn add_callback(
    py: Python<'_>,
    this: LoopRef<'_>,
    handle: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    let name = hooks().names._cancelled.bind(py).cast::<PyString>()?;
    if handle.getattr(name)?.is_truthy()? {
        return Ok(());
    }
    Ok(push(this, Job(Ref::from(&*handle)))?)
}

fn add_callback_signalsafe(
    py: Python<'_>,
    this: LoopRef<'_>,
    handle: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    add_callback(py, this, handle)?;
    this.native.door.borrow().wake();
    Ok(())
}

/// asyncio's timers count the cancelled ones; ours are taken out at once.
fn timer_handle_cancelled(
    _py: Python<'_>,
    _this: LoopRef<'_>,
    _handle: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    Ok(())
}

#[inline(always)]
pub(super) fn push(this: LoopRef<'_>, job: Job) -> Result<(), Raised> {
    let pushed = this.native.engine().call_soon(job);
    match pushed {
        Ok(()) => Ok(()),
        Err(job) => Err(no_memory(job).into()),
    }
}

#[cold]
pub(super) fn no_memory<T>(_given_back: T) -> PyErr {
    PyMemoryError::new_err(())
}

/// The steps and wake-ups of C Tasks, which drop the handle unseen.
#[inline]
fn task_step(
    py: Python<'_>,
    callback: *mut ffi::PyObject,
    rest: &[*mut ffi::PyObject],
    context: &Ref,
) -> Option<TaskStep> {
    let argument = match rest {
        [] if hooks().is_task_step(callback) => None,
        [future] if hooks().is_task_wakeup(callback) => {
            // SAFETY: borrowed for the call.
            Some(unsafe { Ref::from_borrowed(*future) })
        }
        _ => return None,
    };
    // SAFETY: borrowed for the call.
    let target = unsafe { Ref::from_borrowed(callback) };
    Some(TaskStep { context: context.clone_ref(py), target, argument })
}

#[inline(always)]
pub(super) fn handle(
    py: Python<'_>,
    this: LoopRef<'_>,
    callback: *mut ffi::PyObject,
    rest: &[*mut ffi::PyObject],
    context: Option<Ref>,
    kind: HandleKind,
) -> Result<Ref, Raised> {
    let context = match context {
        Some(context) => context,
        None => copy_context(py)?,
    };
    let debug = this.native.debug.get();
    let known = debug || !this.native.is_running();
    let handle = new_handle(py, this.as_ptr(), callback, rest, context, kind, known)?;
    if debug {
        let stack: Ref = hooks().get(py, "extract_stack")?.call0()?.into();
        // SAFETY: a slot of the base of a handle made above.
        let old = unsafe {
            let place = slot(handle.as_ptr(), layout().traceback);
            let old = std::ptr::replace(place, stack.into_ptr());
            Ref::from_owned(py, old)?
        };
        drop(old);
    }
    Ok(handle)
}

/// The `context` keyword: `None` counts as not given; anything but a Context is refused here,
/// since it could only fail when the callback runs.
#[inline]
pub(super) fn given_context(
    py: Python<'_>,
    arguments: &Arguments<'_>,
    method: &str,
) -> PyResult<Option<Ref>> {
    checked_context(py, context_keyword(py, arguments, method)?)
}

/// The value of the `context` keyword as it was given; a TypeError if there are others.
#[inline]
fn context_keyword(
    py: Python<'_>,
    arguments: &Arguments<'_>,
    method: &str,
) -> PyResult<Option<*mut ffi::PyObject>> {
    if arguments.has_no_keywords() {
        return Ok(None);
    }
    arguments.only_context(py, method)
}

#[inline]
fn checked_context(py: Python<'_>, context: Option<*mut ffi::PyObject>) -> PyResult<Option<Ref>> {
    let Some(context) = context else { return Ok(None) };
    // SAFETY: borrowed for the call.
    let context = unsafe { Borrowed::from_ptr(py, context) };
    check_context(&context)?;
    Ok((!context.is_none()).then(|| Ref::from(&*context)))
}

/// Refuses what is neither a Context nor None.
#[inline]
pub(crate) fn check_context(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: a live object.
    if context.is_none() || unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } != 0 {
        return Ok(());
    }
    let given = context.get_type();
    let text = format!("context must be a contextvars.Context, not {}", given.name()?);
    Err(PyTypeError::new_err(text))
}

#[inline]
fn split<'a>(
    arguments: &Arguments<'a>,
    method: &str,
    needed: usize,
) -> PyResult<(&'a *mut ffi::PyObject, &'a [*mut ffi::PyObject])> {
    arguments.positional.split_first().ok_or_else(|| missing(method, needed))
}

fn split_timer<'a>(
    arguments: &Arguments<'a>,
    method: &str,
) -> PyResult<(&'a [*mut ffi::PyObject; 2], &'a [*mut ffi::PyObject])> {
    let missed = 2usize.saturating_sub(arguments.positional.len());
    arguments.positional.split_first_chunk::<2>().ok_or_else(|| missing(method, missed))
}

#[cold]
fn missing(method: &str, count: usize) -> PyErr {
    let plural = if count == 1 { "" } else { "s" };
    PyTypeError::new_err(format!("{method}() missing {count} required positional argument{plural}"))
}

pub(super) fn check_thread(py: Python<'_>, this: LoopRef<'_>) -> PyResult<()> {
    let name = hooks().names._check_thread.bind(py).cast::<PyString>()?;
    this.bind(py).call_method0(name).map(drop)
}

fn check_callback(
    py: Python<'_>,
    this: LoopRef<'_>,
    callback: *mut ffi::PyObject,
    method: &str,
) -> PyResult<()> {
    let name = hooks().names._check_callback.bind(py).cast::<PyString>()?;
    // SAFETY: borrowed for the call.
    let callback = unsafe { Bound::from_borrowed_ptr(py, callback) };
    this.bind(py).call_method1(name, (callback, method)).map(drop)
}
