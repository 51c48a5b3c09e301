//! The running loop, and what this module keeps about it.
//!
//! A loop that futures were spawned on has a [`LoopState`]: it knows the tasks, so that closing the
//! loop drops their futures. A timer that never comes owns it; whatever ends the loop drops that.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::null_mut;
use std::rc::{Rc, Weak};
use std::sync;
use std::time::Duration;

use oxloop_abi::Call;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::api::{api, checked, pointer};
use crate::awaitable::RustAwaitable;
use crate::glue::{call_of, take_back};
use crate::home::Home;
use crate::remote::Remote;
use crate::task::{Start, Task};

/// The event loop that runs in this thread, for as long as the thread is attached.
#[derive(Clone)]
pub struct RunningLoop<'py> {
    object: Bound<'py, PyAny>,
    state: Rc<LoopState>,
}

impl<'py> RunningLoop<'py> {
    /// The running loop.
    ///
    /// # Errors
    /// RuntimeError if none is running in this thread, TypeError if it is not oxloop's, ImportError
    /// if this module and the installed oxloop do not fit.
    pub fn current(py: Python<'py>) -> PyResult<RunningLoop<'py>> {
        // SAFETY: attached; a new reference or null with an exception.
        let object = unsafe {
            let object = (api(py)?.running_loop)();
            Bound::from_owned_ptr_or_err(py, object.cast())?
        };
        let state = LoopState::of(&object)?;
        Ok(RunningLoop { object, state })
    }

    /// Runs `future` beside everything else, from the next turn on; what is returned can be awaited,
    /// by any number of tasks. The future runs whether or not that is kept.
    ///
    /// A task that awaits and is cancelled drops the future at the point where it waits; so do
    /// `cancel()` of what is returned, and closing the loop. A panic is a RuntimeError. An exception
    /// that nobody has awaited goes to the loop's exception handler.
    ///
    /// The future is polled in a copy of the current `contextvars` context, and in this thread only:
    /// elsewhere it fails with a RuntimeError.
    ///
    /// # Errors
    /// RuntimeError if the loop is closed, MemoryError.
    pub fn spawn<F, T>(&self, future: F) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output = PyResult<T>> + 'static,
        T: for<'a> IntoPyObject<'a> + 'static,
    {
        self.make(future, Start::Queued)
    }

    /// As [`RunningLoop::spawn`], but nothing happens before somebody awaits: then the future is
    /// polled inside of that await, so one that is ready costs no turn of the loop. What is returned
    /// passes for a coroutine, also with `loop.create_task()`. Dropping it drops the future.
    ///
    /// # Errors
    /// As [`RunningLoop::spawn`].
    pub fn defer<F, T>(&self, future: F) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output = PyResult<T>> + 'static,
        T: for<'a> IntoPyObject<'a> + 'static,
    {
        self.make(future, Start::Awaited)
    }

    fn make<F, T>(&self, future: F, start: Start) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output = PyResult<T>> + 'static,
        T: for<'a> IntoPyObject<'a> + 'static,
    {
        let py = self.py();
        let task = Task::new(py, &self.state, future, start)?;
        Ok(Bound::new(py, RustAwaitable::new(task))?.into_any())
    }

    /// Calls `callback` in the next turn. Its error or panic goes to the loop's exception handler.
    ///
    /// # Errors
    /// RuntimeError if the loop is closed, MemoryError.
    pub fn call_soon<F>(&self, callback: F) -> PyResult<()>
    where
        F: FnOnce(Python<'_>) -> PyResult<()> + 'static,
    {
        self.push(at_home(callback))
    }

    pub(crate) fn push(&self, call: Call) -> PyResult<()> {
        let py = self.py();
        // SAFETY: attached, in the loop's thread, with a live loop.
        let status = unsafe { (api(py)?.call_soon)(pointer(&self.object), call, null_mut()) };
        checked(py, status).map(drop).inspect_err(|_| take_back(call))
    }

    /// Calls `callback` when `delay` has passed. Dropping the timer does not cancel it.
    ///
    /// # Errors
    /// As [`RunningLoop::call_soon`].
    pub fn call_later<F>(&self, delay: Duration, callback: F) -> PyResult<Timer>
    where
        F: FnOnce(Python<'_>) -> PyResult<()> + 'static,
    {
        let name = self.schedule(delay.as_secs_f64(), at_home(callback))?;
        Ok(Timer { state: self.state.clone(), name })
    }

    pub(crate) fn schedule(&self, seconds: f64, call: Call) -> PyResult<u64> {
        schedule(&self.object, seconds, call)
    }

    /// The loop for other threads.
    pub fn remote(&self) -> Remote {
        self.state.shared.remote.clone()
    }

    pub(crate) fn shared(&self) -> sync::Arc<LoopShared> {
        self.state.shared.clone()
    }

    /// The Python object: for `create_server`, `create_connection` and the rest.
    pub fn as_any(&self) -> &Bound<'py, PyAny> {
        &self.object
    }

    /// The token of the attached thread.
    pub fn py(&self) -> Python<'py> {
        self.object.py()
    }
}

impl fmt::Debug for RunningLoop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunningLoop").field(&self.object).finish()
    }
}

