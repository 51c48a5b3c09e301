//! A future on the loop: its steps, its wakers and its end.
//!
//! A task belongs to what Python awaits, to its wakers and to its queued step; without any of them
//! nobody can wake it, and it goes. The future is touched by the loop's thread alone ([`Home`]); the
//! outcome is Python's, so it is touched by attached threads. Invariant: the future is in its place
//! unless it is being polled, and gone for good once there is an outcome.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use oxloop_abi::Call;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{IntoPyObjectExt, intern};

use crate::event_loop::{LoopShared, LoopState, wrong_thread};
use crate::guard::{caught, drop_quietly, entry};
use crate::home::Home;

type Body = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>>>>;

/// When a future is polled first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// In the next turn.
    Queued,
    /// When it is awaited.
    Awaited,
}

pub(crate) struct Task {
    shared: Arc<LoopShared>,
    /// A step is queued, or running and to be repeated.
    queued: AtomicBool,
    /// It has failed, because the loop runs in another thread, which could not drop the future.
    stranded: AtomicBool,
    /// There until the task ends.
    local: Option<Home<Local>>,
    state: Mutex<State>,
}

/// The part of the loop's thread. Empty when there is an outcome.
struct Local {
    body: RefCell<Option<Body>>,
    /// What the steps run in; the first one inside an await runs in the awaiting task's.
    context: RefCell<Option<Py<PyAny>>>,
    /// The task's place with its loop.
    place: RefCell<Option<(Rc<LoopState>, usize)>>,
    /// Cancelled while it was being polled.
    cancelled: Cell<bool>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    /// asyncio futures of those who await.
    waiters: Vec<Py<PyAny>>,
    started: bool,
    /// Somebody has seen the exception.
    seen: bool,
    /// What Python awaits is gone.
    orphan: bool,
}

enum Outcome {
    Done(Py<PyAny>),
    Failed(Py<PyBaseException>),
    Cancelled,
}

impl Outcome {
    fn of(py: Python<'_>, result: PyResult<Py<PyAny>>) -> Outcome {
        match result {
            Ok(value) => Outcome::Done(value),
            Err(error) => Outcome::Failed(error.into_value(py)),
        }
    }
}

