//! Descriptor numbers as an event loop meets them.
//!
//! `add_reader(7, …)` hands us a number whose file somebody else owns and may close at any moment.
//! [`Fd`] is such a number: never negative, nothing promised beyond that; every call on it may
//! answer `EBADF`.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// Whether an error says that there are no descriptors or there is no memory at the moment.
pub fn is_shortage(error: &io::Error) -> bool {
    let code = Errno::from_io_error(error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::NOSPC))
}

/// A descriptor number, not negative. Copying it does not duplicate the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fd(RawFd);

impl Fd {
    /// `None` for negative numbers, which no descriptor has.
    pub fn new(raw: RawFd) -> Option<Fd> {
        (raw >= 0).then_some(Fd(raw))
    }

    /// The number.
    pub fn raw(self) -> RawFd {
        self.0
    }

    /// Takes the number out of an owner; whoever gets the [`Fd`] closes it.
    pub fn from_owned(fd: OwnedFd) -> Fd {
        Fd(fd.into_raw_fd())
    }

    /// The owner of the descriptor. Only who owns it may call this, once, as with [`Fd::close`].
    pub fn into_owned(self) -> OwnedFd {
        // SAFETY: by this function's contract the caller owns the descriptor and gives it up here.
        unsafe { OwnedFd::from_raw_fd(self.0) }
    }

    /// Closes the descriptor. Only its owner may call this, once: the number can be another file's
    /// right afterwards. Errors are of no use to anyone (the descriptor is gone either way).
    pub fn close(self) {
        drop(self.into_owned());
    }

    pub(crate) fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1 (`new`), which is all that memory safety asks. Should its
        // owner have closed it, the kernel answers EBADF, or acts on the number's next file, which
        // is what the same call on a bare number does in Python.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}
