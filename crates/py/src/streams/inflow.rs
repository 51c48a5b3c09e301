//! The state of a native reader: what asyncio's `StreamReader` keeps in its dict.
//!
//! It lies in the reader's dict, in the place of `_buffer`, and the transport that feeds the reader
//! refers to it. The attributes of the reader lead here, so asyncio's Python methods work on it as
//! well. Invariant: the buffer is borrowed only between two lines that run no Python.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyNotImplementedError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};

use super::buffer::Buffer;
use super::stock::classes;
use crate::hooks::{Names, hooks};
use crate::raw::{ByteArray, Ref, Slot, dict_get, dict_set, instance_dict};
use crate::transport::call_method;

/// What a reader has received, and who waits for more.
#[pyclass(frozen, module = "oxloop._oxloop")]
#[derive(Debug)]
pub(crate) struct Inflow {
    pub(super) buffer: RefCell<Buffer>,
    /// More than twice that pauses the transport, and no line may be longer.
    pub(super) limit: Cell<usize>,
    pub(super) eof: Cell<bool>,
    pub(super) paused: Cell<bool>,
    /// The reader has its old class again, and its state with it.
    pub(super) gone: Cell<bool>,
    pub(super) waiter: Slot,
    pub(super) exception: Slot,
    pub(super) transport: Slot,
    owner: Slot,
}

// SAFETY: the cells are touched by attached threads only, one at a time: the module declares that
// it needs the GIL.
unsafe impl Send for Inflow {}
// SAFETY: as above.
unsafe impl Sync for Inflow {}

#[pymethods]
impl Inflow {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in [&self.waiter, &self.exception, &self.transport, &self.owner] {
            slot.visit(|reference| visit.call(reference.as_py()))?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        for slot in [&self.waiter, &self.exception, &self.transport, &self.owner] {
            slot.set(None);
        }
    }
}

/// None is an empty place.
fn filled(value: Ref, py: Python<'_>) -> Option<Ref> {
    (!value.bind(py).is_none()).then_some(value)
}