/// What one who awaits gets.
pub(crate) enum Answer<'py> {
    Result(PyResult<Bound<'py, PyAny>>),
    /// An asyncio future that is done when there is a result.
    Wait(Bound<'py, PyAny>),
}

impl Task {
    pub(crate) fn new<F, T>(
        py: Python<'_>,
        owner: &Rc<LoopState>,
        future: F,
        start: Start,
    ) -> PyResult<Arc<Task>>
    where
        F: Future<Output = PyResult<T>> + 'static,
        T: for<'a> IntoPyObject<'a> + 'static,
    {
        let body: Body = Box::pin(async move {
            let value = future.await?;
            Python::attach(|py| into_object(py, value))
        });
        let queued = start == Start::Queued;
        let context = if queued { Some(copy_context(py)?) } else { None };
        let local = Local {
            body: RefCell::new(Some(body)),
            context: RefCell::new(context),
            place: RefCell::new(None),
            cancelled: Cell::new(false),
        };
        let task = Arc::new(Task {
            shared: owner.shared.clone(),
            queued: AtomicBool::new(queued),
            stranded: AtomicBool::new(false),
            local: Some(Home::new(local)),
            state: Mutex::new(State { started: queued, ..State::default() }),
        });
        let place = owner.insert(Arc::downgrade(&task));
        if let Some(local) = task.local() {
            local.place.replace(Some((owner.clone(), place)));
        }
        if queued && !task.post() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        Ok(task)
    }

    /// Queues a step. False if the loop is closed.
    fn post(self: &Arc<Self>) -> bool {
        let data = Arc::into_raw(self.clone()).cast_mut();
        let call = Call { run: step, drop: give_up, data: data.cast() };
        // SAFETY: a task may be referred to by any thread; its future stays at home.
        match unsafe { self.shared.remote.post(call) } {
            Ok(()) => true,
            Err(call) => {
                // SAFETY: still ours. `self` is another reference: nothing ends here.
                drop(unsafe { Arc::from_raw(call.data.cast::<Task>()) });
                false
            }
        }
    }

    /// The result, or what to wait for.
    pub(crate) fn answer<'py>(self: &Arc<Self>, py: Python<'py>) -> PyResult<Answer<'py>> {
        if !std::mem::replace(&mut self.state().started, true) {
            // The waker is to queue a step from here on.
            self.queued.store(true, Ordering::Relaxed);
            self.step(py)?;
            if let Some(local) = self.local()
                && !self.is_done()
            {
                local.context.replace(Some(copy_context(py)?));
            }
        }
        if let Some(result) = self.result(py) {
            return Ok(Answer::Result(result));
        }
        let Some(event_loop) = self.shared.object(py) else {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        };
        let waiter = event_loop.call_method0(intern!(py, "create_future"))?;
        waiter.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        self.state().waiters.push(waiter.clone().unbind());
        Ok(Answer::Wait(waiter))
    }

    /// The result, if there is one.
    fn result<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, PyAny>>> {
        let mut state = self.state();
        state.seen |= state.outcome.is_some();
        Some(match state.outcome.as_ref()? {
            Outcome::Done(value) => Ok(value.bind(py).clone()),
            Outcome::Failed(error) => Err(PyErr::from_value(error.bind(py).clone().into_any())),
            Outcome::Cancelled => Err(CancelledError::new_err(())),
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state().outcome.is_some()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.state().outcome, Some(Outcome::Cancelled))
    }

    /// Drops the future. False if it is done.
    pub(crate) fn cancel(self: &Arc<Self>, py: Python<'_>) -> PyResult<bool> {
        if self.is_done() {
            return Ok(false);
        }
        match self.local() {
            None => self.cancel_at_home(),
            Some(local) => {
                let body = local.body.try_borrow_mut().ok().and_then(|mut body| body.take());
                match body {
                    Some(body) => {
                        drop_quietly(body);
                        self.finish(py, Outcome::Cancelled)?;
                    }
                    None => local.cancelled.set(true),
                }
            }
        }
        Ok(true)
    }

    /// Called in another thread than the loop's.
    fn cancel_at_home(self: &Arc<Self>) {
        let task = self.clone();
        // The loop is gone if it cannot: it has taken the future along.
        let _ = self.shared.remote.call_soon_threadsafe(move |py| task.cancel(py).map(drop));
    }

    /// Polls the future once.
    fn step(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        // From here on a waker queues another step.
        self.queued.swap(false, Ordering::AcqRel);
        let Some(local) = self.local() else {
            self.stranded.store(true, Ordering::Relaxed);
            return self.finish(py, Outcome::of(py, Err(wrong_thread())));
        };
        let Some(mut body) = local.body.borrow_mut().take() else { return Ok(()) };
        let waker = Waker::from(self.clone());
        let context = local.context.borrow().as_ref().map(|context| context.clone_ref(py));
        let polled = in_context(py, context.as_ref(), || {
            caught(|| body.as_mut().poll(&mut Context::from_waker(&waker)))
        });
        let result = match polled {
            Ok(Ok(Poll::Pending)) => {
                if !local.cancelled.get() && self.state().outcome.is_none() {
                    local.body.replace(Some(body));
                    return Ok(());
                }
                drop_quietly(body);
                return self.finish(py, Outcome::Cancelled);
            }
            Ok(Ok(Poll::Ready(result))) => result,
            Ok(Err(error)) | Err(error) => Err(error),
        };
        drop_quietly(body);
        self.finish(py, Outcome::of(py, result))
    }

    /// Sets the outcome, and wakes those who await.
    fn finish(self: &Arc<Self>, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        if let Some(local) = self.local() {
            local.leave();
        }
        let cancelled = matches!(outcome, Outcome::Cancelled);
        let waiters = {
            let mut state = self.state();
            if state.outcome.is_some() {
                return Ok(());
            }
            state.outcome = Some(outcome);
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            wake(waiter.bind(py), cancelled)?;
        }
        if self.state().orphan { self.report_unseen(py) } else { Ok(()) }
    }

    /// The loop is closed: the future goes, and nobody is told.
    pub(crate) fn loop_closed(self: &Arc<Self>) {
        let Some(local) = self.local() else { return };
        local.leave();
        let body = local.body.try_borrow_mut().ok().and_then(|mut body| body.take());
        if let Some(body) = body {
            drop_quietly(body);
            let waiters = {
                let mut state = self.state();
                state.outcome.get_or_insert(Outcome::Cancelled);
                std::mem::take(&mut state.waiters)
            };
            drop(waiters);
        }
    }

    /// What Python awaits is gone. Nobody will begin a future that waits to be awaited.
    pub(crate) fn abandoned(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let started = {
            let mut state = self.state();
            state.orphan = true;
            state.started
        };
        if started { self.report_unseen(py) } else { self.cancel(py).map(drop) }
    }

    /// An exception that nobody has awaited goes to the exception handler.
    fn report_unseen(&self, py: Python<'_>) -> PyResult<()> {
        let error = {
            let mut state = self.state();
            match &state.outcome {
                Some(Outcome::Failed(error)) if !state.seen => {
                    let error = error.clone_ref(py);
                    state.seen = true;
                    error
                }
                _ => return Ok(()),
            }
        };
        let Some(event_loop) = self.shared.object(py) else { return Ok(()) };
        let context = PyDict::new(py);
        context.set_item("message", "exception of a Rust future was never retrieved")?;
        context.set_item("exception", error)?;
        event_loop.call_method1(intern!(py, "call_exception_handler"), (context,)).map(drop)
    }

    /// What the collector may see. `None`: somebody is looking at it.
    pub(crate) fn visit<E>(
        &self,
        mut each: impl FnMut(&Py<PyAny>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        state.waiters.iter().try_for_each(&mut each)?;
        match &state.outcome {
            Some(Outcome::Done(value)) => each(value.as_any()),
            Some(Outcome::Failed(error)) => each(error.as_any()),
            _ => Ok(()),
        }
    }

    /// Drops what the collector has seen.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        let waiters = std::mem::take(&mut state.waiters);
        let outcome = state.outcome.as_mut().map(|it| std::mem::replace(it, Outcome::Cancelled));
        drop(state);
        drop((waiters, outcome));
    }

    #[inline]
    fn local(&self) -> Option<&Local> {
        self.local.as_ref()?.get()
    }

    /// Not held while Python runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.post();
        }
    }
}

