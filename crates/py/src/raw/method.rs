//! Methods and attributes for classes that are not PyO3's, or that are too hot for it.

use std::ffi::{CStr, c_void};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::Ref;
use crate::hooks::hooks;

/// What a method may return.
pub(crate) trait Output {
    fn into_raw(self, py: Python<'_>) -> *mut ffi::PyObject;
}

impl Output for () {
    fn into_raw(self, py: Python<'_>) -> *mut ffi::PyObject {
        py.None().into_ptr()
    }
}

impl Output for bool {
    fn into_raw(self, py: Python<'_>) -> *mut ffi::PyObject {
        pyo3::types::PyBool::new(py, self).to_owned().into_ptr()
    }
}

impl Output for Ref {
    fn into_raw(self, _py: Python<'_>) -> *mut ffi::PyObject {
        self.into_ptr()
    }
}

impl Output for Option<Ref> {
    fn into_raw(self, py: Python<'_>) -> *mut ffi::PyObject {
        self.map_or_else(|| py.None().into_ptr(), Ref::into_ptr)
    }
}

impl<T> Output for Bound<'_, T> {
    fn into_raw(self, _py: Python<'_>) -> *mut ffi::PyObject {
        self.into_ptr()
    }
}

/// The arguments of a fast call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) positional: &'a [*mut ffi::PyObject],
    pub(super) keywords: *mut ffi::PyObject,
    pub(super) values: *const *mut ffi::PyObject,
}

impl<'a> Arguments<'a> {
    /// # Safety
    /// As METH_FASTCALL | METH_KEYWORDS passes them; they live for `'a`.
    #[inline]
    pub(crate) unsafe fn new(
        values: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        keywords: *mut ffi::PyObject,
    ) -> Arguments<'a> {
        let count = count as usize;
        let positional = match count {
            0 => &[],
            // SAFETY: by contract; the pointer may be dangling only if the count is zero.
            _ => unsafe { std::slice::from_raw_parts(values, count) },
        };
        // SAFETY: keyword values follow the positional ones.
        let values = unsafe { values.add(count) };
        Arguments { positional, keywords, values }
    }

    /// No arguments at all.
    pub(crate) fn none() -> Arguments<'static> {
        Arguments::positional(&[])
    }

    /// Positional arguments alone, live objects.
    pub(crate) fn positional(values: &'a [*mut ffi::PyObject]) -> Arguments<'a> {
        let keywords = std::ptr::null_mut();
        Arguments { positional: values, keywords, values: values.as_ptr_range().end }
    }

    pub(crate) fn has_no_keywords(&self) -> bool {
        self.keywords.is_null()
    }

    /// More keywords than this have no method of ours and no callee of theirs.
    pub(crate) const KEYWORDS_AT_MOST: usize = 4;

    /// The names of the keywords, borrowed.
    #[inline]
    pub(crate) fn keyword_names(&self) -> impl Iterator<Item = *mut ffi::PyObject> {
        let names = self.keywords;
        // SAFETY: null or a tuple of strings, for `'a`.
        let count = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(names) } };
        // SAFETY: as above; the index is below the size.
        (0..count).map(move |at| unsafe { ffi::PyTuple_GET_ITEM(names, at) })
    }

    /// The values of the keywords, borrowed, in the order of their names.
    #[inline]
    pub(crate) fn keyword_values(&self) -> &'a [*mut ffi::PyObject] {
        if self.keywords.is_null() {
            return &[];
        }
        // SAFETY: one value for each name.
        unsafe {
            let count = ffi::PyTuple_GET_SIZE(self.keywords) as usize;
            std::slice::from_raw_parts(self.values, count)
        }
    }

    /// The keywords as a dict.
    pub(crate) fn keywords<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        if self.keywords.is_null() {
            return Ok(None);
        }
        let dict = PyDict::new(py);
        // SAFETY: a tuple of strings, with one value each.
        unsafe {
            let names =
                Bound::from_borrowed_ptr(py, self.keywords).cast_into_unchecked::<PyTuple>();
            for (at, name) in names.iter().enumerate() {
                dict.set_item(name, Bound::from_borrowed_ptr(py, *self.values.add(at)))?;
            }
        }
        Ok(Some(dict))
    }

    /// The value of `context`, the only keyword that the method `method` has.
    #[inline]
    pub(crate) fn only_context(
        &self,
        py: Python<'_>,
        method: &str,
    ) -> PyResult<Option<*mut ffi::PyObject>> {
        if self.keywords.is_null() {
            return Ok(None);
        }
        // SAFETY: a tuple of strings.
        let value = unsafe {
            let count = ffi::PyTuple_GET_SIZE(self.keywords);
            if count == 0 {
                return Ok(None);
            }
            let last = ffi::PyTuple_GET_ITEM(self.keywords, count - 1);
            if count > 1 || !hooks().is_context_keyword(last) {
                return Err(unexpected(method, &Bound::from_borrowed_ptr(py, last)));
            }
            *self.values
        };
        Ok(Some(value))
    }
}

