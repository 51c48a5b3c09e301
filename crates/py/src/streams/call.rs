//! One call of a native method: what has been done of it, and what it waits for.
//!
//! Nothing is done before the first step. While there is no data it waits for a future of the loop,
//! as asyncio's readers do. Whatever is not the everyday case (an error, the end, a line that is too
//! long, somebody else waiting) becomes asyncio's own coroutine, started on the same state: its
//! results, its exceptions and messages.

use std::cell::Cell;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::inflow::{Inflow, name};
use super::operation::{Operation, Progress};
use crate::hooks::hooks;
use crate::raw::{Arguments, Lookup, Ref, Sent, Slot, send};

/// One call of a method of a reader or writer.
pub(super) struct Call {
    /// The reader or writer.
    subject: Slot,
    /// A reader's state.
    inflow: Slot,
    operation: Operation,
    /// What is known not to have a separator in it.
    searched: Cell<usize>,
    state: Cell<State>,
}

#[derive(Default)]
enum State {
    Created,
    /// For the future behind this iterator.
    Waiting(Ref),
    /// asyncio's coroutine goes on.
    Stock(Ref),
    Running,
    #[default]
    Done,
}

impl Call {
    pub(super) fn new(
        subject: Ref,
        inflow: Option<Bound<'_, Inflow>>,
        operation: Operation,
    ) -> Call {
        Call {
            subject: Slot::filled(subject),
            inflow: inflow.map_or_else(Slot::new, |inflow| Slot::filled(inflow.into())),
            operation,
            searched: Cell::new(0),
            state: Cell::new(State::Created),
        }
    }

    /// Whether it was never awaited.
    pub(super) fn is_new(&self) -> bool {
        // SAFETY: read and not changed.
        matches!(unsafe { &*self.state.as_ptr() }, State::Created)
    }

    /// What the collector has to see; null where there is nothing.
    pub(super) fn references(&self) -> [*mut ffi::PyObject; 4] {
        // SAFETY: the collector changes nothing while it looks.
        let state = match unsafe { &*self.state.as_ptr() } {
            State::Waiting(reference) | State::Stock(reference) => reference.as_ptr(),
            State::Created | State::Running | State::Done => std::ptr::null_mut(),
        };
        let argument = self.operation.reference().map_or(std::ptr::null_mut(), Ref::as_ptr);
        [self.subject.as_ptr(), self.inflow.as_ptr(), state, argument]
    }

