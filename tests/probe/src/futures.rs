//! Futures and callbacks of every kind.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use oxloop_extension::{Remote, RunningLoop, Timer, into_future, sleep};
use pyo3::prelude::*;

use crate::Counted;

type Awaitable<'py> = PyResult<Bound<'py, PyAny>>;

#[pyfunction]
pub(crate) fn spawn_value(py: Python<'_>, value: Py<PyAny>) -> Awaitable<'_> {
    let counted = Counted::new();
    RunningLoop::current(py)?.spawn(async move {
        drop(counted);
        Ok(value)
    })
}

#[pyfunction]
pub(crate) fn spawn_nothing(py: Python<'_>) -> Awaitable<'_> {
    RunningLoop::current(py)?.spawn(async { Ok(()) })
}

/// Notes in `log` that it was polled.
#[pyfunction]
pub(crate) fn defer_value<'py>(
    py: Python<'py>,
    log: Py<PyAny>,
    value: Py<PyAny>,
    turns: usize,
) -> Awaitable<'py> {
    let counted = Counted::new();
    RunningLoop::current(py)?.defer(async move {
        let counted = counted;
        Python::attach(|py| log.call_method1(py, "append", ("polled",)))?;
        for _ in 0..turns {
            yield_now().await;
        }
        drop(counted);
        Ok(value)
    })
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[pyfunction]
pub(crate) fn slept(py: Python<'_>, seconds: f64, value: Py<PyAny>) -> Awaitable<'_> {
    let counted = Counted::new();
    RunningLoop::current(py)?.spawn(async move {
        let counted = counted;
        sleep(Duration::from_secs_f64(seconds)).await?;
        drop(counted);
        Ok(value)
    })
}

#[pyfunction]
pub(crate) fn never(py: Python<'_>, deferred: bool) -> Awaitable<'_> {
    let counted = Counted::new();
    let future = async move {
        let counted = counted;
        pending::<()>().await;
        drop(counted);
        Ok(())
    };
    let event_loop = RunningLoop::current(py)?;
    if deferred { event_loop.defer(future) } else { event_loop.spawn(future) }
}

#[pyfunction]
pub(crate) fn fail<'py>(py: Python<'py>, error: Bound<'py, PyAny>) -> Awaitable<'py> {
    let error = PyErr::from_value(error);
    RunningLoop::current(py)?.spawn::<_, ()>(async move { Err(error) })
}

/// Panics in its first poll, or when it has waited.
#[pyfunction]
pub(crate) fn panics(py: Python<'_>, waits: bool, deferred: bool) -> Awaitable<'_> {
    let counted = Counted::new();
    let future = async move {
        let counted = counted;
        if waits {
            yield_now().await;
        }
        panic_now();
        drop(counted);
        Ok(())
    };
    let event_loop = RunningLoop::current(py)?;
    if deferred { event_loop.defer(future) } else { event_loop.spawn(future) }
}

#[expect(clippy::panic, reason = "what the tests are about")]
pub(crate) fn panic_now() {
    panic!("on purpose")
}

struct PanicsInDrop(Counted);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic_now();
    }
}

/// Its future panics when it is dropped.
#[pyfunction]
pub(crate) fn panic_in_drop(py: Python<'_>) -> Awaitable<'_> {
    let bad = PanicsInDrop(Counted::new());
    RunningLoop::current(py)?.spawn(async move {
        let bad = bad;
        pending::<()>().await;
        drop(bad);
        Ok(())
    })
}

struct Told(Py<PyAny>, Counted);

impl Drop for Told {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.0.call_method1(py, "append", ("dropped",)) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Waits for ever; notes in `log` when the future is dropped.
#[pyfunction]
pub(crate) fn guarded(py: Python<'_>, log: Py<PyAny>) -> Awaitable<'_> {
    let told = Told(log, Counted::new());
    RunningLoop::current(py)?.spawn(async move {
        let told = told;
        sleep(Duration::from_secs(3600)).await?;
        drop(told);
        Ok(())
    })
}

#[pyfunction]
pub(crate) fn await_python<'py>(py: Python<'py>, awaitable: Bound<'py, PyAny>) -> Awaitable<'py> {
    let (awaited, counted) = (into_future(&awaitable)?, Counted::new());
    RunningLoop::current(py)?.spawn(async move {
        let counted = counted;
        let result = awaited.await;
        drop(counted);
        result
    })
}

/// Calls an async function twice, one after the other, and returns both results.
#[pyfunction]
pub(crate) fn await_twice(py: Python<'_>, function: Py<PyAny>) -> Awaitable<'_> {
    RunningLoop::current(py)?.spawn(async move {
        let call = |number| Python::attach(|py| into_future(&function.bind(py).call1((number,))?));
        let first = call(1)?.await?;
        let second = call(2)?.await?;
        Ok((first, second))
    })
}

/// Two futures that share what is not `Send`: one counts, the other is woken and reads.
#[pyfunction]
pub(crate) fn join_in_rust(py: Python<'_>, count: usize) -> Awaitable<'_> {
    let event_loop = RunningLoop::current(py)?;
    let counter = Rc::new(Cell::new(0));
    let reader = Rc::new(RefCell::new(None::<Waker>));
    let (counting, waking) = (counter.clone(), reader.clone());
    event_loop.spawn(async move {
        for _ in 0..count {
            counting.set(counting.get() + 1);
            let waker = waking.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
            yield_now().await;
        }
        Ok(())
    })?;
    event_loop.spawn(async move {
        poll_fn(|cx| {
            if counter.get() == count {
                return Poll::Ready(());
            }
            reader.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        Ok(counter.get())
    })
}

/// Is woken so often by another thread, which does not wait for the interpreter.
#[pyfunction]
pub(crate) fn woken_by_thread(py: Python<'_>, count: usize) -> Awaitable<'_> {
    let counted = Counted::new();
    RunningLoop::current(py)?.spawn(async move {
        let counted = counted;
        let (asked, told) = std::sync::mpsc::channel::<Waker>();
        let woken = Arc::new(AtomicUsize::new(0));
        let waking = woken.clone();
        let thread = std::thread::spawn(move || {
            for waker in told {
                waking.fetch_add(1, Ordering::SeqCst);
                waker.wake();
            }
        });
        for turn in 1..=count {
            let mut sent = false;
            poll_fn(|cx| {
                if woken.load(Ordering::SeqCst) >= turn {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    let _ = asked.send(cx.waker().clone());
                }
                Poll::Pending
            })
            .await;
        }
        drop((asked, counted));
        let _ = thread.join();
        Ok(woken.load(Ordering::SeqCst))
    })
}

#[pyfunction]
pub(crate) fn context_value(py: Python<'_>, variable: Py<PyAny>, deferred: bool) -> Awaitable<'_> {
    let future = async move {
        yield_now().await;
        Python::attach(|py| variable.call_method0(py, "get"))
    };
    let event_loop = RunningLoop::current(py)?;
    if deferred { event_loop.defer(future) } else { event_loop.spawn(future) }
}

/// Futures that wait until somebody wakes them, and their wakers.
#[pyclass(frozen)]
#[derive(Default)]
pub(crate) struct Parking {
    wakers: Arc<Mutex<Vec<Waker>>>,
    open: Arc<AtomicUsize>,
}

#[pymethods]
impl Parking {
    #[new]
    fn new() -> Parking {
        Parking::default()
    }

    /// Waits for `wake`.
    fn wait<'py>(&self, py: Python<'py>) -> Awaitable<'py> {
        let (wakers, open, counted) = (self.wakers.clone(), self.open.clone(), Counted::new());
        RunningLoop::current(py)?.spawn(async move {
            let counted = counted;
            poll_fn(|cx| {
                if open.load(Ordering::SeqCst) > 0 {
                    return Poll::Ready(());
                }
                lock(&wakers).push(cx.waker().clone());
                Poll::Pending
            })
            .await;
            drop(counted);
            Ok("woken")
        })
    }

    /// Wakes all, in this thread or in another one that is not attached.
    fn wake(&self, py: Python<'_>, elsewhere: bool) {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.take(py, elsewhere, Waker::wake);
    }

    /// Drops all wakers instead.
    fn forget(&self, py: Python<'_>, elsewhere: bool) {
        self.take(py, elsewhere, drop);
    }

    fn __len__(&self) -> usize {
        lock(&self.wakers).len()
    }
}

impl Parking {
    fn take(&self, py: Python<'_>, elsewhere: bool, end: fn(Waker)) {
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        if elsewhere {
            py.detach(|| {
                let thread = std::thread::spawn(move || wakers.into_iter().for_each(end));
                let _ = thread.join();
            });
        } else {
            wakers.into_iter().for_each(end);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pyfunction]
pub(crate) fn call_soon(py: Python<'_>, callback: Py<PyAny>, panics: bool) -> PyResult<()> {
    let (counted, local) = (Counted::new(), Rc::new(()));
    RunningLoop::current(py)?.call_soon(move |py| {
        drop((counted, local));
        if panics {
            panic_now();
        }
        callback.call0(py).map(drop)
    })
}

/// A timer; `cancel()` says whether it was in time.
#[pyclass(unsendable)]
pub(crate) struct Alarm(Timer);

#[pymethods]
impl Alarm {
    fn cancel(&self, py: Python<'_>) -> bool {
        self.0.cancel(py)
    }
}

#[pyfunction]
pub(crate) fn call_later(py: Python<'_>, seconds: f64, callback: Py<PyAny>) -> PyResult<Alarm> {
    let counted = Counted::new();
    let delay = Duration::from_secs_f64(seconds);
    let timer = RunningLoop::current(py)?.call_later(delay, move |py| {
        drop(counted);
        callback.call0(py).map(drop)
    })?;
    Ok(Alarm(timer))
}

/// The loop for other threads.
#[pyclass(frozen)]
pub(crate) struct Posts(Remote);

#[pymethods]
impl Posts {
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Has `callback(number)` called so often, by a thread that is not attached. How many were taken.
    fn post(&self, py: Python<'_>, callback: Py<PyAny>, count: usize) -> usize {
        let remote = self.0.clone();
        let callbacks: Vec<_> = (0..count).map(|_| callback.clone_ref(py)).collect();
        py.detach(|| {
            let thread = std::thread::spawn(move || {
                let mut taken = 0;
                for (number, callback) in callbacks.into_iter().enumerate() {
                    let counted = Counted::new();
                    let call = move |py: Python<'_>| {
                        drop(counted);
                        callback.call1(py, (number,)).map(drop)
                    };
                    taken += usize::from(remote.call_soon_threadsafe(call).is_ok());
                }
                taken
            });
            thread.join().unwrap_or(0)
        })
    }
}

#[pyfunction]
pub(crate) fn posts(py: Python<'_>) -> PyResult<Posts> {
    Ok(Posts(RunningLoop::current(py)?.remote()))
}
