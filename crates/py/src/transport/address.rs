//! Socket addresses as Python's `socket` module has them.

use std::net::Ipv6Addr;

use oxloop_engine::Address;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hooks::hooks;

pub(crate) fn to_python<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        Address::V4(v4) => (v4.ip().to_string(), v4.port()).into_pyobject(py)?.into_any(),
        Address::V6(v6) => {
            let host = v6_text(v6.ip());
            (host, v6.port(), v6.flowinfo(), v6.scope_id()).into_pyobject(py)?.into_any()
        }
        Address::UnixPath(path) => hooks().get(py, "fsdecode")?.call1((PyBytes::new(py, path),))?,
        Address::UnixAbstract(name) => {
            let full: Vec<u8> = std::iter::once(0).chain(name.iter().copied()).collect();
            PyBytes::new(py, &full).into_any()
        }
        Address::Other => py.None().into_bound(py),
    })
}

/// As inet_ntop(3) writes it. Rust's own way differs for `::a.b.c.d`.
fn v6_text(ip: &Ipv6Addr) -> String {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            format!("::{a}.{b}.{c}.{d}")
        }
        _ => ip.to_string(),
    }
}
