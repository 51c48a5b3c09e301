//! What is native of a reader: its methods, and the attributes that lead to its [`Inflow`].

use pyo3::Borrowed;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyType};

use super::coroutine;
use super::inflow::{Inflow, limit_of};
use super::operation::Operation;
use super::stock::{Stock, call_inherited, classes, documented};
use crate::hooks::{Names, hooks};
use crate::raw::{
    Arguments, ByteArray, Ref, dict_set, getset, install, install_attributes, instance_dict,
    method, set_generic,
};

/// A reader, borrowed for a call.
#[derive(Clone, Copy)]
struct Reader(*mut ffi::PyObject);

/// An attribute that is in the [`Inflow`].
macro_rules! state {
    ($name:literal, $field:ident) => {{
        fn fetch(py: Python<'_>, this: Reader) -> PyResult<Ref> {
            this.attribute(py, |names| &names.$field)
        }
        fn store(
            py: Python<'_>,
            this: Reader,
            value: Option<Borrowed<'_, '_, PyAny>>,
        ) -> PyResult<()> {
            this.set_state(py, |names| &names.$field, value)
        }
        getset!($name, Reader, fetch, store)
    }};
}

/// Adds what is native to our class.
pub(super) fn install_into(class: &Bound<'_, PyType>) -> PyResult<()> {
    let methods = [
        (method!(fast c"read", Reader, read), "($self, n=-1)"),
        (method!(noargs c"readline", Reader, readline), "($self)"),
        (method!(fast c"readuntil", Reader, readuntil), "($self, separator=b'\\n')"),
        (method!(fast c"readexactly", Reader, readexactly), "($self, n)"),
        (method!(noargs c"__anext__", Reader, next), "($self)"),
        (method!(one c"feed_data", Reader, feed_data), "($self, data)"),
        (method!(noargs c"at_eof", Reader, at_eof), "($self)"),
        (method!(noargs c"exception", Reader, exception), "($self)"),
        (method!(fast c"__setattr__", Reader, set_attribute), "($self, name, value)"),
    ];
    install(class, documented(class, methods)?)?;
    install_attributes(
        class,
        vec![
            getset!(c"_buffer", Reader, get_buffer, set_buffer),
            getset!(c"_limit", Reader, get_limit, set_limit),
            state!(c"_eof", _eof),
            state!(c"_paused", _paused),
            state!(c"_waiter", _waiter),
            state!(c"_exception", _exception),
            state!(c"_transport", _transport),
        ],
    )
}

impl Reader {
    /// # Safety
    /// A live reader of our class.
    unsafe fn from_self(object: *mut ffi::PyObject) -> Reader {
        Reader(object)
    }

    fn stock() -> &'static Stock {
        &classes().reader
    }

    /// The state, if asyncio's class is as it was; otherwise the inherited method is to be called.
    #[inline]
    fn inflow<'py>(self, py: Python<'py>) -> PyResult<Option<Bound<'py, Inflow>>> {
        if Reader::stock().is_intact(py) { Inflow::of(py, self.0) } else { Ok(None) }
    }

    /// A coroutine of ours, if the reader still is.
    #[inline]
    fn begin(self, py: Python<'_>, operation: Operation) -> PyResult<Option<Ref>> {
        let Some(inflow) = self.inflow(py)? else { return Ok(None) };
        coroutine::call(py, self.0, Some(inflow), operation).map(Some)
    }

    /// What asyncio's method returns. If somebody has changed asyncio's class, the reader is
    /// asyncio's from now on.
    #[cold]
    fn inherited(self, py: Python<'_>, name: &str, arguments: &Arguments<'_>) -> PyResult<Ref> {
        let method = Reader::stock().inherited(py, self.0, name)?;
        if !Reader::stock().is_intact(py) {
            Inflow::release(py, self.0)?;
        }
        call_inherited(py, &method, self.0, arguments)
    }

    /// The state, for attributes.
    fn state<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, Inflow>> {
        let state = Inflow::of(py, self.0)?;
        state.ok_or_else(|| PyAttributeError::new_err("this reader has lost its state"))
    }

    fn attribute(self, py: Python<'_>, name: fn(&Names) -> &Ref) -> PyResult<Ref> {
        self.state(py)?.get().attribute(py, name(&hooks().names))
    }

    fn set_state(
        self,
        py: Python<'_>,
        name: fn(&Names) -> &Ref,
        value: Option<Borrowed<'_, '_, PyAny>>,
    ) -> PyResult<()> {
        let value = value.ok_or_else(not_deleted)?;
        self.state(py)?.get().set_attribute(py, name(&hooks().names), Ref::from(&*value))
    }

    /// The reader is asyncio's again, and gets the value that ours has no place for.
    fn give_back(
        self,
        py: Python<'_>,
        name: &Ref,
        value: &Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        Inflow::release(py, self.0)?;
        set_generic(py, self.0, name.as_ptr(), value.as_ptr())
    }
}

#[cold]
fn not_deleted() -> PyErr {
    PyAttributeError::new_err("the state of a stream cannot be deleted")
}

fn readline(py: Python<'_>, this: Reader) -> PyResult<Ref> {
    match this.begin(py, Operation::ReadLine)? {
        Some(line) => Ok(line),
        None => this.inherited(py, "readline", &Arguments::none()),
    }
}

