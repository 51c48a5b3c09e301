//! Socket addresses as Python's `socket` module has them.

use std::cell::Cell;
use std::ffi::{c_char, c_uint};
use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use oxloop_engine::Address;
use pyo3::ffi;
use pyo3::prelude::*;

/// A place for an address: small, since every connection has two, and mostly those of IPv4.
#[derive(Default)]
pub(super) struct Whereabouts(Cell<Known>);

#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    V4(SocketAddrV4),
    Other(Box<Address>),
}

impl fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Whereabouts {
    pub(super) fn set(&self, address: Option<Address>) {
        self.0.set(match address {
            None => Known::Nothing,
            Some(Address::V4(v4)) => Known::V4(v4),
            Some(other) => Known::Other(Box::new(other)),
        });
    }

    pub(super) fn get(&self) -> Option<Address> {
        let known = self.0.take();
        let address = match &known {
            Known::Nothing => None,
            Known::V4(v4) => Some(Address::V4(*v4)),
            Known::Other(other) => Some((**other).clone()),
        };
        self.0.set(known);
        address
    }

    pub(super) fn is_unknown(&self) -> bool {
        let known = self.0.take();
        let is_unknown = matches!(known, Known::Nothing);
        self.0.set(known);
        is_unknown
    }
}

const _: () = assert!(size_of::<Whereabouts>() == 16, "every transport has two");

pub(crate) fn to_python<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the formats have the arguments they say, of the types they say, and what is pointed
    // to is alive for the call. Each call returns a new object, or null with an exception set.
    let built = unsafe {
        match address {
            Address::V4(v4) => {
                let (host, port) = (terminated(v4.ip()), c_uint::from(v4.port()));
                ffi::Py_BuildValue(c"(sI)".as_ptr(), host.as_ptr().cast::<c_char>(), port)
            }
            Address::V6(v6) => {
                let (host, port) = (v6_text(v6.ip()), c_uint::from(v6.port()));
                let (flow, scope): (c_uint, c_uint) = (v6.flowinfo(), v6.scope_id());
                let host = host.as_ptr().cast::<c_char>();
                ffi::Py_BuildValue(c"(sIII)".as_ptr(), host, port, flow, scope)
            }
            Address::UnixPath(path) => {
                let len = path.len() as ffi::Py_ssize_t;
                ffi::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), len)
            }
            Address::UnixAbstract(name) => {
                let full = [&[0], name.as_slice()].concat();
                ffi::PyBytes_FromStringAndSize(full.as_ptr().cast(), full.len() as ffi::Py_ssize_t)
            }
            Address::Other => return Ok(py.None().into_bound(py)),
        }
    };
    // SAFETY: as above.
    unsafe { Bound::from_owned_ptr_or_err(py, built) }
}

/// As inet_ntop(3) writes it. Rust's own way differs for `::a.b.c.d`.
fn v6_text(ip: &Ipv6Addr) -> String {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = ip.octets();
            terminated(format_args!("::{}", Ipv4Addr::new(a, b, c, d)))
        }
        _ => terminated(ip),
    }
}

fn terminated(text: impl Display) -> String {
    format!("{text}\0")
}
