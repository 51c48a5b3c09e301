//! asyncio's classes, ours in their place, and whether anybody has changed asyncio's.

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyString, PyTuple, PyType};

use super::late;
use crate::hooks::hooks;
use crate::raw::{Arguments, Global, Lookup, Ref, dict_get, instance_dict, set_generic, text};

/// A class of `asyncio.streams`, and the subclass of it that its instances get.
#[derive(Debug)]
pub(super) struct Stock {
    /// asyncio's.
    pub(super) class: Ref,
    /// Ours.
    pub(super) native: Ref,
    /// Names that an instance may not have of its own.
    methods: Ref,
    /// How many attributes a fresh instance has, a server's `_strong_reader` aside. With just as
    /// many, there is no method among them.
    fresh: usize,
    /// Names that make a difference when they are assigned to an instance.
    overrides: Ref,
    /// What asyncio's class had under the names of its methods, by name.
    originals: Ref,
    /// The state of asyncio's class that was looked at last, as the interpreter counts them, and
    /// whether it was CPython's own.
    seen: Cell<std::ffi::c_uint>,
    intact: Cell<bool>,
}

// SAFETY: the cells are touched by attached threads only; the module declares that it needs the
// GIL.
unsafe impl Send for Stock {}
// SAFETY: as above.
unsafe impl Sync for Stock {}

#[derive(Debug)]
pub(super) struct Classes {
    /// Streams are as we know them; otherwise nothing is recognised.
    pub(super) known: bool,
    pub(super) reader: Stock,
    pub(super) protocol: Stock,
    pub(super) writer: Stock,
}

static CLASSES: Global<Classes> = Global::new();

#[inline(always)]
pub(super) fn classes() -> &'static Classes {
    CLASSES.get()
}

/// Looks the classes up. Called once, by the module's initialisation.
pub(super) fn init(py: Python<'_>) -> PyResult<&'static Classes> {
    let known = hooks().get(py, "are_streams_known")?.call0()?.is_truthy()?;
    let module = py.import("oxloop._streams")?;
    let stock = |name: &str| -> PyResult<Stock> {
        let native = module.getattr(name)?;
        let class = native.getattr("__base__")?;
        let names = hooks().get(py, "stream_overrides")?.call1((&class,))?;
        let frozen = |names: Bound<'_, PyAny>| -> PyResult<Ref> {
            let names = names.try_iter()?.collect::<PyResult<Vec<_>>>()?;
            Ok(PyFrozenSet::new(py, names)?.into())
        };
        let (methods, overrides) = names.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        let fresh = match known {
            true => hooks().get(py, "fresh_attributes")?.call1((&class,))?.extract()?,
            false => 0,
        };
        let originals = PyDict::new(py);
        for name in methods.try_iter()? {
            let name = name?;
            originals.set_item(&name, class.getattr(name.cast::<PyString>()?)?)?;
        }
        Ok(Stock {
            originals: originals.into_any().into(),
            class: class.into(),
            native: native.into(),
            fresh,
            methods: frozen(methods)?,
            overrides: frozen(overrides)?,
            seen: Cell::new(0),
            intact: Cell::new(false),
        })
    };
    let found = Classes {
        known,
        reader: stock("StreamReader")?,
        protocol: stock("StreamReaderProtocol")?,
        writer: stock("StreamWriter")?,
    };
    // SAFETY: called once, by the module's initialisation, before anything that reads them.
    unsafe { CLASSES.set(found) };
    Ok(classes())
}

impl Stock {
    /// Whether `object` is exactly of asyncio's class.
    #[inline]
    pub(super) fn is_class_of(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: callers pass a live object.
        unsafe { ffi::Py_TYPE(object).cast() == self.class.as_ptr() }
    }

    /// Whether `object` has got our class.
    #[inline]
    pub(super) fn is_native(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: callers pass a live object.
        unsafe { ffi::Py_TYPE(object).cast() == self.native.as_ptr() }
    }

    /// Whether asyncio's class is as CPython made it. The interpreter counts the changes of a class
    /// for its own caches; only after one the class is looked at.
    #[inline]
    pub(super) fn is_intact(&self, py: Python<'_>) -> bool {
        let version = self.version();
        if version != 0 && version == self.seen.get() {
            return self.intact.get();
        }
        self.look(py)
    }

    #[inline]
    fn version(&self) -> std::ffi::c_uint {
        // SAFETY: a type object that lives as long as the process. 0: no version now.
        unsafe { (*self.class.as_ptr().cast::<ffi::PyTypeObject>()).tp_version_tag }
    }

    #[cold]
    fn look(&self, py: Python<'_>) -> bool {
        let class = self.class.bind(py);
        // Looking something up gives the class a version, before it is looked at.
        let looked_up = class.attribute("__init__").map(drop);
        let version = self.version();
        let intact = looked_up
            .and_then(|()| hooks().get(py, "is_stream_class_stock")?.call1((class,))?.is_truthy())
            .unwrap_or(false);
        self.seen.set(version);
        self.intact.set(intact);
        intact
    }

