//! The sending half: `sendto`.

use oxloop_engine::{Key, Name, Wrote};
use pyo3::exceptions::{
    PyBlockingIOError, PyInterruptedError, PyOSError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use super::super::read::call_method;
use super::super::{Owner, Transport};
use super::Connection;
use crate::errors::os_error;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::host::HeldBytes;
use crate::raw::{Arguments, Lookup, Ref, View};

impl Transport<'_> {
    /// `sendto(data, addr=None)`.
    #[inline]
    pub(in super::super) fn py_sendto(
        py: Python<'_>,
        this: Transport<'_>,
        arguments: Arguments<'_>,
    ) -> PyResult<()> {
        let (data, address) = match *arguments.positional {
            // SAFETY: borrowed for the call.
            [data, address] if arguments.has_no_keywords() => unsafe {
                (Bound::from_borrowed_ptr(py, data), Bound::from_borrowed_ptr(py, address))
            },
            _ => read_arguments(py, arguments)?,
        };
        check_type(py, &data)?;
        this.send_to(py, &data, address)
    }

    #[inline]
    fn send_to<'py>(
        self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        mut address: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let mailbox = self.mailbox()?;
        if let Some(own) = mailbox.address.get(py) {
            let own = own.bind(py);
            if !address.is_none() && !address.is(own) && !address.eq(own)? {
                let text = format!("Invalid address: must be None or {}", own.str()?);
                return Err(PyValueError::new_err(text));
            }
            if self.tail.lost.get() > 0 {
                return self.note_lost_write(py);
            }
            address = own.clone();
        }
        let (Some(owner), Some(key)) = (self.owner(py), self.stream()) else {
            return self.note_lost_write(py);
        };
        let unnamed = match mailbox.connection.get() {
            Connection::Named => true,
            Connection::Nameless => address.is_none(),
            Connection::None => false,
        };
        let sent = self.post(py, &owner, key, data, (!unnamed).then_some(&address));
        match sent {
            Ok(Some(wrote)) => self.sent(py, wrote),
            Ok(None) => self.send_slowly(py, &owner, key, data, &address),
            Err(error) => self.send_failed(py, error),
        }
    }

    /// Gives a datagram to the engine; `None` if `address` has to be looked at by Python.
    #[inline]
    fn post(
        self,
        py: Python<'_>,
        owner: &Owner<'_>,
        key: Key,
        data: &Bound<'_, PyAny>,
        address: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Wrote>> {
        if let Some(address) = address
            && !self.is_known(py, address)?
        {
            return Ok(None);
        }
        let send = |bytes: &[u8], held: Option<HeldBytes>| -> PyResult<Option<Wrote>> {
            let peers = self.mailbox()?.peers.borrow();
            let to: Option<&Name> = match address.map(|address| peers.name_of(address.as_ptr())) {
                Some(None) => return Ok(None),
                Some(name) => name,
                None => None,
            };
            Ok(Some(owner.engine().send_datagram(key, to, bytes, || held)))
        };
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return send(bytes.as_bytes(), Some(HeldBytes::new(bytes.as_any().into())));
        }
        let view = View::readable(data)?;
        let wrote = send(view.bytes(), None);
        drop(view);
        wrote
    }

    /// Makes sure that the peers know the name of `address`, if it can be told.
    #[inline]
    fn is_known(self, _py: Python<'_>, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let mailbox = self.mailbox()?;
        if mailbox.peers.borrow().name_of(address.as_ptr()).is_some() {
            return Ok(true);
        }
        let name = mailbox.family.name(address);
        Ok(name.is_some_and(|name| {
            mailbox.peers.borrow_mut().note_given(name, address.into());
            true
        }))
    }

    fn sent(self, py: Python<'_>, wrote: Wrote) -> PyResult<()> {
        match wrote {
            Wrote::Fine => Ok(()),
            Wrote::Pause => self.tell_flow(py, &hooks().names.pause_writing, "pause_writing"),
            Wrote::Closed => self.note_lost_write(py),
            Wrote::Failed(error) => {
                let error = os_error(py, &error);
                if error.is_instance_of::<PyOSError>(py) {
                    self.send_failed(py, error)
                } else {
                    // Out of memory: the caller's to know; the transport is none the worse.
                    Err(error)
                }
            }
        }
    }

    /// `address` may be a name to look up, or nonsense: Python's own socket knows. What it cannot
    /// send now is queued under the literal address.
    #[cold]
    fn send_slowly(
        self,
        py: Python<'_>,
        owner: &Owner<'_>,
        key: Key,
        data: &Bound<'_, PyAny>,
        address: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let is_next = owner.engine().send_queued(key);
        let Some(sock) = self.tail.sock.get(py) else { return self.note_lost_write(py) };
        if is_next {
            match sock.bind(py).method1("sendto", (data, address)) {
                Ok(_) => return Ok(()),
                Err(error) if is_blocked(py, &error) => {}
                Err(error) => return self.send_failed(py, error),
            }
        }
        let literal = hooks().get(py, "literal_address")?.call1((sock.bind(py), address));
        match literal.and_then(|literal| self.post(py, owner, key, data, Some(&literal))) {
            Ok(Some(wrote)) => self.sent(py, wrote),
            Ok(None) => self.send_failed(
                py,
                PyTypeError::new_err("invalid address: give what socket.sendto() takes"),
            ),
            Err(error) => self.send_failed(py, error),
        }
    }

    /// OSErrors are told to the protocol, what else went wrong ends the transport.
    #[cold]
    fn send_failed(self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if is_exit(py, &error) {
            return Err(error);
        }
        if !error.is_instance_of::<PyOSError>(py) {
            return self.fatal_error(py, error, self.tail.kind.write_error());
        }
        let Some(protocol) = self.tail.protocol.get(py) else { return Ok(()) };
        let error: Ref = error.into_value(py).into_bound(py).into_any().into();
        call_method(py, &protocol, &hooks().names.error_received, Some(&error)).map(drop)
    }
}