/// `callable(*positional, **named)`: `names` is a tuple with one string for each of `named`.
#[inline]
pub(crate) fn call_with(
    py: Python<'_>,
    callable: &Ref,
    positional: &[*mut ffi::PyObject],
    named: &[*mut ffi::PyObject],
    names: &Ref,
) -> PyResult<Ref> {
    vectorcall(py, callable, positional, named, names.as_ptr())
}

/// `callable(*positional, **keywords)`, with the keywords of `arguments`.
pub(crate) fn call_forwarding(
    py: Python<'_>,
    callable: &Ref,
    positional: &[*mut ffi::PyObject],
    arguments: &Arguments<'_>,
) -> PyResult<Ref> {
    vectorcall(py, callable, positional, arguments.keyword_values(), arguments.keywords)
}

#[inline]
fn vectorcall(
    py: Python<'_>,
    callable: &Ref,
    positional: &[*mut ffi::PyObject],
    named: &[*mut ffi::PyObject],
    names: *mut ffi::PyObject,
) -> PyResult<Ref> {
    // The first place is for a bound method's `self`.
    let mut places = [std::ptr::null_mut(); 4 + Arguments::KEYWORDS_AT_MOST];
    let count = positional.len() + named.len();
    let Some(given) = places.get_mut(1..=count) else {
        return Err(PyTypeError::new_err("too many arguments"));
    };
    let (first, rest) = given.split_at_mut(positional.len());
    first.copy_from_slice(positional);
    rest.copy_from_slice(named);
    // SAFETY: live objects, borrowed for the call; null or a tuple with a name for each of `named`.
    unsafe {
        let count = positional.len() | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let start = places.as_ptr().add(1);
        Ref::from_owned(py, ffi::PyObject_Vectorcall(callable.as_ptr(), start, count, names))
    }
}

#[cold]
fn unexpected(method: &str, keyword: &Bound<'_, PyAny>) -> PyErr {
    let text = format!("{method}() got an unexpected keyword argument {}", quoted(keyword));
    PyTypeError::new_err(text)
}

fn quoted(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "?".to_owned(), |repr| repr.to_string())
}

/// A `PyMethodDef` of a Rust function.
///
/// `method!(noargs c"close", This, close)`: `fn close(py, This) -> PyResult<impl Output>`;
/// `method!(one …)`: with a borrowed `*mut PyObject`; `method!(fast …)`: with [`Arguments`].
/// `c"write"("data")` names the parameters that may come by position or by name, as all may in
/// Python; what is for asyncio alone has none.
/// `This` is a type with `unsafe fn from_self(*mut PyObject) -> This`.
macro_rules! method {
    (noargs $name:literal, $this:ty, $function:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            _: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                $function(py, this).map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        pyo3::ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: pyo3::ffi::PyMethodDefPointer { PyCFunction: call },
            ml_flags: pyo3::ffi::METH_NOARGS,
            ml_doc: std::ptr::null(),
        }
    }};
    (one $name:literal, $this:ty, $function:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            argument: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                // SAFETY: the caller holds the argument for the call.
                let argument = unsafe { pyo3::Borrowed::from_ptr(py, argument) };
                $function(py, this, argument).map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        pyo3::ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: pyo3::ffi::PyMethodDefPointer { PyCFunction: call },
            ml_flags: pyo3::ffi::METH_O,
            ml_doc: std::ptr::null(),
        }
    }};
    (one $name:literal($parameter:literal), $this:ty, $function:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            values: *const *mut pyo3::ffi::PyObject,
            count: pyo3::ffi::Py_ssize_t,
            keywords: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                // SAFETY: the flags below ask for exactly these arguments.
                let arguments = unsafe { $crate::raw::Arguments::new(values, count, keywords) };
                let argument = arguments.only(py, $parameter)?;
                // SAFETY: the caller holds the argument for the call.
                let argument = unsafe { pyo3::Borrowed::from_ptr(py, argument) };
                $function(py, this, argument).map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        $crate::raw::method!(@fast $name, call)
    }};
    (fast $name:literal, $this:ty, $function:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            values: *const *mut pyo3::ffi::PyObject,
            count: pyo3::ffi::Py_ssize_t,
            keywords: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                // SAFETY: the flags below ask for exactly these arguments.
                let arguments = unsafe { $crate::raw::Arguments::new(values, count, keywords) };
                $function(py, this, arguments).map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        $crate::raw::method!(@fast $name, call)
    }};
    (fast $name:literal($($parameter:literal),+), $this:ty, $function:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            values: *const *mut pyo3::ffi::PyObject,
            count: pyo3::ffi::Py_ssize_t,
            keywords: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                const PARAMETERS: &[&str] = &[$($parameter),+];
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                // SAFETY: the flags below ask for exactly these arguments.
                let arguments = unsafe { $crate::raw::Arguments::new(values, count, keywords) };
                let called = if arguments.may_be_named(PARAMETERS.len()) {
                    let ordered = arguments.in_order(py, PARAMETERS)?;
                    $function(py, this, ordered.arguments())
                } else {
                    $function(py, this, arguments)
                };
                called.map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        $crate::raw::method!(@fast $name, call)
    }};
    (@fast $name:literal, $call:ident) => {
        pyo3::ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: pyo3::ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: $call },
            ml_flags: pyo3::ffi::METH_FASTCALL | pyo3::ffi::METH_KEYWORDS,
            ml_doc: std::ptr::null(),
        }
    };
}
pub(crate) use method;

