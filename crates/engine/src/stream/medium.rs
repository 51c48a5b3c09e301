//! What a stream is made of: which system calls carry its bytes.

use std::io::{self, IoSlice};

use oxloop_os::Fd;

use crate::kernel::Kernel;

/// Which end of a pipe a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reading,
    /// What is readable about it is that nobody reads any more.
    Writing {
        /// Others may write to the same file, so no write waits to be joined by the next: what was
        /// written first is to be there first.
        at_once: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Socket,
    Pipe(End),
}

impl Medium {
    pub(super) fn is_only_written(self) -> bool {
        matches!(self, Medium::Pipe(End::Writing { .. }))
    }

    #[inline]
    pub(super) fn writes_at_once(self) -> bool {
        matches!(self, Medium::Pipe(End::Writing { at_once: true }))
    }

    #[inline]
    pub(super) fn read<K: Kernel>(
        self,
        kernel: &K,
        fd: Fd,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        match self {
            Medium::Socket => kernel.receive(fd, buffer),
            Medium::Pipe(_) => kernel.read(fd, buffer),
        }
    }

    #[inline]
    pub(super) fn write<K: Kernel>(self, kernel: &K, fd: Fd, data: &[u8]) -> io::Result<usize> {
        match self {
            Medium::Socket => kernel.send(fd, data),
            Medium::Pipe(_) => kernel.write(fd, data),
        }
    }

    #[inline]
    pub(super) fn write_vectored<K: Kernel>(
        self,
        kernel: &K,
        fd: Fd,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match self {
            Medium::Socket => kernel.send_vectored(fd, pieces),
            Medium::Pipe(_) => kernel.write_vectored(fd, pieces),
        }
    }
}