/// A closure of this thread as a call, which may be dropped by another.
fn at_home<F>(callback: F) -> Call
where
    F: FnOnce(Python<'_>) -> PyResult<()> + 'static,
{
    let callback = Home::new(callback);
    call_of(move |py| match callback.into_inner() {
        Some(callback) => callback(py),
        None => Err(wrong_thread()),
    })
}

#[cold]
pub(crate) fn wrong_thread() -> PyErr {
    let text = "the event loop runs in another thread than the one that scheduled this Rust code";
    pyo3::exceptions::PyRuntimeError::new_err(text)
}

fn schedule(event_loop: &Bound<'_, PyAny>, seconds: f64, call: Call) -> PyResult<u64> {
    let (py, mut name) = (event_loop.py(), 0);
    // SAFETY: attached, in the loop's thread, with a live loop and a place for the name.
    let status =
        unsafe { (api(py)?.call_later)(pointer(event_loop), seconds, call, null_mut(), &mut name) };
    checked(py, status).inspect_err(|_| take_back(call))?;
    Ok(name)
}

/// A scheduled call.
pub struct Timer {
    state: Rc<LoopState>,
    name: u64,
}

impl Timer {
    /// Drops the callback. False if it has run or was cancelled, or the loop is gone.
    pub fn cancel(&self, py: Python<'_>) -> bool {
        self.state.shared.cancel_timer(py, self.name)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is known of a loop in every thread.
#[derive(Debug)]
pub(crate) struct LoopShared {
    pub(crate) remote: Remote,
    /// Weak: what waits on the loop does not keep it.
    object: Py<PyWeakrefReference>,
}

impl LoopShared {
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.object.bind(py).upgrade()
    }

    pub(crate) fn cancel_timer(&self, py: Python<'_>, name: u64) -> bool {
        let (Some(event_loop), Ok(api)) = (self.object(py), api(py)) else { return false };
        // SAFETY: attached, with a live loop.
        unsafe { (api.cancel_timer)(pointer(&event_loop), name) > 0 }
    }
}

/// What is known of a loop in its thread.
pub(crate) struct LoopState {
    pub(crate) shared: sync::Arc<LoopShared>,
    tasks: RefCell<Tasks>,
    closed: Cell<bool>,
}

/// Tasks by their places.
#[derive(Default)]
struct Tasks {
    places: Vec<Option<sync::Weak<Task>>>,
    vacant: Vec<usize>,
}

thread_local! {
    /// The loops of this thread that futures were spawned on, by the addresses of their objects.
    static LOOPS: RefCell<Vec<(usize, Weak<LoopState>)>> = const { RefCell::new(Vec::new()) };
}

impl LoopState {
    fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Rc<LoopState>> {
        let address = event_loop.as_ptr() as usize;
        let known = LOOPS.with_borrow(|loops| {
            loops.iter().find(|known| known.0 == address).and_then(|known| known.1.upgrade())
        });
        match known {
            Some(state) if !state.is_closed() => Ok(state),
            Some(state) => {
                // Closed by another thread, or another loop at the same address.
                state.close();
                LoopState::make(event_loop)
            }
            None => LoopState::make(event_loop),
        }
    }

    #[cold]
    fn make(event_loop: &Bound<'_, PyAny>) -> PyResult<Rc<LoopState>> {
        let remote = Remote::of(event_loop)?;
        let object = PyWeakrefReference::new(event_loop)?.unbind();
        let shared = sync::Arc::new(LoopShared { remote, object });
        let state =
            Rc::new(LoopState { shared, tasks: RefCell::default(), closed: Cell::new(false) });
        let owned = Owner(Home::new(state.clone()));
        schedule(
            event_loop,
            f64::INFINITY,
            call_of(move |_| {
                drop(owned);
                Ok(())
            }),
        )?;
        let address = event_loop.as_ptr() as usize;
        LOOPS.with_borrow_mut(|loops| {
            loops.retain(|known| known.0 != address && known.1.strong_count() > 0);
            loops.push((address, Rc::downgrade(&state)));
        });
        Ok(state)
    }

    fn is_closed(&self) -> bool {
        self.closed.get() || self.shared.remote.is_closed()
    }

    /// Gives a task a place.
    pub(crate) fn insert(&self, task: sync::Weak<Task>) -> usize {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(place) = tasks.vacant.pop() {
            tasks.places[place] = Some(task);
            return place;
        }
        tasks.places.push(Some(task));
        tasks.places.len() - 1
    }

    pub(crate) fn remove(&self, place: usize) {
        let mut tasks = self.tasks.borrow_mut();
        let removed = tasks.places.get_mut(place).and_then(Option::take);
        if removed.is_some() {
            tasks.vacant.push(place);
        }
    }

    /// The loop is gone: so are the futures.
    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let tasks = self.tasks.take();
        for task in tasks.places.into_iter().flatten() {
            if let Some(task) = task.upgrade() {
                task.loop_closed();
            }
        }
    }
}

/// Dropped with the loop.
struct Owner(Home<Rc<LoopState>>);

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(state) = self.0.get() {
            state.close();
        }
    }
}
