//! What a TLS transport tells about itself, and reading that pauses.

use pyo3::Borrowed;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Tls;
use super::types::loop_slot;
use crate::hooks::hooks;
use crate::native::NativeProtocol;
use crate::raw::{Arguments, Lookup, Ref, slot};

impl Tls<'_> {
    /// `get_extra_info(name, default=None)`: of this connection, then of the transport below.
    pub(super) fn py_get_extra_info<'py>(
        py: Python<'py>,
        this: Tls<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (1..=2, true) = (arguments.positional.len(), arguments.has_no_keywords()) else {
            return Err(PyTypeError::new_err("get_extra_info() takes a name and a default"));
        };
        // SAFETY: borrowed for the call.
        let given = |&argument: &_| unsafe { Bound::from_borrowed_ptr(py, argument) };
        let name = given(&arguments.positional[0]);
        let default = arguments.positional.get(1).map_or(py.None().into_bound(py), given);
        if let Some(value) = this.info(py)?.get_item(&name)? {
            return Ok(value);
        }
        match this.lower(py) {
            Some(lower) => lower.bind(py).method1("get_extra_info", (name, default)),
            None => Ok(default),
        }
    }

    /// What asyncio has in `SSLProtocol._extra`; the result of the handshake once it is over.
    pub(super) fn info<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if let Some(info) = self.tail.info.get(py) {
            return Ok(info.bind(py).clone().cast_into()?);
        }
        let bind = |slot: &crate::raw::Slot| slot.get(py).map(|value| value.bind(py).clone());
        let context = bind(&self.tail.ssl_context);
        let object = bind(&self.tail.ssl_object).filter(|_| self.tail.shaken.get());
        let info = hooks().get(py, "tls_info")?.call1((context, object))?.cast_into::<PyDict>()?;
        if self.tail.shaken.get() {
            self.tail.info.set(Some((&info).into()));
        }
        Ok(info)
    }

    pub(super) fn log(self, py: Python<'_>, what: &str) -> PyResult<()> {
        hooks().get(py, "log_transport")?.call1((self.bind(py), what)).map(drop)
    }

    /// `_loop` is None once the connection is lost.
    pub(super) fn forget_loop(self, py: Python<'_>) {
        // SAFETY: the slot is filled before the old reference is dropped.
        unsafe {
            let place = slot(self.object, loop_slot());
            let old = std::ptr::replace(place, py.None().into_ptr());
            ffi::Py_XDECREF(old);
        }
    }

    pub(super) fn py_get_protocol(py: Python<'_>, this: Tls<'_>) -> PyResult<Option<Ref>> {
        Ok(this.tail.protocol.get(py))
    }

    pub(super) fn py_set_protocol(
        py: Python<'_>,
        this: Tls<'_>,
        protocol: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        NativeProtocol::is_set_on(&protocol, &this.bind(py));
        this.use_protocol(py, &protocol)
    }

    pub(super) fn py_is_reading(_py: Python<'_>, this: Tls<'_>) -> PyResult<bool> {
        let resuming = this.tail.resuming.get();
        Ok(this.pump().is_some_and(|pump| resuming || !pump.is_reading_paused()))
    }

    pub(super) fn py_pause_reading(_py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        this.tail.resuming.set(false);
        if let Some(pump) = this.pump() {
            pump.set_reading(false);
        }
        Ok(())
    }

    /// What has come meanwhile is delivered in the next turn, not from within this call.
    pub(super) fn py_resume_reading(py: Python<'_>, this: Tls<'_>) -> PyResult<()> {
        let Some(pump) = this.pump().filter(|pump| pump.is_reading_paused()) else {
            return Ok(());
        };
        if this.tail.driving.get() {
            pump.set_reading(true);
            return Ok(());
        }
        if this.tail.resuming.replace(true) {
            return Ok(());
        }
        let (Some(owner), Some(context)) = (this.owner(py), this.context(py)) else {
            return Ok(());
        };
        let callback = this.bind(py).attribute("_resume")?;
        owner.schedule(py, &owner.0, &callback, &[], &context)
    }

    pub(super) fn get_closed(_py: Python<'_>, this: Tls<'_>) -> PyResult<bool> {
        Ok(this.tail.closing.get())
    }

    pub(super) fn get_lower(py: Python<'_>, this: Tls<'_>) -> PyResult<Option<Ref>> {
        Ok(if this.tail.owner.is_some() { this.lower(py) } else { None })
    }

    pub(super) fn get_ssl_object(py: Python<'_>, this: Tls<'_>) -> PyResult<Option<Ref>> {
        Ok(this.tail.ssl_object.get(py))
    }

    pub(super) fn get_ssl_context(py: Python<'_>, this: Tls<'_>) -> PyResult<Option<Ref>> {
        Ok(this.tail.ssl_context.get(py))
    }

    pub(super) fn get_server_side(_py: Python<'_>, this: Tls<'_>) -> PyResult<bool> {
        Ok(this.tail.server_side.get())
    }

    /// Which session it has: "object" or "direct".
    pub(super) fn get_session(py: Python<'_>, this: Tls<'_>) -> PyResult<Option<Ref>> {
        Ok(this
            .pump()
            .map(|pump| pyo3::types::PyString::new(py, pump.session().name()).into_any().into()))
    }

    /// A view of this connection that has asyncio's names.
    pub(crate) fn get_ssl_protocol<'py>(
        py: Python<'py>,
        this: Tls<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        hooks().get(py, "SSLProtocolView")?.call1((this.bind(py),))
    }
}