    pub(super) fn name(&self) -> &'static str {
        self.operation.name().1
    }

    pub(super) fn qualname(&self) -> String {
        let (class, method) = self.operation.name();
        format!("{class}.{method}")
    }

    /// Goes on, up to the next time that it has to wait.
    #[inline]
    pub(super) fn advance(&self, py: Python<'_>, value: *mut ffi::PyObject) -> PyResult<Sent> {
        match self.state.replace(State::Running) {
            State::Created => self.attempt(py, true),
            State::Waiting(future) => match send(py, &future, value) {
                Ok(Sent::Returned(_)) => {
                    self.forget_waiter(py)?;
                    drop(future);
                    self.attempt(py, false)
                }
                Ok(yielded) => {
                    self.state.set(State::Waiting(future));
                    Ok(yielded)
                }
                Err(error) => {
                    self.end(py)?;
                    Err(error)
                }
            },
            State::Stock(coroutine) => self.follow(py, coroutine, value),
            State::Running => Err(PyValueError::new_err("coroutine already executing")),
            State::Done => {
                self.state.set(State::Done);
                Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"))
            }
        }
    }

    /// Does what was asked for, if it can be done now; otherwise it waits.
    fn attempt(&self, py: Python<'_>, first: bool) -> PyResult<Sent> {
        let mut first = first;
        loop {
            let progress = match self.inflow(py) {
                Some(inflow) => self.operation.read(py, inflow.get(), &self.searched, first),
                None => self.operation.write(py, self.subject.as_ptr()),
            };
            match progress {
                Ok(Progress::Done(value)) => {
                    self.finish();
                    return Ok(Sent::Returned(value));
                }
                Ok(Progress::Wait) => {
                    if let Some(value) = self.wait(py)? {
                        return Ok(Sent::Yielded(value));
                    }
                }
                Ok(Progress::Unusual) => return self.leave(py),
                Err(error) => {
                    self.finish();
                    return Err(error);
                }
            }
            first = false;
        }
    }

    /// asyncio's method goes on from here.
    fn leave(&self, py: Python<'_>) -> PyResult<Sent> {
        let begun = self.operation.stock_method(py).and_then(|method| {
            let subject = self.subject.get(py).ok_or_else(gone)?;
            self.operation.call_stock(py, &method, &subject)
        });
        match begun {
            // SAFETY: a singleton.
            Ok(coroutine) => self.follow(py, coroutine, unsafe { ffi::Py_None() }),
            Err(error) => {
                self.finish();
                Err(error)
            }
        }
    }

    /// What is to be yielded while there is no data; `None`: the future has its result already.
    fn wait(&self, py: Python<'_>) -> PyResult<Option<Ref>> {
        let begun = self.inflow(py).ok_or_else(gone).and_then(|inflow| {
            // Waiting while paused would wait for ever.
            inflow.get().resume(py)?;
            let waiter = inflow.get().make_waiter(py)?;
            let waits = waiter.bind(py).try_iter()?;
            // SAFETY: a singleton.
            let sent = send(py, &Ref::from(&waits), unsafe { ffi::Py_None() })?;
            Ok((Ref::from(waits), sent))
        });
        match begun {
            Ok((future, Sent::Yielded(value))) => {
                self.state.set(State::Waiting(future));
                Ok(Some(value))
            }
            Ok((_, Sent::Returned(_))) => {
                self.forget_waiter(py)?;
                Ok(None)
            }
            Err(error) => {
                self.end(py)?;
                Err(error)
            }
        }
    }

    fn follow(&self, py: Python<'_>, coroutine: Ref, value: *mut ffi::PyObject) -> PyResult<Sent> {
        match send(py, &coroutine, value) {
            Ok(Sent::Yielded(value)) => {
                self.state.set(State::Stock(coroutine));
                Ok(Sent::Yielded(value))
            }
            ended => {
                self.finish();
                ended
            }
        }
    }

    fn inflow<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Inflow>> {
        let inflow = self.inflow.get(py)?.into_bound(py);
        // SAFETY: the slot is empty or has what `new` was given.
        Some(unsafe { inflow.cast_into_unchecked::<Inflow>() })
    }

    /// What the `finally` of asyncio's `_wait_for_data` does.
    fn forget_waiter(&self, py: Python<'_>) -> PyResult<()> {
        let Some(inflow) = self.inflow(py) else { return Ok(()) };
        inflow.get().waiter.set(None);
        if inflow.get().gone.get()
            && let Some(subject) = self.subject.get(py)
        {
            subject.bind(py).setattr(name(py, &hooks().names._waiter)?, py.None())?;
        }
        Ok(())
    }

    /// The end of a call that waited.
    #[cold]
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let forgotten = self.forget_waiter(py);
        self.finish();
        forgotten
    }

    /// It is over, however it ended.
    pub(super) fn finish(&self) {
        self.state.set(State::Done);
        self.subject.set(None);
        self.inflow.set(None);
    }

    /// `throw(type[, value[, traceback]])`.
    pub(super) fn throw(&self, py: Python<'_>, arguments: &Arguments<'_>) -> PyResult<Ref> {
        let error = match self.state.replace(State::Running) {
            State::Stock(coroutine) => {
                let given = arguments.positional.iter();
                // SAFETY: borrowed for the call.
                let given = given.map(|&given| unsafe { Bound::from_borrowed_ptr(py, given) });
                let given = PyTuple::new(py, given.collect::<Vec<_>>())?;
                let thrown = coroutine.bind(py).method1("throw", given);
                match &thrown {
                    Ok(_) => self.state.set(State::Stock(coroutine)),
                    Err(_) => self.finish(),
                }
                return thrown.map(Ref::from);
            }
            State::Running => return Err(PyValueError::new_err("coroutine already executing")),
            State::Done => {
                self.state.set(State::Done);
                PyRuntimeError::new_err("cannot reuse already awaited coroutine")
            }
            State::Created => {
                self.finish();
                thrown_error(py, arguments)?
            }
            State::Waiting(future) => {
                drop(future);
                self.end(py)?;
                thrown_error(py, arguments)?
            }
        };
        Err(error)
    }

    pub(super) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.state.replace(State::Running) {
            State::Stock(coroutine) => {
                let closed = coroutine.bind(py).method0("close");
                self.finish();
                closed.map(drop)
            }
            State::Running => Err(PyValueError::new_err("coroutine already executing")),
            State::Waiting(future) => {
                drop(future);
                self.end(py)
            }
            State::Created | State::Done => {
                self.finish();
                Ok(())
            }
        }
    }
}

#[cold]
fn gone() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

/// The exception that `throw(type[, value[, traceback]])` means.
fn thrown_error(py: Python<'_>, arguments: &Arguments<'_>) -> PyResult<PyErr> {
    // SAFETY: borrowed for the call.
    let given = |at: usize| unsafe {
        arguments.positional.get(at).map(|&value| Bound::from_borrowed_ptr(py, value))
    };
    let Some(kind) = given(0) else {
        return Err(PyTypeError::new_err("throw expected at least 1 argument, got 0"));
    };
    let value = given(1).filter(|value| !value.is_none());
    let error = match (kind.cast::<PyType>(), value) {
        (Ok(kind), Some(value)) if value.is_instance(kind)? => value,
        (Ok(kind), Some(value)) => kind.call1((value,))?,
        (Ok(kind), None) => kind.call0()?,
        (Err(_), _) => kind.clone(),
    };
    if !error.is_instance_of::<PyBaseException>() {
        let text = "exceptions must be classes or instances deriving from BaseException";
        return Err(PyTypeError::new_err(text));
    }
    if let Some(traceback) = given(2).filter(|traceback| !traceback.is_none()) {
        error.setattr("__traceback__", traceback)?;
    }
    Ok(PyErr::from_value(error))
}
