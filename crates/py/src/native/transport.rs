//! What native protocols ask of their transports: of ours without Python, of others by their methods.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::raw::{Lookup, Ref};
use crate::transport::{Tls, Transport};

/// As `transport.write(bytes)`.
pub(super) fn write(py: Python<'_>, transport: &Ref, bytes: &[u8]) -> PyResult<()> {
    if let Some(transport) = Transport::of(transport).filter(|it| it.is_stream()) {
        return transport.write_slice(py, bytes);
    }
    if let Some(transport) = Tls::of(transport) {
        return transport.write_slice(py, bytes);
    }
    transport.bind(py).method1("write", (PyBytes::new(py, bytes),)).map(drop)
}

/// The methods that take nothing.
#[derive(Clone, Copy)]
pub(super) enum Method {
    WriteEof,
    Close,
    Abort,
    PauseReading,
    ResumeReading,
}

pub(super) fn call(py: Python<'_>, transport: &Ref, method: Method) -> PyResult<()> {
    if let Some(transport) = Transport::of(transport).filter(|it| it.is_stream()) {
        return match method {
            Method::WriteEof => transport.write_eof(py),
            Method::Close => transport.close(py),
            Method::Abort => transport.force_close(py, None),
            Method::PauseReading => transport.pause_reading(py),
            Method::ResumeReading => transport.resume_reading(py),
        };
    }
    let name = match method {
        Method::WriteEof => "write_eof",
        Method::Close => "close",
        Method::Abort => "abort",
        Method::PauseReading => "pause_reading",
        Method::ResumeReading => "resume_reading",
    };
    transport.bind(py).method0(name).map(drop)
}

pub(super) fn is_closing(py: Python<'_>, transport: &Ref) -> PyResult<bool> {
    match Transport::of(transport) {
        Some(transport) => Ok(transport.is_closing()),
        None => transport.bind(py).method0("is_closing")?.is_truthy(),
    }
}
