//! Attributes that hardly anybody looks at, made when somebody does.
//!
//! asyncio makes a future and a deque for each connection that are hardly ever used. They are let go
//! when the objects get our classes. Until somebody asks, None is under their names, which asyncio
//! never puts there; an object that gets its old class back gets them, too.

use pyo3::Borrowed;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::inflow::name;
use super::stock::dict_value;
use crate::hooks::{Names, hooks};
use crate::raw::{Ref, dict_get, dict_set, instance_dict};
use crate::transport::call_method;

/// What is made late.
const LATE: [fn(&Names) -> &Ref; 2] = [|names| &names._drain_waiters, |names| &names._complete_fut];

/// Lets go of what an object has under a name, if nobody else has it and it is as asyncio made it.
pub(super) fn put_off(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    name: &Ref,
    is_fresh: fn(&Bound<'_, PyAny>) -> PyResult<bool>,
) -> PyResult<()> {
    let dict = instance_dict(py, object)?;
    let Some(value) = dict_get(py, &dict, name) else { return Ok(()) };
    // SAFETY: a live object. The dict has it, and we do.
    let is_ours = unsafe { ffi::Py_REFCNT(value.as_ptr()) } == 2;
    if is_ours && is_fresh(value.bind(py))? {
        dict_set(py, &dict, name, &py.None().into_bound(py).into())?;
    }
    Ok(())
}

/// The value of an attribute, which `make` makes from the object's loop if it is not there yet.
pub(super) fn get(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    of: &Ref,
    make: fn(Python<'_>, &Ref) -> PyResult<Ref>,
) -> PyResult<Ref> {
    let missing = |of: &Ref| PyAttributeError::new_err((Py::from(of.bind(py).clone()),));
    let value = dict_value(py, object, of)?.ok_or_else(|| missing(of))?;
    if !value.bind(py).is_none() {
        return Ok(value);
    }
    let names = &hooks().names;
    let owner = dict_value(py, object, &names._loop)?.ok_or_else(|| missing(&names._loop))?;
    let made = make(py, &owner)?;
    dict_set(py, &instance_dict(py, object)?, of, &made)?;
    Ok(made)
}

/// Sets an attribute that is made late.
pub(super) fn set(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    of: &Ref,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<()> {
    let value = value.ok_or_else(|| PyAttributeError::new_err("it cannot be deleted"))?;
    dict_set(py, &instance_dict(py, object)?, of, &Ref::from(&*value))
}

/// Makes everything that was put off, before an object gets asyncio's class again.
pub(super) fn make_all(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    for of in LATE {
        let of = of(&hooks().names);
        if dict_value(py, object, of)?.is_some_and(|value| value.bind(py).is_none()) {
            // SAFETY: borrowed for the call.
            unsafe { Bound::from_borrowed_ptr(py, object) }.getattr(name(py, of)?)?;
        }
    }
    Ok(())
}

/// Whether that is a future of asyncio's own that nobody waits for. One that is done may hold an
/// exception, and dropping that is reported: ask of futures that cannot fail only.
pub(super) fn is_unused_future(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: a live object.
    let is_plain = unsafe { ffi::Py_TYPE(value.as_ptr()).cast() } == hooks().future.as_ptr();
    Ok(is_plain && value.getattr(name(value.py(), &hooks().names._callbacks)?)?.is_none())
}

/// Whether nobody waits in that.
pub(super) fn is_empty(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.len()? == 0)
}

fn make_future(py: Python<'_>, owner: &Ref) -> PyResult<Ref> {
    call_method(py, owner, &hooks().names.create_future, None)
}

pub(super) fn make_done_future(py: Python<'_>, owner: &Ref) -> PyResult<Ref> {
    let future = make_future(py, owner)?;
    let none: Ref = py.None().into_bound(py).into();
    call_method(py, &future, &hooks().names.set_result, Some(&none))?;
    Ok(future)
}

/// A list in place of asyncio's deque, which takes 760 bytes empty: it is appended to, gone through
/// and removed from.
pub(super) fn make_list(py: Python<'_>, _owner: &Ref) -> PyResult<Ref> {
    Ok(pyo3::types::PyList::empty(py).into_any().into())
}
