//! A descriptor that ends a wait from another thread: an eventfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::write;

/// Tells whoever watches it for edges: each [`Wake::ring`] is one. Nobody reads it, which spares a
/// system call for each.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Wake> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake(fd))
    }

    /// Cannot fail: the counter has room for 2^64 - 2 calls.
    pub(crate) fn ring(&self) {
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
