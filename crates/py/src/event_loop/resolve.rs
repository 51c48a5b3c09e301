//! Names of hosts: what `getaddrinfo` and `getnameinfo` are made of.
//!
//! What is written out (addresses, port numbers) is answered at once, everything else on the
//! engine's threads. The coroutines in `oxloop._resolver` take arguments of the usual types here;
//! the others go to the `socket` module, as does everything when that has been replaced.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};

use oxloop_engine::{Answer, Found, Key, Query, needs_no_network};
use oxloop_os::Name;
use oxloop_os::resolve;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};

use super::{Loop, LoopRef};
use crate::errors::os_error;
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref};
use crate::transport::address_to_python;

const UNSPECIFIED: i32 = 0;
/// Flags that change nothing about a literal address.
const HARMLESS: i32 = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
const AI_PASSIVE: i32 = 0x1;
const AI_NUMERICHOST: i32 = 0x4;
const AI_NUMERICSERV: i32 = 0x400;

/// What `getaddrinfo` looks for, beyond host and service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) family: i32,
    pub(super) kind: i32,
    pub(super) protocol: i32,
    pub(super) flags: i32,
}

/// The commonest lookup, without the C library: a literal address, a port number, one kind of
/// socket. `None` for everything else.
pub(super) fn literal<'py>(
    py: Python<'py>,
    host: &Bound<'py, PyAny>,
    port: &Bound<'py, PyAny>,
    wanted: Wanted,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    const TCP: (i32, i32) = (1, 6);
    const UDP: (i32, i32) = (2, 17);
    let protocol = match (wanted.kind, wanted.protocol) {
        (1, 0) | TCP => 6,
        (2, 0) | UDP => 17,
        _ => return Ok(None),
    };
    let (Ok(host), Ok(number)) = (host.cast_exact::<PyString>(), port.cast_exact::<PyInt>()) else {
        return Ok(None);
    };
    let (Ok(text), Ok(number)) = (host.to_str(), number.extract::<u16>()) else { return Ok(None) };
    if wanted.flags & !HARMLESS != 0 {
        return Ok(None);
    }
    let enums = &hooks().socket_enums;
    let (family, address) = if text.parse::<Ipv4Addr>().is_ok() {
        // Such a text is the only one for its address: it is the result's as well.
        (&enums.inet, (host, port).into_pyobject(py)?.into_any())
    } else if let Ok(ip) = text.parse::<Ipv6Addr>() {
        let name = Name::v6(ip, number, 0, 0);
        (&enums.inet6, address_to_python(py, &name.address())?)
    } else {
        return Ok(None);
    };
    if wanted.family != UNSPECIFIED && wanted.family != family.0 {
        return Ok(None);
    }
    let kind = if wanted.kind == 1 { &enums.stream } else { &enums.datagram };
    let entry = (family.1.bind(py), kind.bind(py), protocol, &enums.no_name.bind(py), address);
    Ok(Some(PyList::new(py, [entry.into_pyobject(py)?])?.into_any()))
}

/// `getaddrinfo` of what is usual: a list if it needs no network, otherwise a future and what
/// [`forget`] takes.
pub(super) fn addresses<'py>(
    slf: &Bound<'py, Loop>,
    host: Option<&[u8]>,
    service: Option<&[u8]>,
    wanted: Wanted,
) -> PyResult<Bound<'py, PyAny>> {
    let at_once = needs_no_network(host, service);
    let text = |text: Option<&[u8]>| text.map(CString::new).transpose();
    let Wanted { family, kind, protocol, flags } = wanted;
    // The caller has looked for zero bytes.
    let (host, service) = (text(host)?, text(service)?);
    ask(slf, Query::Addresses { host, service, family, kind, protocol, flags }, at_once)
}

/// `getnameinfo` of a literal address, in the same way; `None` if it is none.
pub(super) fn names<'py>(
    slf: &Bound<'py, Loop>,
    host: &str,
    port: u16,
    scope: Option<(u32, u32)>,
    flags: i32,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let of = match (host.parse::<Ipv4Addr>(), host.parse::<Ipv6Addr>(), scope) {
        (Ok(ip), _, None) => Name::v4(ip, port),
        (_, Ok(ip), scope) => {
            let (flowinfo, scope) = scope.unwrap_or_default();
            Name::v6(ip, port, flowinfo, scope)
        }
        _ => return Ok(None),
    };
    const NUMERIC: i32 = 0x1 | 0x2;
    let at_once = flags & NUMERIC == NUMERIC;
    ask(slf, Query::Names { of, flags }, at_once).map(Some)
}

fn ask<'py>(slf: &Bound<'py, Loop>, query: Query, at_once: bool) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (slf.py(), slf.get());
    if at_once {
        return to_python(py, resolve::look_up(&query));
    }
    // SAFETY: an instance of Loop, alive for the call.
    let native = unsafe { LoopRef::from_self(slf.as_ptr()) };
    let future = super::tasks::create_future(py, native)?;
    let asked = this.engine().look_up(query, future.clone_ref(py));
    match asked {
        Ok(key) => Ok((future.bind(py), key.token()).into_pyobject(py)?.into_any()),
        Err((error, conn)) => {
            drop(conn);
            Err(os_error(py, &error))
        }
    }
}

/// Nobody waits for the answer any more.
pub(super) fn forget(this: &Loop, token: u64) {
    let waiting = this.engine().forget_lookup(Key::from_token(token));
    drop(waiting);
}

/// An answer has come for a future.
pub(super) fn resolved(py: Python<'_>, future: &Ref, answer: Answer) -> PyResult<()> {
    let future = future.bind(py);
    if future.method0("done")?.is_truthy()? {
        return Ok(());
    }
    match to_python(py, answer) {
        Ok(result) => future.method1("set_result", (result,)),
        Err(error) => future.method1("set_exception", (error.into_value(py),)),
    }
    .map(drop)
}

fn to_python(py: Python<'_>, answer: Answer) -> PyResult<Bound<'_, PyAny>> {
    match answer {
        Answer::Addresses(found) => {
            let found = found.iter().map(|one| entry(py, one)).collect::<PyResult<Vec<_>>>()?;
            hooks().get(py, "addrinfo")?.call1((found,))
        }
        Answer::Names(host, service) => {
            let decode = hooks().get(py, "fsdecode")?;
            let host = decode.call1((PyBytes::new(py, &host),))?;
            let service = decode.call1((PyBytes::new(py, &service),))?;
            Ok((host, service).into_pyobject(py)?.into_any())
        }
        Answer::Refused(code, text) => {
            let text = String::from_utf8_lossy(&text);
            let error = hooks().get(py, "gaierror")?.call1((code, text))?;
            Err(PyErr::from_value(error))
        }
        Answer::Failed(error) => Err(os_error(py, &error)),
    }
}

/// An entry with plain numbers; `oxloop._hooks` makes enums of them.
fn entry<'py>(py: Python<'py>, found: &Found) -> PyResult<Bound<'py, PyAny>> {
    let canonical = PyBytes::new(py, found.canonical.as_deref().unwrap_or_default());
    let canonical = canonical.method0("decode")?;
    let address = address_to_python(py, &found.name.address())?;
    let entry = (found.family, found.kind, found.protocol, canonical, address);
    Ok(entry.into_pyobject(py)?.into_any())
}
