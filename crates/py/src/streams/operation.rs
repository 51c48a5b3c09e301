//! What can be asked of a reader or a writer, and how it is done when nothing is unusual.
//!
//! The conditions are those of asyncio's methods, in their order. What is not everyday is left to
//! them: nothing has been changed by then, so they come to the same point.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

use super::inflow::Inflow;
use super::stock::classes;
use super::writer;
use crate::raw::Ref;

/// A method and its arguments.
#[derive(Debug)]
pub(super) enum Operation {
    ReadLine,
    /// `__anext__`: a line.
    Next,
    /// Up to a separator, an exact `bytes` object that is not empty; up to the end of the line if
    /// none was given.
    ReadUntil(Option<Ref>),
    /// Up to so many bytes, more than none.
    Read(usize),
    ReadExactly(usize),
    /// Of a writer.
    Drain,
}

pub(super) enum Progress {
    Done(Ref),
    /// There is not enough yet.
    Wait,
    /// Something for asyncio's own method.
    Unusual,
}

impl Operation {
    /// Reads, if enough is there. The exception that ends the stream counts at `first` and before
    /// waiting, not when there is data after a wait.
    #[inline]
    pub(super) fn read(
        &self,
        py: Python<'_>,
        inflow: &Inflow,
        searched: &Cell<usize>,
        first: bool,
    ) -> PyResult<Progress> {
        if inflow.gone.get() || (first && inflow.exception.is_some()) {
            return Ok(Progress::Unusual);
        }
        let found = match self {
            Operation::ReadUntil(Some(separator)) => {
                separated(inflow, bytes_of(separator), searched)
            }
            Operation::ReadLine | Operation::Next | Operation::ReadUntil(None) => {
                separated(inflow, b"\n", searched)
            }
            Operation::Read(count) => {
                let waiting = inflow.buffer.borrow().len();
                if waiting > 0 || inflow.eof.get() { Found::Here(*count) } else { Found::NotYet }
            }
            Operation::ReadExactly(count) => {
                let waiting = inflow.buffer.borrow().len();
                if waiting >= *count { Found::Here(*count) } else { Found::NotYet }
            }
            Operation::Drain => Found::Unusual,
        };
        match found {
            Found::Here(count) => inflow.take(py, count).map(Progress::Done),
            Found::Unusual => Ok(Progress::Unusual),
            Found::NotYet => {
                let nothing_comes = inflow.eof.get() || inflow.exception.is_some();
                let taken = inflow.waiter.is_some();
                Ok(if nothing_comes || taken { Progress::Unusual } else { Progress::Wait })
            }
        }
    }

    /// Drains, if nothing has to be waited for.
    #[inline]
    pub(super) fn write(&self, py: Python<'_>, subject: *mut ffi::PyObject) -> PyResult<Progress> {
        if writer::is_fluent(py, subject)? {
            Ok(Progress::Done(py.None().into_bound(py).into()))
        } else {
            Ok(Progress::Unusual)
        }
    }

    /// The names of the class and of the method.
    pub(super) fn name(&self) -> (&'static str, &'static str) {
        const READER: &str = "StreamReader";
        match self {
            Operation::ReadLine => (READER, "readline"),
            Operation::Next => (READER, "__anext__"),
            Operation::ReadUntil(_) => (READER, "readuntil"),
            Operation::Read(_) => (READER, "read"),
            Operation::ReadExactly(_) => (READER, "readexactly"),
            Operation::Drain => ("StreamWriter", "drain"),
        }
    }

    /// asyncio's method.
    pub(super) fn stock_method(&self, py: Python<'_>) -> PyResult<Ref> {
        let stock = match self {
            Operation::Drain => &classes().writer,
            _ => &classes().reader,
        };
        Ok(stock.original(py, self.name().1)?.into())
    }

    /// asyncio's coroutine, not started.
    pub(super) fn call_stock(&self, py: Python<'_>, method: &Ref, subject: &Ref) -> PyResult<Ref> {
        let argument = match self {
            Operation::ReadLine | Operation::Next | Operation::Drain => None,
            Operation::ReadUntil(separator) => {
                separator.as_ref().map(|separator| separator.clone_ref(py))
            }
            Operation::Read(count) | Operation::ReadExactly(count) => {
                Some(Ref::from(count.into_pyobject(py)?))
            }
        };
        match argument {
            None => method.bind(py).call1((subject.bind(py),)),
            Some(argument) => method.bind(py).call1((subject.bind(py), argument.bind(py))),
        }
        .map(Ref::from)
    }

    pub(super) fn reference(&self) -> Option<&Ref> {
        match self {
            Operation::ReadUntil(separator) => separator.as_ref(),
            _ => None,
        }
    }
}

enum Found {
    /// The first so many bytes, or what there is of them.
    Here(usize),
    NotYet,
    Unusual,
}

/// Looks for a separator where it has not been looked for yet.
#[inline]
fn separated(inflow: &Inflow, separator: &[u8], searched: &Cell<usize>) -> Found {
    let buffer = inflow.buffer.borrow();
    let limit = inflow.limit.get();
    match buffer.find(separator, searched.get()) {
        Some(start) if start <= limit => Found::Here(start + separator.len()),
        Some(_) => Found::Unusual,
        None => {
            // With nothing new to look at there is nothing to say, also of a limit that has changed.
            if buffer.len() < searched.get() + separator.len() {
                return Found::NotYet;
            }
            // The end may be the beginning of a separator.
            searched.set(buffer.len() + 1 - separator.len());
            if searched.get() > limit { Found::Unusual } else { Found::NotYet }
        }
    }
}

/// The bytes of an exact `bytes` object.
fn bytes_of(object: &Ref) -> &[u8] {
    // SAFETY: an exact bytes object, immutable and alive while it is borrowed.
    unsafe {
        let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<u8>();
        let length = ffi::PyBytes_Size(object.as_ptr());
        std::slice::from_raw_parts(start, usize::try_from(length).unwrap_or(0))
    }
}
