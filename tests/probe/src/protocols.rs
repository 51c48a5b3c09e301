//! Protocols that write down what happens.

use std::collections::HashMap;

use oxloop_extension::{Protocol, Transport, Visit, protocol_factory};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::Counted;
use crate::futures::panic_now;

struct Echo(Counted);

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()> {
        transport.write(data)
    }
}

#[pyfunction]
pub(crate) fn echo(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    protocol_factory(py, |_| Ok(Echo(Counted::new())))
}

/// Notes each callback in `log` as a tuple, and does what `plan` has for it.
struct Recorder {
    log: Py<PyAny>,
    plan: HashMap<String, String>,
    _counted: Counted,
}

impl Recorder {
    fn note<'py>(
        &self,
        transport: &Transport<'py>,
        name: &str,
        value: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = transport.py();
        self.log.call_method1(py, "append", ((name, value),))?;
        match self.plan.get(name).map_or("", String::as_str) {
            "raise" => Err(PyValueError::new_err("on purpose")),
            "panic" => {
                panic_now();
                Ok(())
            }
            "close" => transport.close(),
            "abort" => transport.abort(),
            "write_eof" => transport.write_eof(),
            "pause_reading" => transport.pause_reading(),
            "resume_reading" => transport.resume_reading(),
            "write" => transport.write(b"hello"),
            "write_pieces" => transport.write_pieces(&[b"he", b"", b"llo"]),
            "write_much" => transport.write(&vec![b'x'; 8 << 20]),
            "reenter" => {
                let protocol = transport.as_any().call_method0("get_protocol")?;
                protocol.call_method1("data_received", (PyBytes::new(py, b"inside"),)).map(drop)
            }
            "drop_self" => {
                let protocol = py.import("asyncio")?.getattr("Protocol")?.call0()?;
                transport.as_any().call_method1("set_protocol", (protocol,)).map(drop)
            }
            "is_closing" => {
                let closing = transport.is_closing()?;
                self.log.call_method1(py, "append", (("closing", closing),)).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        self.note(transport, "connection_made", Some(transport.as_any().clone()))
    }

    fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()> {
        let bytes = PyBytes::new(transport.py(), data).into_any();
        self.note(transport, "data_received", Some(bytes))
    }

    fn eof_received(&mut self, transport: &Transport<'_>) -> PyResult<bool> {
        self.note(transport, "eof_received", None)?;
        Ok(self.plan.get("eof_received").is_some_and(|plan| plan == "keep"))
    }

    fn pause_writing(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        self.note(transport, "pause_writing", None)
    }

    fn resume_writing(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        self.note(transport, "resume_writing", None)
    }

    fn connection_lost(
        &mut self,
        transport: &Transport<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.note(transport, "connection_lost", error.cloned())
    }

    fn traverse(&self, visit: &mut Visit) {
        visit.visit(&self.log);
    }
}

#[pyfunction]
pub(crate) fn recorder(
    py: Python<'_>,
    log: Py<PyAny>,
    plan: HashMap<String, String>,
) -> PyResult<Bound<'_, PyAny>> {
    protocol_factory(py, move |py| {
        let (log, plan) = (log.clone_ref(py), plan.clone());
        Ok(Recorder { log, plan, _counted: Counted::new() })
    })
}
