//! Awaiting in Rust what Python could await.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::RunningLoop;

/// A future of what `awaitable` results in: a coroutine, which begins in a task of its own in the next
/// turn, a future or task, or whatever has `__await__`. Dropping it before it is done cancels it.
///
/// ```no_run
/// use oxloop_extension::{RunningLoop, into_future};
/// use pyo3::prelude::*;
///
/// /// Calls an async function of Python's, twice.
/// #[pyfunction]
/// fn twice<'py>(py: Python<'py>, function: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
///     RunningLoop::current(py)?.spawn(async move {
///         for _ in 0..2 {
///             let call = Python::attach(|py| into_future(&function.bind(py).call0()?))?;
///             call.await?;
///         }
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
/// TypeError if it cannot be awaited; as [`RunningLoop::current`].
pub fn into_future(awaitable: &Bound<'_, PyAny>) -> PyResult<PythonFuture> {
    let py = awaitable.py();
    let event_loop = RunningLoop::current(py)?;
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "loop"), event_loop.as_any())?;
    let ensure = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "ensure_future"))?;
    let future = ensure.call((awaitable,), Some(&keywords))?;
    Ok(PythonFuture { future: future.unbind(), bell: None, finished: false })
}

/// See [`into_future`].
pub struct PythonFuture {
    future: Py<PyAny>,
    /// From the first poll on that finds it pending.
    bell: Option<Arc<Bell>>,
    finished: bool,
}

/// What the asyncio future rings when it is done.
#[derive(Default)]
struct Bell(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callback of the asyncio future.
#[pyclass(frozen, module = "oxloop", name = "RustWaker")]
struct Clapper(Arc<Bell>);

#[pymethods]
impl Clapper {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        let waker = {
            let mut ring = self.0.lock();
            ring.rung = true;
            ring.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl PythonFuture {
    fn look(&mut self, py: Python<'_>, cx: &Context<'_>) -> PyResult<Option<Py<PyAny>>> {
        let future = self.future.bind(py);
        let done = match &self.bell {
            Some(bell) => {
                let mut ring = bell.lock();
                if !ring.rung {
                    ring.waker = Some(cx.waker().clone());
                }
                ring.rung
            }
            None => future.call_method0(intern!(py, "done"))?.is_truthy()?,
        };
        if done {
            self.finished = true;
            return future.call_method0(intern!(py, "result")).map(|it| Some(it.unbind()));
        }
        if self.bell.is_none() {
            let bell = Arc::new(Bell::default());
            bell.lock().waker = Some(cx.waker().clone());
            let clapper = Bound::new(py, Clapper(bell.clone()))?;
            future.call_method1(intern!(py, "add_done_callback"), (clapper,))?;
            self.bell = Some(bell);
        }
        Ok(None)
    }
}

impl Future for PythonFuture {
    type Output = PyResult<Py<PyAny>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.finished {
            let text = "a Python awaitable was polled after its end";
            return Poll::Ready(Err(PyRuntimeError::new_err(text)));
        }
        match Python::attach(|py| self.look(py, cx)) {
            Ok(None) => Poll::Pending,
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Err(error) => {
                self.finished = true;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl Drop for PythonFuture {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // Nothing to cancel when the interpreter is going away.
        Python::try_attach(|py| {
            if let Err(error) = self.future.bind(py).call_method0(intern!(py, "cancel")) {
                error.write_unraisable(py, None);
            }
        });
    }
}

impl fmt::Debug for PythonFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonFuture").field("finished", &self.finished).finish_non_exhaustive()
    }
}
