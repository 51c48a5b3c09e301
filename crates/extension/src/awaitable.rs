//! What Python awaits: an awaitable, its own iterator, that passes for a coroutine too.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::task::{Answer, Task};

/// A Rust future on the event loop. Await it; cancelling who awaits cancels it.
#[pyclass(frozen, module = "oxloop", name = "RustFuture", weakref)]
#[derive(Debug)]
pub(crate) struct RustAwaitable {
    task: Arc<Task>,
}

impl RustAwaitable {
    pub(crate) fn new(task: Arc<Task>) -> RustAwaitable {
        RustAwaitable { task }
    }

    fn go_on<'py>(&self, py: Python<'py>) -> PyResult<Answer<'py>> {
        self.task.answer(py)
    }
}

#[pymethods]
impl RustAwaitable {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.go_on(py)? {
            Answer::Wait(waiter) => Ok(Some(waiter)),
            Answer::Result(Ok(value)) if value.is_none() => Ok(None),
            Answer::Result(value) => Err(PyStopIteration::new_err((value?.unbind(),))),
        }
    }

    /// Goes on; a coroutine's method.
    fn send<'py>(
        &self,
        py: Python<'py>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.go_on(py)? {
            Answer::Wait(waiter) => Ok(waiter),
            Answer::Result(value) => Err(PyStopIteration::new_err((value?.unbind(),))),
        }
    }

    /// Whoever awaits was cancelled, or interrupted otherwise: drops the future and raises.
    #[pyo3(signature = (typ, val=None, tb=None))]
    fn throw(
        &self,
        typ: Bound<'_, PyAny>,
        val: Option<Bound<'_, PyAny>>,
        tb: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = tb;
        self.task.cancel(typ.py())?;
        Err(match typ.cast_into::<PyType>() {
            Err(instance) => PyErr::from_value(instance.into_inner()),
            Ok(class) => match val.filter(|value| !value.is_none()) {
                None => PyErr::from_value(class.call0()?),
                Some(value) if value.is_instance(&class)? => PyErr::from_value(value),
                Some(value) => PyErr::from_value(class.call1((value,))?),
            },
        })
    }

    /// Drops the future: a coroutine's method.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.task.cancel(py).map(drop)
    }

    /// Drops the future, at the point where it waits. False if it is done.
    #[pyo3(signature = (msg=None))]
    fn cancel(&self, py: Python<'_>, msg: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = msg;
        self.task.cancel(py)
    }

    /// Whether it was cancelled.
    fn cancelled(&self) -> bool {
        self.task.is_cancelled()
    }

    /// Whether it has a result, has failed or was cancelled.
    fn done(&self) -> bool {
        self.task.is_done()
    }

    /// The result, without waiting: InvalidStateError if there is none yet.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if !self.task.is_done() {
            let text = "Result is not ready.";
            return Err(pyo3::exceptions::asyncio::InvalidStateError::new_err(text));
        }
        match self.go_on(py)? {
            Answer::Result(result) => result,
            Answer::Wait(_) => Err(PyRuntimeError::new_err("the result is gone")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.task.visit(|object| visit.call(object))
    }

    fn __clear__(&self) {
        self.task.clear();
    }
}

impl Drop for RustAwaitable {
    fn drop(&mut self) {
        // PyO3 drops objects of Python's with the thread attached; an exception may be on its way.
        Python::attach(|py| {
            let pending = PyErr::take(py);
            if let Err(error) = self.task.abandoned(py) {
                error.write_unraisable(py, None);
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}
