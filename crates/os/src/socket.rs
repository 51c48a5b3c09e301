//! Calls on sockets: non-blocking, one system call each.

use std::io::{self, IoSlice};
use std::net::{SocketAddrV4, SocketAddrV6};

use rustix::net::{
    self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrAny,
    SocketAddrUnix,
};

use crate::fd::Fd;
use crate::peer;

/// Where a socket is bound or connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    V4(SocketAddrV4),
    V6(SocketAddrV6),
    /// A path of the file system; empty for a socket without a name.
    UnixPath(Vec<u8>),
    /// A name of Linux' abstract namespace, without its leading zero byte.
    UnixAbstract(Vec<u8>),
    /// A family that this crate does not read.
    Other,
}

/// Receives what is there into `buffer`; 0 is the end of the stream (or an empty buffer).
#[inline]
pub fn receive(fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, _) = net::recv(fd.borrow(), buffer, RecvFlags::empty())?;
    Ok(count)
}

/// As [`receive`], of a socket that may be a blocking one: never waits.
pub fn try_receive(fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, _) = net::recv(fd.borrow(), buffer, RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// Sends as much as the kernel takes. A peer that is gone is `EPIPE`, never a signal.
#[inline]
pub fn send(fd: Fd, data: &[u8]) -> io::Result<usize> {
    Ok(net::send(fd.borrow(), data, SendFlags::NOSIGNAL)?)
}

/// As [`send`], on a socket that may be a blocking one: never waits.
pub fn try_send(fd: Fd, data: &[u8]) -> io::Result<usize> {
    Ok(net::send(fd.borrow(), data, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

/// As [`send`], of several pieces in one call.
pub fn send_vectored(fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut control = SendAncillaryBuffer::default();
    Ok(net::sendmsg(fd.borrow(), pieces, &mut control, SendFlags::NOSIGNAL)?)
}

/// Sends up to `count` bytes of `file` from `offset` on, as much as the kernel takes; 0 is the end of
/// the file. The position of the file stays where it is.
pub fn send_file(fd: Fd, file: Fd, offset: u64, count: usize) -> io::Result<usize> {
    let mut offset = offset;
    Ok(rustix::fs::sendfile(fd.borrow(), file.borrow(), Some(&mut offset), count)?)
}

/// Says that nothing more will be sent.
pub fn shutdown_write(fd: Fd) -> io::Result<()> {
    Ok(net::shutdown(fd.borrow(), Shutdown::Write)?)
}

/// Takes one connection from a listening socket; it is non-blocking and not inherited by children.
pub fn accept(listener: Fd) -> io::Result<(Fd, Address)> {
    let (socket, name) = peer::accept(listener)?;
    Ok((socket, name.address()))
}

/// The address that the socket is bound to.
pub fn local_address(fd: Fd) -> io::Result<Address> {
    Ok(net::getsockname(fd.borrow())?.into())
}

/// Turns Nagle's algorithm off; other sockets than TCP's answer with an error.
pub fn set_nodelay(fd: Fd) -> io::Result<()> {
    Ok(net::sockopt::set_tcp_nodelay(fd.borrow(), true)?)
}

impl From<SocketAddrAny> for Address {
    fn from(any: SocketAddrAny) -> Address {
        let family = any.address_family();
        let known = match family {
            AddressFamily::INET => any.try_into().map(Address::V4).ok(),
            AddressFamily::INET6 => any.try_into().map(Address::V6).ok(),
            AddressFamily::UNIX => any.try_into().map(|unix| unix_name(&unix)).ok(),
            _ => None,
        };
        known.unwrap_or(Address::Other)
    }
}

fn unix_name(address: &SocketAddrUnix) -> Address {
    match (address.path_bytes(), address.abstract_name()) {
        (Some(path), _) => Address::UnixPath(path.to_vec()),
        (None, Some(name)) => Address::UnixAbstract(name.to_vec()),
        (None, None) => Address::UnixPath(Vec::new()),
    }
}
