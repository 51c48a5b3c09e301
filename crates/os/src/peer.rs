//! Calls on sockets that come with the name of the other end. None of them waits for data or room,
//! also of a socket that is a blocking one; `connect` and `accept` do as the socket does.

use std::io;

use crate::fd::Fd;
use crate::name::Name;

/// Room for any name.
const NAME: usize = size_of::<libc::sockaddr_storage>();

/// Receives one message into `buffer`, and the name of its sender; empty if it has none.
pub fn receive_from(fd: Fd, buffer: &mut [u8]) -> io::Result<(usize, Name)> {
    let mut name = [0u8; NAME];
    let mut len = NAME as libc::socklen_t;
    // SAFETY: the buffer and the name are ours, alive, and as long as said.
    let count = unsafe {
        libc::recvfrom(
            fd.raw(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            name.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok((count, Name::from_raw(&name[..(len as usize).min(NAME)])))
}

/// Sends to a name; how many bytes of `data` were taken.
pub fn send_to(fd: Fd, data: &[u8], name: &Name) -> io::Result<usize> {
    let (raw, flags) = (name.as_raw(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: the data and the name are alive and as long as said.
    let sent = unsafe {
        libc::sendto(
            fd.raw(),
            data.as_ptr().cast(),
            data.len(),
            flags,
            raw.as_ptr().cast(),
            raw.len() as libc::socklen_t,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Takes one connection from a listening socket, with the name of the other end; it is non-blocking
/// and not inherited by children.
pub fn accept(listener: Fd) -> io::Result<(Fd, Name)> {
    let mut name = [0u8; NAME];
    let mut len = NAME as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the name is ours, alive, and as long as said.
    let number =
        unsafe { libc::accept4(listener.raw(), name.as_mut_ptr().cast(), &raw mut len, flags) };
    let socket = Fd::new(number).ok_or_else(io::Error::last_os_error)?;
    Ok((socket, Name::from_raw(&name[..(len as usize).min(NAME)])))
}

/// Connects. False if that goes on: it is over when the socket can be written to.
pub fn connect(fd: Fd, name: &Name) -> io::Result<bool> {
    let raw = name.as_raw();
    // SAFETY: the name is alive and as long as said.
    let code =
        unsafe { libc::connect(fd.raw(), raw.as_ptr().cast(), raw.len() as libc::socklen_t) };
    if code == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Interrupted, it goes on in the background.
        Some(libc::EINPROGRESS | libc::EALREADY | libc::EAGAIN | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::{accept, connect, receive_from, send_to};
    use crate::fd::Fd;
    use crate::name::Name;
    use crate::socket::Address;

    fn fd(socket: &impl AsRawFd) -> Fd {
        Fd::new(socket.as_raw_fd()).unwrap()
    }

    fn name(port: u16) -> Name {
        Name::v4(Ipv4Addr::LOCALHOST, port)
    }

    #[test]
    fn messages_come_with_their_senders() {
        let (one, two) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, two) = (one.unwrap(), two.unwrap());
        let (from, to) = (one.local_addr().unwrap().port(), two.local_addr().unwrap().port());
        let mut buffer = [0; 8];
        let error = receive_from(fd(&two), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(send_to(fd(&one), b"hello", &name(to)).unwrap(), 5);
        assert_eq!(receive_from(fd(&two), &mut buffer).unwrap(), (5, name(from)));
        assert_eq!(&buffer[..5], b"hello");
    }

    #[test]
    fn a_peer_without_a_name_has_none() {
        let path = std::env::temp_dir().join(format!("oxloop-peer-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let _ = std::fs::remove_file(&path);
        let (socket, name) = accept(fd(&listener)).unwrap();
        socket.close();
        assert_eq!(name.address(), Address::UnixPath(Vec::new()));
    }

    #[test]
    fn connecting_succeeds_or_says_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(connect(fd(&client), &name(port)).unwrap());
        assert!(connect(fd(&listener), &name(port)).is_err());
    }
}
