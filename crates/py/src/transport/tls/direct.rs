//! A session directly over the `SSL` that an `ssl.SSLObject` holds.
//!
//! The handshake goes through the object; so does, once more, what failed: so that the exception is
//! the one that `_ssl` makes.

use std::ffi::{c_int, c_void};

use oxloop_engine::{Progress, Taken};
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::object::{Outcome as ObjectOutcome, attempt};
use super::openssl::{Direct, Outcome};
use super::session::{attached, value_of};
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref};

#[derive(Debug)]
pub(crate) struct DirectSession {
    /// The `_ssl._SSLSocket`, which owns the `SSL`.
    object: Ref,
    direct: Direct,
}

impl DirectSession {
    /// `None` if `object`, an unused SSLObject, has to be used as one.
    pub(super) fn new(object: &Bound<'_, PyAny>) -> PyResult<Option<DirectSession>> {
        let py = object.py();
        let suitable = hooks().get(py, "may_go_direct")?.call1((object,))?;
        if !suitable.is_truthy()? {
            return Ok(None);
        }
        let object = object.attribute("_sslobj")?;
        let direct = Direct::attach(&object);
        Ok(direct.map(|direct| DirectSession { object: object.into(), direct }))
    }

    /// # Safety
    /// For `tp_traverse`.
    pub(super) unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: by contract.
        unsafe { visit(self.object.as_ptr(), arg) }
    }

    pub(super) fn feed(&self, ciphertext: &[u8]) -> Result<(), Ref> {
        if self.direct.wire().feed(ciphertext) {
            Ok(())
        } else {
            Err(value_of(attached(), PyMemoryError::new_err(())))
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.direct.wire().waiting()
    }

    pub(super) fn has_more(&self) -> bool {
        self.unread() > 0 || self.direct.has_plaintext()
    }

    pub(super) fn output_len(&self) -> usize {
        self.direct.wire().output_len()
    }

    pub(super) fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), Ref> {
        let output = self.direct.wire().take_output();
        sink(&output);
        self.direct.wire().recycle(output);
        Ok(())
    }

    pub(super) fn handshake(&self) -> Result<Progress, Ref> {
        let py = attached();
        match attempt(py, &self.object, &hooks().names.do_handshake, &[])? {
            ObjectOutcome::Value(_) => Ok(Progress::Done),
            ObjectOutcome::Blocked | ObjectOutcome::Ended => Ok(Progress::Blocked),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Taken, Ref> {
        let outcome = self.direct.read(buffer);
        self.check_callbacks()?;
        match outcome {
            Outcome::Bytes(count) => Ok(Taken::Bytes(count)),
            Outcome::Blocked => Ok(Taken::Blocked),
            Outcome::Ended => Ok(Taken::Ended),
            Outcome::Failed => self.fail(&hooks().names.read, 1).map(|()| Taken::Blocked),
        }
    }

    pub(super) fn write(&self, plaintext: &[u8]) -> Result<Option<usize>, Ref> {
        let outcome = self.direct.write(plaintext);
        self.check_callbacks()?;
        match outcome {
            Outcome::Bytes(count) => Ok(Some(count)),
            Outcome::Blocked | Outcome::Ended => Ok(None),
            Outcome::Failed => self.fail(&hooks().names.read, 1).map(|()| None),
        }
    }

    pub(super) fn shutdown(&self) -> Result<Progress, Ref> {
        let outcome = self.direct.shutdown();
        self.check_callbacks()?;
        match outcome {
            Outcome::Ended => Ok(Progress::Done),
            Outcome::Blocked | Outcome::Bytes(_) => Ok(Progress::Blocked),
            Outcome::Failed => self.fail(&hooks().names.read, 1).map(|()| Progress::Blocked),
        }
    }

    /// Callbacks of `_ssl` report what they raise, or keep it for its next call; should one have
    /// left an exception set, it is ours to take.
    fn check_callbacks(&self) -> Result<(), Ref> {
        // SAFETY: attached.
        if unsafe { ffi::PyErr_Occurred() }.is_null() {
            return Ok(());
        }
        let py = attached();
        Err(value_of(py, PyErr::fetch(py)))
    }

    /// Something failed, and OpenSSL's queue of errors says what: the object makes an exception of
    /// that when it fails as well.
    #[cold]
    fn fail(&self, name: &Ref, size: usize) -> Result<(), Ref> {
        let py = attached();
        let size: Ref = pyo3::types::PyInt::new(py, size).into();
        let outcome = attempt(py, &self.object, name, &[&size]);
        self.direct.forget_errors();
        match outcome? {
            ObjectOutcome::Blocked => Ok(()),
            ObjectOutcome::Value(_) | ObjectOutcome::Ended => {
                let unknown = hooks().get(py, "tls_unknown_error").and_then(|make| make.call0());
                Err(unknown.map_or_else(|error| value_of(py, error), Ref::from))
            }
        }
    }
}