impl Drop for Task {
    /// The last one to know the task may be another thread: the future goes home to end there.
    fn drop(&mut self) {
        let Some(local) = self.local.take() else { return };
        if local.is_here() || (self.is_done() && !*self.stranded.get_mut()) {
            return end(local);
        }
        // A closed loop has taken the future along.
        let _ = self.shared.remote.call_soon_threadsafe(move |_| {
            end(local);
            Ok(())
        });
    }
}

/// The end of a future that nobody can wake any more.
fn end(local: Home<Local>) {
    if let Some(local) = local.into_inner() {
        local.leave();
        drop_quietly(local);
    }
}

impl Local {
    /// Gives up what is the loop's.
    fn leave(&self) {
        if let Some((owner, place)) = self.place.take() {
            owner.remove(place);
        }
        self.context.take();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("done", &self.is_done()).finish_non_exhaustive()
    }
}

unsafe extern "C" fn step(data: *mut c_void) -> c_int {
    entry(|py| {
        // SAFETY: a reference from `post`, run or dropped once.
        let task = unsafe { Arc::from_raw(data.cast::<Task>()) };
        task.step(py).map(|()| 0)
    })
}

unsafe extern "C" fn give_up(data: *mut c_void) {
    // SAFETY: a reference from `post`, run or dropped once.
    drop_quietly(unsafe { Arc::from_raw(data.cast::<Task>()) });
}

/// Ends a wait; who was cancelled meanwhile has ended his himself.
fn wake(waiter: &Bound<'_, PyAny>, cancelled: bool) -> PyResult<()> {
    let py = waiter.py();
    if waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    if cancelled {
        waiter.call_method0(intern!(py, "cancel")).map(drop)
    } else {
        waiter.call_method1(intern!(py, "set_result"), (py.None(),)).map(drop)
    }
}

fn into_object<T>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>>
where
    T: for<'a> IntoPyObject<'a> + 'static,
{
    // A function that returns nothing returns None, and not an empty tuple.
    if TypeId::of::<T>() == TypeId::of::<()>() {
        return Ok(py.None());
    }
    value.into_py_any(py)
}

fn copy_context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached; a new reference or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }.map(Bound::unbind)
}

/// Runs `body` in a context, as `Context.run` does.
fn in_context<T>(
    py: Python<'_>,
    context: Option<&Py<PyAny>>,
    body: impl FnOnce() -> T,
) -> PyResult<T> {
    let Some(context) = context else { return Ok(body()) };
    // SAFETY: a context, alive for the call.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    let result = body();
    // SAFETY: as above.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(result)
}
