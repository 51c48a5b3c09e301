//! Transports, as a native protocol sees them.

use std::ffi::c_int;

use oxloop_abi::{Api, Object, Slice};
use pyo3::prelude::*;

use crate::api::{api, checked, pointer};

/// A transport of any kind and any loop, for as long as the thread is attached. Those of oxloop are
/// called directly, others by their methods.
///
/// To keep one, keep its object ([`Transport::unbind`]) and make it anew ([`Transport::of`]).
#[derive(Clone, Debug)]
pub struct Transport<'py> {
    object: Bound<'py, PyAny>,
}

impl<'py> Transport<'py> {
    /// The transport that is `object`.
    pub fn of(object: Bound<'py, PyAny>) -> Transport<'py> {
        Transport { object }
    }

    /// Sends or queues `data` as it is at this moment. Small writes of one callback leave together,
    /// when it returns.
    ///
    /// # Errors
    /// What `transport.write()` raises: RuntimeError after `write_eof()`.
    #[inline]
    pub fn write(&self, data: &[u8]) -> PyResult<()> {
        let api = api(self.py())?;
        // SAFETY: attached, with a live transport and bytes that are lent for the call.
        let status = unsafe { (api.write)(self.pointer(), data.as_ptr(), data.len()) };
        checked(self.py(), status).map(drop)
    }

    /// As [`Transport::write`], with several pieces.
    ///
    /// # Errors
    /// As [`Transport::write`].
    pub fn write_pieces(&self, pieces: &[&[u8]]) -> PyResult<()> {
        let api = api(self.py())?;
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Slice { start: piece.as_ptr(), length: piece.len() })
            .collect();
        // SAFETY: attached, with a live transport and bytes that are lent for the call.
        let status = unsafe { (api.writev)(self.pointer(), pieces.as_ptr(), pieces.len()) };
        checked(self.py(), status).map(drop)
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// What the transport raises: TLS has no such thing.
    pub fn write_eof(&self) -> PyResult<()> {
        self.call(|api| api.write_eof).map(drop)
    }

    /// Sends what is queued, then ends the connection.
    ///
    /// # Errors
    /// What the transport raises.
    pub fn close(&self) -> PyResult<()> {
        self.call(|api| api.close).map(drop)
    }

    /// Drops what is queued and ends the connection.
    ///
    /// # Errors
    /// What the transport raises.
    pub fn abort(&self) -> PyResult<()> {
        self.call(|api| api.abort).map(drop)
    }

    /// Whether it is closed, or about to be.
    ///
    /// # Errors
    /// What the transport raises.
    pub fn is_closing(&self) -> PyResult<bool> {
        self.call(|api| api.is_closing).map(|closing| closing != 0)
    }

    /// No data is received until [`Transport::resume_reading`].
    ///
    /// # Errors
    /// What the transport raises.
    pub fn pause_reading(&self) -> PyResult<()> {
        self.call(|api| api.pause_reading).map(drop)
    }

    /// Data is received again.
    ///
    /// # Errors
    /// What the transport raises.
    pub fn resume_reading(&self) -> PyResult<()> {
        self.call(|api| api.resume_reading).map(drop)
    }

    /// The Python object, for what is not here.
    pub fn as_any(&self) -> &Bound<'py, PyAny> {
        &self.object
    }

    /// The Python object, to be kept.
    pub fn unbind(&self) -> Py<PyAny> {
        self.object.clone().unbind()
    }

    /// The token of the attached thread.
    pub fn py(&self) -> Python<'py> {
        self.object.py()
    }

    fn pointer(&self) -> Object {
        pointer(&self.object)
    }

    fn call(
        &self,
        method: impl FnOnce(&Api) -> unsafe extern "C" fn(Object) -> c_int,
    ) -> PyResult<c_int> {
        let method = method(api(self.py())?);
        // SAFETY: attached, with a live transport.
        checked(self.py(), unsafe { method(self.pointer()) })
    }
}
