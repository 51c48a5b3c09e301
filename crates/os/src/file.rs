//! Calls on descriptors of any kind: pipes, terminals, and whatever else reads and writes.

use std::io::{self, IoSlice};

use rustix::fs::{FileType, fstat, fstatfs};
use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionbio};

use crate::fd::Fd;

/// What kind of file a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A pipe, with a name or without.
    Pipe,
    Socket,
    /// A character device: a terminal, `/dev/null`.
    Character,
    Other,
}

/// Reads what is there into `buffer`; 0 is the end of the file (or an empty buffer).
pub fn read(fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd.borrow(), buffer)?)
}

/// Writes as much as the kernel takes.
pub fn write(fd: Fd, data: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd.borrow(), data)?)
}

/// As [`write`], of several pieces in one call.
pub fn write_vectored(fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::io::writev(fd.borrow(), pieces)?)
}

/// What `fd` is.
pub fn kind(fd: Fd) -> io::Result<FileKind> {
    Ok(match FileType::from_raw_mode(fstat(fd.borrow())?.st_mode) {
        FileType::Fifo => FileKind::Pipe,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::Character,
        _ => FileKind::Other,
    })
}

/// Whether a pipe has a name in a file system, so that anybody may have opened it.
pub fn has_name(pipe: Fd) -> bool {
    const PIPEFS: i64 = 0x5049_5045;
    #[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    fstatfs(pipe.borrow()).is_ok_and(|system| system.f_type as i64 != PIPEFS)
}

/// Makes reads and writes answer `EAGAIN` rather than wait; for everybody who shares the open file.
pub fn set_nonblocking(fd: Fd) -> io::Result<()> {
    Ok(ioctl_fionbio(fd.borrow(), true)?)
}

/// Another descriptor of the same open file, not inherited by children. The caller's to close.
pub fn duplicate(fd: Fd) -> io::Result<Fd> {
    Ok(Fd::from_owned(fcntl_dupfd_cloexec(fd.borrow(), 3)?))
}