impl Inflow {
    /// The state of a native reader.
    #[inline]
    pub(super) fn of<'py>(
        py: Python<'py>,
        reader: *mut ffi::PyObject,
    ) -> PyResult<Option<Bound<'py, Inflow>>> {
        let dict = instance_dict(py, reader)?;
        let state = dict_get(py, &dict, &hooks().names._buffer);
        Ok(state.and_then(|state| state.bind(py).clone().cast_into::<Inflow>().ok()))
    }

    /// Makes a reader native. `None`: its state is not what asyncio's reader has.
    pub(super) fn adopt<'py>(
        py: Python<'py>,
        reader: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, Inflow>>> {
        let (names, dict) = (&hooks().names, instance_dict(py, reader.as_ptr())?);
        let get = |name: &Ref| dict_get(py, &dict, name);
        let (Some(buffer), Some(limit)) = (get(&names._buffer), get(&names._limit)) else {
            return Ok(None);
        };
        let (Some(eof), Some(paused)) = (get(&names._eof), get(&names._paused)) else {
            return Ok(None);
        };
        let (Some(array), Some(limit)) = (ByteArray::of(buffer.bind(py)), limit_of(limit.bind(py)))
        else {
            return Ok(None);
        };
        let slot = |name: &Ref| {
            let slot = Slot::new();
            slot.set(get(name).and_then(|value| filled(value, py)));
            slot
        };
        let inflow = Inflow {
            buffer: RefCell::new(Buffer::Lent(array)),
            limit: Cell::new(limit),
            eof: Cell::new(eof.bind(py).is_truthy()?),
            paused: Cell::new(paused.bind(py).is_truthy()?),
            gone: Cell::new(false),
            waiter: slot(&names._waiter),
            exception: slot(&names._exception),
            transport: slot(&names._transport),
            owner: slot(&names._loop),
        };
        let inflow = Bound::new(py, inflow)?;
        classes().reader.adopt(py, reader.as_ptr())?;
        // The class is another one, and with it perhaps the place of the dict.
        let dict = instance_dict(py, reader.as_ptr())?;
        let none: Ref = py.None().into_bound(py).into();
        for name in [&names._waiter, &names._exception, &names._transport] {
            dict_set(py, &dict, name, &none)?;
        }
        dict_set(py, &dict, &names._buffer, &Ref::from(inflow.as_any()))?;
        Ok(Some(inflow))
    }

    /// Gives a reader its class and its state back.
    #[cold]
    pub(super) fn release(py: Python<'_>, reader: *mut ffi::PyObject) -> PyResult<()> {
        if !classes().reader.is_native(reader) {
            return Ok(());
        }
        if let Some(inflow) = Inflow::of(py, reader)? {
            let dict = instance_dict(py, reader)?;
            for name in STATE {
                let value = inflow.get().attribute(py, name(&hooks().names))?;
                dict_set(py, &dict, name(&hooks().names), &value)?;
            }
            inflow.get().gone.set(true);
            let buffer = inflow.get().buffer.take();
            drop(buffer);
        }
        classes().reader.release(py, reader)
    }

    /// The value of an attribute of the reader.
    pub(super) fn attribute(&self, py: Python<'_>, name: &Ref) -> PyResult<Ref> {
        let names = &hooks().names;
        let is = |other: &Ref| name.as_ptr() == other.as_ptr();
        let truth = |flag: bool| Ref::from(PyBool::new(py, flag).to_owned());
        if is(&names._buffer) {
            return self.buffer.borrow_mut().lend(py);
        }
        if is(&names._eof) {
            return Ok(truth(self.eof.get()));
        }
        if is(&names._paused) {
            return Ok(truth(self.paused.get()));
        }
        let value = self.slot(name).and_then(|slot| slot.get(py));
        Ok(value.unwrap_or_else(|| py.None().into_bound(py).into()))
    }

    /// Sets an attribute of the reader; not `_buffer`.
    pub(super) fn set_attribute(&self, py: Python<'_>, name: &Ref, value: Ref) -> PyResult<()> {
        let names = &hooks().names;
        if name.as_ptr() == names._eof.as_ptr() {
            self.eof.set(value.bind(py).is_truthy()?);
        } else if name.as_ptr() == names._paused.as_ptr() {
            self.paused.set(value.bind(py).is_truthy()?);
        } else if let Some(slot) = self.slot(name) {
            slot.set(filled(value, py));
        }
        Ok(())
    }

    /// The earlier buffer is the caller's to drop.
    pub(super) fn replace_buffer(&self, array: ByteArray) -> Buffer {
        self.buffer.replace(Buffer::Lent(array))
    }

    fn slot(&self, name: &Ref) -> Option<&Slot> {
        let names = &hooks().names;
        let places = [
            (&names._waiter, &self.waiter),
            (&names._exception, &self.exception),
            (&names._transport, &self.transport),
        ];
        let found = places.into_iter().find(|(of, _)| of.as_ptr() == name.as_ptr());
        found.map(|(_, slot)| slot)
    }

    /// Data came in: an exact `bytes` object. What `StreamReader.feed_data` does.
    #[inline]
    pub(crate) fn feed(&self, py: Python<'_>, data: Ref) -> PyResult<()> {
        self.buffer.borrow_mut().push(py, data)?;
        self.wake(py)?;
        let waiting = self.buffer.borrow().len();
        if waiting > self.limit.get().saturating_mul(2) && !self.paused.get() {
            self.pause(py)?;
        }
        Ok(())
    }

    /// Whether data can be fed: otherwise asyncio's way says what is wrong.
    #[inline]
    pub(super) fn takes_data(&self) -> bool {
        !self.gone.get() && !self.eof.get()
    }

    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        let Names { cancelled, set_result, .. } = &hooks().names;
        if !call_method(py, &waiter, cancelled, None)?.bind(py).is_truthy()? {
            let none: Ref = py.None().into_bound(py).into();
            call_method(py, &waiter, set_result, Some(&none))?;
        }
        Ok(())
    }

    #[cold]
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.get(py) else { return Ok(()) };
        match call_method(py, &transport, &hooks().names.pause_reading, None) {
            Ok(_) => self.paused.set(true),
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                // It cannot be paused: it is not asked again.
                self.transport.set(None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reading goes on, if it was paused.
    pub(super) fn resume(&self, py: Python<'_>) -> PyResult<()> {
        if !self.paused.replace(false) {
            return Ok(());
        }
        // Nobody pauses without a transport; asyncio's error, should it be gone.
        let transport = self.transport.get(py).unwrap_or_else(|| py.None().into_bound(py).into());
        call_method(py, &transport, &hooks().names.resume_reading, None).map(drop)
    }

    /// Takes what was read out of the buffer; there may be room for more then.
    #[inline]
    pub(super) fn take(&self, py: Python<'_>, count: usize) -> PyResult<Ref> {
        let (taken, rest) = {
            let mut buffer = self.buffer.borrow_mut();
            (buffer.take(py, count)?, buffer.len())
        };
        if self.paused.get() && rest <= self.limit.get() {
            self.resume(py)?;
        }
        Ok(taken)
    }

    /// A future for whoever has to wait.
    #[inline]
    pub(super) fn make_waiter(&self, py: Python<'_>) -> PyResult<Ref> {
        let owner = self.owner.get(py).unwrap_or_else(|| py.None().into_bound(py).into());
        let waiter = call_method(py, &owner, &hooks().names.create_future, None)?;
        self.waiter.set(Some(waiter.clone_ref(py)));
        Ok(waiter)
    }
}

/// What asyncio's reader keeps, `_limit` aside, which stays in the dict.
const STATE: [fn(&Names) -> &Ref; 6] = [
    |names| &names._buffer,
    |names| &names._eof,
    |names| &names._paused,
    |names| &names._waiter,
    |names| &names._exception,
    |names| &names._transport,
];

/// A limit that is a plain int above zero.
pub(super) fn limit_of(value: &Bound<'_, PyAny>) -> Option<usize> {
    let value = value.cast_exact::<PyInt>().ok()?;
    match value.extract::<i64>() {
        Ok(limit) => usize::try_from(limit).ok().filter(|&limit| limit > 0),
        // Larger than any buffer; a negative one is not.
        Err(_) => value.gt(0).ok()?.then_some(usize::MAX),
    }
}

/// A name as a Python string, for calls that are not hot.
pub(super) fn name<'a, 'py>(py: Python<'py>, name: &'a Ref) -> PyResult<&'a Bound<'py, PyString>> {
    Ok(name.bind(py).cast::<PyString>()?)
}