fn next(py: Python<'_>, this: Reader) -> PyResult<Ref> {
    match this.begin(py, Operation::Next)? {
        Some(line) => Ok(line),
        None => this.inherited(py, "__anext__", &Arguments::none()),
    }
}

fn read(py: Python<'_>, this: Reader, arguments: Arguments<'_>) -> PyResult<Ref> {
    if let Some(count) = only_count(py, &arguments)
        && count > 0
        && let Some(data) = this.begin(py, Operation::Read(count))?
    {
        return Ok(data);
    }
    this.inherited(py, "read", &arguments)
}

fn readexactly(py: Python<'_>, this: Reader, arguments: Arguments<'_>) -> PyResult<Ref> {
    if let Some(count) = only_count(py, &arguments)
        && count > 0
        && let Some(data) = this.begin(py, Operation::ReadExactly(count))?
    {
        return Ok(data);
    }
    this.inherited(py, "readexactly", &arguments)
}

fn readuntil(py: Python<'_>, this: Reader, arguments: Arguments<'_>) -> PyResult<Ref> {
    let begun = match arguments.positional {
        [] if arguments.has_no_keywords() => this.begin(py, Operation::ReadUntil(None))?,
        &[separator] if arguments.has_no_keywords() => {
            // SAFETY: borrowed for the call.
            let separator = unsafe { Borrowed::from_ptr(py, separator) };
            match separator.cast_exact::<PyBytes>() {
                Ok(bytes) if !bytes.as_bytes().is_empty() => {
                    this.begin(py, Operation::ReadUntil(Some(Ref::from(&*separator))))?
                }
                _ => None,
            }
        }
        _ => None,
    };
    match begun {
        Some(data) => Ok(data),
        None => this.inherited(py, "readuntil", &arguments),
    }
}

/// The one argument, if it is a plain int that is not negative.
#[inline]
fn only_count(py: Python<'_>, arguments: &Arguments<'_>) -> Option<usize> {
    let &[count] = arguments.positional else { return None };
    if !arguments.has_no_keywords() {
        return None;
    }
    // SAFETY: borrowed for the call.
    let count = unsafe { Borrowed::from_ptr(py, count) };
    count.cast_exact::<PyInt>().ok()?.extract().ok()
}

fn feed_data(py: Python<'_>, this: Reader, data: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>()
        && let Some(inflow) = this.inflow(py)?
        && inflow.get().takes_data()
    {
        if bytes.as_bytes().is_empty() {
            return Ok(());
        }
        return inflow.get().feed(py, Ref::from(&*data));
    }
    let arguments = [data.as_ptr()];
    this.inherited(py, "feed_data", &Arguments::positional(&arguments)).map(drop)
}

fn at_eof(py: Python<'_>, this: Reader) -> PyResult<Ref> {
    match this.inflow(py)? {
        Some(inflow) => {
            let ended = inflow.get().eof.get() && inflow.get().buffer.borrow().len() == 0;
            Ok(pyo3::types::PyBool::new(py, ended).to_owned().into())
        }
        None => this.inherited(py, "at_eof", &Arguments::none()),
    }
}

fn exception(py: Python<'_>, this: Reader) -> PyResult<Option<Ref>> {
    match this.inflow(py)? {
        Some(inflow) => Ok(inflow.get().exception.get(py)),
        None => this.inherited(py, "exception", &Arguments::none()).map(Some),
    }
}

/// `reader.name = value`: what overrides a method makes the reader asyncio's again.
fn set_attribute(py: Python<'_>, this: Reader, arguments: Arguments<'_>) -> PyResult<()> {
    let (name, value) = super::stock::name_and_value(&arguments)?;
    // SAFETY: borrowed for the call.
    if Reader::stock().is_override(&unsafe { Bound::from_borrowed_ptr(py, name) })? {
        Inflow::release(py, this.0)?;
    }
    set_generic(py, this.0, name, value)
}

fn get_buffer(py: Python<'_>, this: Reader) -> PyResult<Ref> {
    this.attribute(py, |names| &names._buffer)
}

fn set_buffer(
    py: Python<'_>,
    this: Reader,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    let value = value.ok_or_else(not_deleted)?;
    match ByteArray::of(&value) {
        Some(array) => {
            let state = this.state(py)?;
            let old = state.get().replace_buffer(array);
            drop(old);
            Ok(())
        }
        None => this.give_back(py, &hooks().names._buffer, &value),
    }
}

fn get_limit(py: Python<'_>, this: Reader) -> PyResult<Ref> {
    let limit = super::stock::dict_value(py, this.0, &hooks().names._limit)?;
    limit.ok_or_else(|| PyAttributeError::new_err("_limit"))
}

fn set_limit(py: Python<'_>, this: Reader, value: Option<Borrowed<'_, '_, PyAny>>) -> PyResult<()> {
    let value = value.ok_or_else(not_deleted)?;
    let name = &hooks().names._limit;
    match limit_of(&value) {
        Some(limit) => {
            this.state(py)?.get().limit.set(limit);
            dict_set(py, &instance_dict(py, this.0)?, name, &Ref::from(&*value))
        }
        None => this.give_back(py, name, &value),
    }
}
