//! Python addresses as the kernel's names.
//!
//! Only what needs no look at a name service and cannot run Python is read here: exact tuples of a
//! literal address and numbers, paths. What else an address may be is for `socket.sendto` to say.

use std::net::{Ipv4Addr, Ipv6Addr};

use oxloop_engine::{Address, Name};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

/// The families of datagram sockets whose addresses are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Unix,
}

/// `sin6_flowinfo` has 20 bits for the flow.
const MAX_FLOW: u32 = 0xf_ffff;

impl Family {
    /// Of a socket whose family has that number.
    pub(crate) fn from_number(family: i32) -> Option<Family> {
        match family {
            1 => Some(Family::Unix),
            2 => Some(Family::V4),
            10 => Some(Family::V6),
            _ => None,
        }
    }

    /// Of a socket with that address.
    pub(super) fn of(address: &Address) -> Option<Family> {
        match address {
            Address::V4(_) => Some(Family::V4),
            Address::V6(_) => Some(Family::V6),
            Address::UnixPath(_) | Address::UnixAbstract(_) => Some(Family::Unix),
            Address::Other => None,
        }
    }

    /// The name of `address`, if that can be told from it alone.
    pub(crate) fn name(self, address: &Bound<'_, PyAny>) -> Option<Name> {
        match self {
            Family::V4 => v4(address.cast_exact::<PyTuple>().ok()?),
            Family::V6 => v6(address.cast_exact::<PyTuple>().ok()?),
            Family::Unix => unix(address),
        }
    }
}

fn v4(address: &Bound<'_, PyTuple>) -> Option<Name> {
    if address.len() != 2 {
        return None;
    }
    let ip: Ipv4Addr = host(address)?.parse().ok()?;
    Some(Name::v4(ip, u16::try_from(number(address, 1)?).ok()?))
}

fn v6(address: &Bound<'_, PyTuple>) -> Option<Name> {
    let len = address.len();
    if !(2..=4).contains(&len) {
        return None;
    }
    let ip: Ipv6Addr = host(address)?.parse().ok()?;
    let port = u16::try_from(number(address, 1)?).ok()?;
    let flow = if len > 2 { number(address, 2).filter(|&flow| flow <= MAX_FLOW)? } else { 0 };
    let scope = if len > 3 { number(address, 3)? } else { 0 };
    Some(Name::v6(ip, port, flow, scope))
}

fn host<'a>(address: &'a Bound<'_, PyTuple>) -> Option<&'a str> {
    let host = address.get_borrowed_item(0).ok()?;
    if !host.is_exact_instance_of::<PyString>() {
        return None;
    }
    let mut len = 0;
    // SAFETY: an exact str, which keeps its UTF-8 for as long as it lives; the tuple holds it.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(host.as_ptr(), &raw mut len);
        if text.is_null() {
            // Surrogates: no literal address.
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = std::slice::from_raw_parts(text.cast(), usize::try_from(len).ok()?);
        std::str::from_utf8(bytes).ok()
    }
}

fn number(address: &Bound<'_, PyTuple>, at: usize) -> Option<u32> {
    let number = address.get_borrowed_item(at).ok()?;
    if !number.is_exact_instance_of::<PyInt>() {
        return None;
    }
    // SAFETY: an exact int: no Python runs. An overflow is taken back.
    let value = unsafe {
        let value = ffi::PyLong_AsLongLong(number.as_ptr());
        if value == -1 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
        }
        value
    };
    u32::try_from(value).ok()
}

fn unix(address: &Bound<'_, PyAny>) -> Option<Name> {
    if let Ok(path) = address.cast_exact::<PyBytes>() {
        return Name::unix(path.as_bytes());
    }
    let text = address.cast_exact::<PyString>().ok()?;
    // SAFETY: an exact str; returns new bytes or null with an exception.
    let bytes = unsafe {
        Bound::from_owned_ptr_or_err(text.py(), ffi::PyUnicode_EncodeFSDefault(text.as_ptr()))
    };
    Name::unix(bytes.ok()?.cast::<PyBytes>().ok()?.as_bytes())
}
