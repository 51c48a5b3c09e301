//! Arguments that come by name although they have a place, as Python's functions take them.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::Arguments;

impl Arguments<'_> {
    /// Whether something that has a place among the first `places` may have come by name.
    #[inline]
    pub(crate) fn may_be_named(&self, places: usize) -> bool {
        !self.keywords.is_null() && self.positional.len() < places
    }

    /// The same arguments, those that came by name in their places. Other keywords stay.
    #[cold]
    pub(crate) fn in_order<'py>(&self, py: Python<'py>, names: &[&str]) -> PyResult<Ordered<'py>> {
        // SAFETY: a tuple of strings, with one value each.
        let keywords = unsafe { Bound::from_borrowed_ptr(py, self.keywords) };
        let mut given = Vec::new();
        for (at, name) in keywords.cast_into::<PyTuple>()?.iter().enumerate() {
            // SAFETY: as above.
            given.push((name, unsafe { *self.values.add(at) }));
        }
        let mut values = self.positional.to_vec();
        for &name in names.iter().skip(values.len()) {
            let mut found = None;
            for (at, (key, _)) in given.iter().enumerate() {
                if key.eq(name)? {
                    found = Some(at);
                }
            }
            let Some(at) = found else { break };
            values.push(given.remove(at).1);
        }
        let count = values.len();
        values.extend(given.iter().map(|(_, value)| value));
        let names = given.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let keywords = (!names.is_empty()).then(|| PyTuple::new(py, names)).transpose()?;
        Ok(Ordered { values, count, keywords })
    }

    /// The one argument of a method that has a single parameter.
    #[inline]
    pub(crate) fn only(&self, py: Python<'_>, name: &str) -> PyResult<*mut ffi::PyObject> {
        match self.positional {
            &[argument] if self.keywords.is_null() => Ok(argument),
            _ => self.only_in_order(py, name),
        }
    }

    #[cold]
    fn only_in_order(&self, py: Python<'_>, name: &str) -> PyResult<*mut ffi::PyObject> {
        if self.may_be_named(1) {
            let ordered = self.in_order(py, &[name])?;
            if let (&[argument], None) = (&ordered.values[..], &ordered.keywords) {
                return Ok(argument);
            }
        }
        Err(PyTypeError::new_err(format!("exactly one argument is expected: {name}")))
    }
}

/// What [`Arguments::in_order`] makes; the values are those of the caller.
#[derive(Debug)]
pub(crate) struct Ordered<'py> {
    values: Vec<*mut ffi::PyObject>,
    count: usize,
    keywords: Option<Bound<'py, PyTuple>>,
}

impl Ordered<'_> {
    pub(crate) fn arguments(&self) -> Arguments<'_> {
        Arguments {
            positional: &self.values[..self.count],
            keywords: self.keywords.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr),
            values: self.values[self.count..].as_ptr(),
        }
    }
}