    /// Whether an instance can get our class: asyncio's, and nothing overridden.
    pub(super) fn accepts(&self, py: Python<'_>, object: &Bound<'_, PyAny>) -> bool {
        self.is_class_of(object.as_ptr())
            && self.is_intact(py)
            && self.has_no_overrides(py, object).unwrap_or(false)
    }

    fn has_no_overrides(&self, py: Python<'_>, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        let dict = instance_dict(py, object.as_ptr())?;
        let of_servers = dict_get(py, &dict, &hooks().names._strong_reader).is_some();
        if dict.bind(py).len()? == self.fresh + usize::from(of_servers) {
            return Ok(true);
        }
        let methods = self.methods.bind(py).cast::<PyFrozenSet>()?;
        for (name, _) in dict.bind(py).cast::<PyDict>()?.iter() {
            if methods.contains(name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether assigning to that name takes an object back to asyncio's class.
    pub(super) fn is_override(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.overrides.bind(name.py()).cast::<PyFrozenSet>()?.contains(name)
    }

    /// Gives an instance our class.
    pub(super) fn adopt(&self, py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
        set_generic(py, object, hooks().names.__class__.as_ptr(), self.native.as_ptr())
    }

    /// Gives an instance asyncio's class again.
    pub(super) fn release(&self, py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
        if self.is_native(object) {
            late::make_all(py, object)?;
            set_generic(py, object, hooks().names.__class__.as_ptr(), self.class.as_ptr())?;
        }
        Ok(())
    }

    /// What asyncio's class had under that name before anybody could change it.
    pub(super) fn original<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let found = self.originals.bind(py).cast::<PyDict>()?.get_item(text(py, name)?)?;
        found.map_or_else(|| self.class.bind(py).attribute(name), Ok)
    }

    /// The method that is to be called where ours was found and does not apply. On an object of our
    /// class: what its own class has now. On one that had it: somebody has kept ours, and gets what
    /// was in its place.
    pub(super) fn inherited<'py>(
        &self,
        py: Python<'py>,
        object: *mut ffi::PyObject,
        name: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.is_native(object) {
            self.class.bind(py).attribute(name)
        } else {
            self.original(py, name)
        }
    }

    pub(super) fn native_class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        Ok(self.native.bind(py).clone().cast_into::<PyType>()?)
    }
}

/// A method of a class of ours, by its definition, with its documentation.
pub(super) type Method = (ffi::PyMethodDef, Option<&'static CStr>);

/// Methods with asyncio's docstrings, and with signatures that tools can read.
pub(super) fn documented<const N: usize>(
    class: &Bound<'_, PyType>,
    methods: [(ffi::PyMethodDef, &str); N],
) -> PyResult<Vec<Method>> {
    let mut documented = Vec::with_capacity(N);
    for (method, signature) in methods {
        // SAFETY: a C string literal.
        let name = unsafe { CStr::from_ptr(method.ml_name) }.to_string_lossy();
        let doc = class.getattr(&*name)?.getattr("__doc__")?;
        let doc = doc.extract::<Option<String>>()?.unwrap_or_default();
        let text = CString::new(format!("{name}{signature}\n--\n\n{doc}"))?;
        // As long as the type, which is as long as the process.
        documented.push((method, Some(&*Box::leak(text.into_boxed_c_str()))));
    }
    Ok(documented)
}

/// `method(object, *arguments)`.
#[cold]
pub(super) fn call_inherited(
    py: Python<'_>,
    method: &Bound<'_, PyAny>,
    object: *mut ffi::PyObject,
    arguments: &Arguments<'_>,
) -> PyResult<Ref> {
    let all = std::iter::once(&object).chain(arguments.positional);
    // SAFETY: borrowed for the call.
    let all = all.map(|&value| unsafe { Bound::from_borrowed_ptr(py, value) });
    let all = PyTuple::new(py, all.collect::<Vec<_>>())?;
    Ok(method.call(all, arguments.keywords(py)?.as_ref())?.into())
}

/// The arguments of `__setattr__`.
pub(super) fn name_and_value(
    arguments: &Arguments<'_>,
) -> PyResult<(*mut ffi::PyObject, *mut ffi::PyObject)> {
    match arguments.positional {
        &[name, value] if arguments.has_no_keywords() => Ok((name, value)),
        given => {
            let text = format!("expected 2 arguments, got {}", given.len());
            Err(pyo3::exceptions::PyTypeError::new_err(text))
        }
    }
}

/// What an instance has in its dict under an interned name.
#[inline]
pub(super) fn dict_value(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    name: &Ref,
) -> PyResult<Option<Ref>> {
    Ok(dict_get(py, &instance_dict(py, object)?, name))
}