fn is_blocked(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py)
}

#[inline]
fn check_type(_py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let fits = data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>();
    if fits {
        return Ok(());
    }
    let name = data.get_type().name()?.repr()?;
    let text = format!("data argument must be a bytes-like object, not {name}");
    Err(PyTypeError::new_err(text))
}

/// `(data, addr)`, however they were given.
#[cold]
fn read_arguments<'py>(
    py: Python<'py>,
    arguments: Arguments<'_>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let positional = arguments.positional;
    if positional.len() > 2 {
        let text =
            format!("sendto() takes 2 positional arguments but {} were given", positional.len());
        return Err(PyTypeError::new_err(text));
    }
    // SAFETY: borrowed for the call.
    let given =
        |at: usize| unsafe { positional.get(at).map(|&value| Bound::from_borrowed_ptr(py, value)) };
    let mut found = [given(0), given(1)];
    if let Some(keywords) = arguments.keywords(py)? {
        for (name, value) in keywords {
            let name: Bound<'_, PyString> = name.cast_into()?;
            let at = match &*name.to_string_lossy() {
                "data" => 0,
                "addr" => 1,
                other => {
                    let text = format!("sendto() got an unexpected keyword argument '{other}'");
                    return Err(PyTypeError::new_err(text));
                }
            };
            if found[at].replace(value).is_some() {
                let text = format!("sendto() got multiple values for argument '{name}'");
                return Err(PyTypeError::new_err(text));
            }
        }
    }
    let [data, address] = found;
    let missing = "sendto() missing 1 required positional argument: 'data'";
    let data = data.ok_or_else(|| PyTypeError::new_err(missing))?;
    Ok((data, address.unwrap_or_else(|| py.None().into_bound(py))))
}