/// A `PyGetSetDef`: `getset!(c"_paused", This, getter)` or with a setter
/// `fn(py, This, Option<Borrowed<PyAny>>) -> PyResult<()>`, `None` for deletion.
macro_rules! getset {
    ($name:literal, $this:ty, $get:path) => {
        $crate::raw::getset!(@def $name, $this, $get, None)
    };
    ($name:literal, $this:ty, $get:path, $set:path) => {{
        unsafe extern "C" fn set(
            slf: *mut pyo3::ffi::PyObject,
            value: *mut pyo3::ffi::PyObject,
            _: *mut std::ffi::c_void,
        ) -> std::ffi::c_int {
            $crate::raw::entry_status(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                // SAFETY: null, or held by the caller for the call.
                let value = unsafe { pyo3::Borrowed::from_ptr_or_opt(py, value) };
                $set(py, this, value)
            })
        }
        $crate::raw::getset!(@def $name, $this, $get, Some(set))
    }};
    (@def $name:literal, $this:ty, $get:path, $set:expr) => {{
        unsafe extern "C" fn get(
            slf: *mut pyo3::ffi::PyObject,
            _: *mut std::ffi::c_void,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::raw::entry(|py| {
                // SAFETY: the descriptor has checked the type of `self`.
                let this = unsafe { <$this>::from_self(slf) };
                $get(py, this).map(|value| $crate::raw::Output::into_raw(value, py))
            })
        }
        pyo3::ffi::PyGetSetDef {
            name: $name.as_ptr(),
            get: Some(get),
            set: $set,
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        }
    }};
}
pub(crate) use getset;

/// Adds methods to a type that exists already, a PyO3 class for instance. The definitions live as
/// long as the process, as the type does.
pub(crate) fn install(
    class: &Bound<'_, PyType>,
    methods: Vec<(ffi::PyMethodDef, Option<&'static CStr>)>,
) -> PyResult<()> {
    let py = class.py();
    for (mut definition, doc) in methods {
        if let Some(doc) = doc {
            definition.ml_doc = doc.as_ptr();
        }
        let definition: *mut ffi::PyMethodDef = Box::leak(Box::new(definition));
        // SAFETY: a type object and a definition that is never freed.
        let descriptor = unsafe {
            Ref::from_owned(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))?
        };
        // SAFETY: `ml_name` is a C string literal.
        let name = unsafe { CStr::from_ptr((*definition).ml_name) };
        class.setattr(PyString::new(py, &name.to_string_lossy()), descriptor.bind(py))?;
    }
    Ok(())
}

/// Adds attributes to a type that exists already, as [`install`] does methods.
pub(crate) fn install_attributes(
    class: &Bound<'_, PyType>,
    attributes: Vec<ffi::PyGetSetDef>,
) -> PyResult<()> {
    let py = class.py();
    for definition in attributes {
        let definition: *mut ffi::PyGetSetDef = Box::leak(Box::new(definition));
        // SAFETY: a type object and a definition that is never freed.
        let descriptor = unsafe {
            Ref::from_owned(py, ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition))?
        };
        // SAFETY: `name` is a C string literal.
        let name = unsafe { CStr::from_ptr((*definition).name) };
        class.setattr(PyString::new(py, &name.to_string_lossy()), descriptor.bind(py))?;
    }
    Ok(())
}

/// A definition table with its terminator, for a type's slots; never freed.
pub(crate) fn leak_table<T>(mut table: Vec<T>, end: T) -> *mut c_void {
    table.push(end);
    Box::leak(table.into_boxed_slice()).as_mut_ptr().cast()
}
