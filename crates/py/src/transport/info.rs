//! What a transport tells about itself: extra information and asyncio's private names, which
//! programs read.
//!
//! The dict behind `get_extra_info` is made when somebody asks: most connections of a server are
//! never asked.

use oxloop_engine::Address;
use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::types::{Kind, base_slots};
use super::{Tls, Transport, address, child};
use crate::hooks::hooks;
use crate::native::NativeProtocol;
use crate::raw::{Arguments, Lookup, Ref, call_forwarding, slot};
use crate::streams;

impl Transport<'_> {
    pub(super) fn get_extra(py: Python<'_>, this: Transport<'_>) -> PyResult<Ref> {
        let place = this.base_slot(base_slots().0);
        // SAFETY: a slot of a live instance: null or an object.
        unsafe {
            if !(*place).is_null() {
                return Ok(Ref::from_borrowed(*place));
            }
        }
        let extra: Ref = this.make_extra(py)?.into();
        this.put_base_slot(base_slots().0, Some(extra.clone_ref(py)));
        Ok(extra)
    }

    /// `get_extra_info(name, default=None)`. What says whether a connection is protected, as every
    /// stream asks, and the address of the peer do not make the dict.
    pub(super) fn py_get_extra_info(
        py: Python<'_>,
        this: Transport<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<Ref> {
        // SAFETY: a slot of a live instance, compared with null.
        let made = unsafe { !(*this.base_slot(base_slots().0)).is_null() };
        if let (false, &[name]) = (made, arguments.positional)
            && arguments.has_no_keywords()
            && let Some(info) = this.simple_extra(py, name)?
        {
            return Ok(info);
        }
        let inherited = hooks().get(py, "FlowControlMixin")?.attribute("get_extra_info")?;
        let this = Ref::from(this.bind(py));
        let given = arguments.positional.iter().copied();
        let given: Vec<_> = std::iter::once(this.as_ptr()).chain(given).collect();
        call_forwarding(py, &inherited.into(), &given, &arguments)
    }

    fn simple_extra(self, py: Python<'_>, name: *mut ffi::PyObject) -> PyResult<Option<Ref>> {
        if name == hooks().names.peername.as_ptr() {
            return match self.tail.peer.get() {
                Some(peer @ (Address::V4(_) | Address::V6(_))) => {
                    Ok(Some(address::to_python(py, &peer)?.into()))
                }
                _ => Ok(None),
            };
        }
        // SAFETY: a frozenset and a live object.
        match unsafe { ffi::PySet_Contains(hooks().others_extra.as_ptr(), name) } {
            -1 => Err(PyErr::fetch(py)),
            0 => Ok(None),
            _ => Ok(Some(py.None().into_bound(py).into())),
        }
    }

    pub(super) fn set_extra(
        _py: Python<'_>,
        this: Transport<'_>,
        value: Option<Borrowed<'_, '_, PyAny>>,
    ) -> PyResult<()> {
        this.put_base_slot(base_slots().0, value.map(|value| Ref::from(&*value)));
        Ok(())
    }

    fn make_extra<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.remember_local();
        let extra = PyDict::new(py);
        let address_of = |address: &Option<Address>| match address {
            Some(address) => address::to_python(py, address),
            None => Ok(py.None().into_bound(py)),
        };
        let (local, peer) = (self.tail.local.get(), self.tail.peer.get());
        let sock = self.socket_object(py)?;
        if !matches!(local, None | Some(Address::V4(_) | Address::V6(_))) {
            hooks().get(py, "add_credentials")?.call1((&extra, &sock))?;
        }
        extra.set_item("socket", hooks().get(py, "transport_socket")?.call1((sock,))?)?;
        extra.set_item("sockname", address_of(&local)?)?;
        extra.set_item("peername", address_of(&peer)?)?;
        Ok(extra)
    }

    /// The Python socket, made if need be; a closed one if the connection is over.
    fn socket_object<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(sock) = self.tail.sock.get(py) {
            return Ok(sock.bind(py).clone());
        }
        let socket = &self.tail.socket;
        match socket.fd.get() {
            Some(fd) if socket.bare.get() => {
                let sock = hooks().get(py, "socket_of_fd")?.call1((fd.raw(),))?;
                socket.bare.set(false);
                self.tail.sock.set(Some((&sock).into()));
                Ok(sock)
            }
            _ => hooks().get(py, "closed_socket")?.call0(),
        }
    }

    /// Before the socket is closed: what may still be asked for later.
    pub(super) fn remember_addresses(self, _py: Python<'_>) {
        // SAFETY: a slot of a live instance, compared with null.
        let asked = unsafe { !(*self.base_slot(base_slots().0)).is_null() };
        if !asked && self.tail.kind == Kind::Stream {
            self.remember_local();
        }
    }

    fn remember_local(self) {
        let local = &self.tail.local;
        if local.is_unknown()
            && self.is_open()
            && let Some(fd) = self.tail.socket.fd.get()
        {
            local.set(oxloop_os::socket::local_address(fd).ok());
        }
    }

    fn base_slot(self, offset: isize) -> *mut *mut ffi::PyObject {
        // SAFETY: an offset of the base of a live instance.
        unsafe { slot(self.object, offset) }
    }

    pub(super) fn put_base_slot(self, offset: isize, value: Option<Ref>) {
        let value = value.map_or(std::ptr::null_mut(), Ref::into_ptr);
        // SAFETY: the slot is filled before the old reference is dropped.
        unsafe {
            let old = std::ptr::replace(self.base_slot(offset), value);
            ffi::Py_XDECREF(old);
        }
    }

    /// `_loop` is None once the connection is lost, as in asyncio.
    pub(super) fn forget_loop(self, py: Python<'_>) {
        self.put_base_slot(base_slots().1, Some(py.None().into_bound(py).into()));
    }

    /// Makes `protocol` the one that is called.
    pub(super) fn use_protocol(self, py: Python<'_>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        // asyncio's pipe transports know no BufferedProtocol.
        // A TLS transport reads into memory of its own, too.
        let protected = self.tail.kind == Kind::Stream && Tls::of(&Ref::from(protocol)).is_some();
        let buffered = protected
            || self.tail.kind == Kind::Stream
                && protocol.is_instance(hooks().buffered_protocol.bind(py))?;
        self.tail.protected.set(protected);
        self.tail.native.set(NativeProtocol::is(py, protocol));
        let of_child = self.tail.kind == Kind::ReadPipe && child::is_pipe_protocol(protocol);
        self.tail.of_child.set(of_child);
        self.tail.buffered.set(buffered);
        self.tail.connected.set(true);
        let inflow = streams::adopt(py, protocol);
        let old =
            (self.tail.protocol.replace(Some(protocol.into())), self.tail.inflow.replace(inflow));
        if let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) {
            owner.engine().set_offered(stream, buffered);
        }
        drop(old);
        Ok(())
    }

    pub(super) fn log_debug(self, py: Python<'_>, what: &str) -> PyResult<()> {
        hooks().get(py, "log_transport")?.call1((self.bind(py), what)).map(drop)
    }

    /// Of a connection that carries TLS: a view with the names of asyncio's `SSLProtocol`.
    pub(super) fn py_get_protocol(py: Python<'_>, this: Transport<'_>) -> PyResult<Option<Ref>> {
        let protocol = this.tail.protocol.get(py);
        match protocol.as_ref().and_then(Tls::of) {
            Some(upper) => Tls::get_ssl_protocol(py, upper).map(|view| Some(view.into())),
            None => Ok(protocol),
        }
    }

    pub(super) fn py_set_protocol(
        py: Python<'_>,
        this: Transport<'_>,
        protocol: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        NativeProtocol::is_set_on(&protocol, &this.bind(py));
        this.use_protocol(py, &protocol)
    }

    pub(super) fn get_protocol(py: Python<'_>, this: Transport<'_>) -> PyResult<Option<Ref>> {
        Transport::py_get_protocol(py, this)
    }

    pub(super) fn set_protocol(
        py: Python<'_>,
        this: Transport<'_>,
        protocol: Option<Borrowed<'_, '_, PyAny>>,
    ) -> PyResult<()> {
        match protocol {
            Some(protocol) if !protocol.is_none() => this.use_protocol(py, &protocol),
            _ => {
                this.tail.protocol.set(None);
                Ok(())
            }
        }
    }

    pub(super) fn get_sock<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if this.is_open() { this.socket_object(py) } else { Ok(py.None().into_bound(py)) }
    }

    pub(super) fn get_sock_fd<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fd = this.tail.socket.fd.get().map_or(-1, oxloop_engine::Fd::raw);
        Ok(fd.into_pyobject(py)?.into_any())
    }

    pub(super) fn get_server(py: Python<'_>, this: Transport<'_>) -> PyResult<Option<Ref>> {
        Ok(this.tail.server.get(py))
    }

    pub(super) fn get_paused(_py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(this.tail.paused.get())
    }

    pub(super) fn get_eof(_py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(this.tail.eof_written.get())
    }

    pub(super) fn get_connected(_py: Python<'_>, this: Transport<'_>) -> PyResult<bool> {
        Ok(this.tail.connected.get())
    }

    pub(super) fn get_lost<'py>(
        py: Python<'py>,
        this: Transport<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(this.tail.lost.get().into_pyobject(py)?.into_any())
    }
}
