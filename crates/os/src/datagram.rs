//! Datagrams: many of them in one system call, each with the name of its other end.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crate::fd::Fd;
use crate::name::Name;

/// The most datagrams that one call moves.
pub const BATCH: usize = 32;
/// No datagram of the Internet protocols is longer, whatever it is made of.
pub const LARGEST_INET: usize = 64 * 1024;
/// What asyncio takes of a datagram at most. AF_UNIX has such large ones.
pub const LARGEST: usize = 256 * 1024;

/// Room for the longest name, AF_UNIX's with a terminator.
const NAME: usize = 112;
/// Places do not begin at the same distance from a page, or they would share the cache's lines.
const STAGGER: usize = 192;
const PLACE: usize = LARGEST_INET + STAGGER;

/// A datagram to send; `to` is `None` on a connected socket.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    pub to: Option<&'a Name>,
    pub data: &'a [u8],
}

/// The datagrams of the last [`receive_many`], in memory that is kept from call to call.
///
/// Invariant: once there is an area, the headers point into it, into the names and into the
/// vectors, none of which is ever resized; the first `count` datagrams and their names have been
/// written, by the kernel or by [`Inbound::push`].
#[derive(Default)]
pub struct Inbound {
    /// Not initialised, so that memory which no datagram reaches costs nothing.
    area: Vec<MaybeUninit<u8>>,
    names: Box<[[u8; NAME]]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// The size of a place (bytes), and how many there are.
    shape: (usize, usize),
    count: usize,
    /// Headers that the kernel has written to.
    used: usize,
}

// SAFETY: its pointers are into its own memory, which moves with it.
unsafe impl Send for Inbound {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Inbound {}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("shape", &self.shape).field("count", &self.count).finish()
    }
}

impl Inbound {
    /// Forgets what there is and makes places for datagrams of up to `largest` bytes.
    pub fn prepare(&mut self, largest: usize) -> io::Result<()> {
        self.count = 0;
        let largest = if largest <= LARGEST_INET { LARGEST_INET } else { LARGEST };
        if self.shape.0 == largest {
            return Ok(());
        }
        if self.area.is_empty() {
            self.allocate()?;
        }
        let stride = largest / LARGEST_INET * PLACE;
        let places = self.area.len() / stride;
        for (at, vector) in self.vectors.iter_mut().enumerate().take(places) {
            vector.iov_base = self.area[at * stride..].as_mut_ptr().cast();
            vector.iov_len = largest;
        }
        self.shape = (largest, places);
        Ok(())
    }

    fn allocate(&mut self) -> io::Result<()> {
        let mut area = Vec::new();
        area.try_reserve_exact(BATCH * PLACE).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: reserved above, and such bytes need no initial value.
        unsafe { area.set_len(BATCH * PLACE) };
        self.names = boxed([0; NAME])?;
        // SAFETY: plain data for which zero is a value.
        let (vector, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        self.vectors = boxed(vector)?;
        self.headers = boxed(header)?;
        for (at, header) in self.headers.iter_mut().enumerate() {
            let header: &mut libc::mmsghdr = header;
            header.msg_hdr.msg_name = self.names[at].as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.vectors[at];
            header.msg_hdr.msg_iovlen = 1;
        }
        // Last: whoever fails above leaves nothing that looks prepared.
        self.area = area;
        Ok(())
    }

    /// How many datagrams there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A datagram; empty if there is none of that number.
    #[inline]
    pub fn data(&self, at: usize) -> &[u8] {
        if at >= self.count {
            return &[];
        }
        let (header, vector) = (&self.headers[at], &self.vectors[at]);
        let len = (header.msg_len as usize).min(vector.iov_len);
        // SAFETY: the first `msg_len` bytes of the place have been written (the invariant).
        unsafe { std::slice::from_raw_parts(vector.iov_base.cast(), len) }
    }

    /// The raw name of the sender; empty if it has none.
    #[inline]
    pub fn name(&self, at: usize) -> &[u8] {
        if at >= self.count {
            return &[];
        }
        let len = self.headers[at].msg_hdr.msg_namelen as usize;
        &self.names[at][..len.min(NAME)]
    }

    /// Puts a datagram in as if it had been received; what exceeds its place is cut off. False if
    /// there is no place left. For kernels that are not the operating system.
    pub fn push(&mut self, from: Option<&Name>, data: &[u8]) -> bool {
        let (at, (largest, places)) = (self.count, self.shape);
        if at >= places {
            return false;
        }
        let data = &data[..data.len().min(largest)];
        let name = from.map_or(&[][..], Name::as_raw);
        self.names[at][..name.len()].copy_from_slice(name);
        self.headers[at].msg_hdr.msg_namelen = name.len() as libc::socklen_t;
        self.headers[at].msg_len = data.len() as libc::c_uint;
        // SAFETY: the place has room for `largest` bytes and is ours alone.
        unsafe {
            ptr::copy_nonoverlapping(data.as_ptr(), self.vectors[at].iov_base.cast(), data.len());
        }
        (self.count, self.used) = (at + 1, self.used.max(at + 1));
        true
    }
}

fn boxed<T: Copy>(value: T) -> io::Result<Box<[T]>> {
    let mut all = Vec::new();
    all.try_reserve_exact(BATCH).map_err(|_| io::ErrorKind::OutOfMemory)?;
    all.resize(BATCH, value);
    Ok(all.into_boxed_slice())
}

/// Receives what is there, as many as there are places; never waits. `inbound` is prepared.
pub fn receive_many(fd: Fd, inbound: &mut Inbound) -> io::Result<()> {
    inbound.count = 0;
    for header in &mut inbound.headers[..inbound.used] {
        header.msg_hdr.msg_namelen = NAME as libc::socklen_t;
    }
    inbound.used = 0;
    let places = inbound.shape.1;
    let headers = inbound.headers.as_mut_ptr();
    // SAFETY: `places` headers, each with a name and a vector of memory that is ours and alive.
    let count = unsafe {
        libc::recvmmsg(fd.raw(), headers, places as _, libc::MSG_DONTWAIT, ptr::null_mut())
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    (inbound.count, inbound.used) = (count, count);
    Ok(())
}

/// Sends one datagram; never waits.
pub fn send_one(fd: Fd, message: Outbound<'_>) -> io::Result<()> {
    let (name, namelen) = raw_name(message.to);
    let (data, len) = (message.data.as_ptr().cast(), message.data.len());
    // SAFETY: the data and the name are alive and as long as said.
    let sent = unsafe { libc::sendto(fd.raw(), data, len, FLAGS, name.cast(), namelen) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends the first [`BATCH`] of `messages` in order; never waits. How many were sent: an error of
/// a later one than the first shows when that is the first.
pub fn send_many(fd: Fd, messages: &[Outbound<'_>]) -> io::Result<usize> {
    // SAFETY: plain data for which zero is a value.
    let (mut headers, mut vectors): ([libc::mmsghdr; BATCH], [libc::iovec; BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let count = messages.len().min(BATCH);
    for (at, message) in messages.iter().take(BATCH).enumerate() {
        let (name, namelen) = raw_name(message.to);
        vectors[at].iov_base = message.data.as_ptr().cast_mut().cast();
        vectors[at].iov_len = message.data.len();
        let header = &mut headers[at].msg_hdr;
        header.msg_name = name.cast_mut();
        header.msg_namelen = namelen;
        header.msg_iov = &raw mut vectors[at];
        header.msg_iovlen = 1;
    }
    // SAFETY: `count` headers of names and data that are alive; the kernel writes to the headers'
    // lengths alone.
    let sent = unsafe { libc::sendmmsg(fd.raw(), headers.as_mut_ptr(), count as _, FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

const FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

#[inline]
fn raw_name(name: Option<&Name>) -> (*const libc::c_void, libc::socklen_t) {
    match name.map(Name::as_raw) {
        Some(raw) => (raw.as_ptr().cast(), raw.len() as libc::socklen_t),
        None => (ptr::null(), 0),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixDatagram;

    use super::{Inbound, LARGEST, LARGEST_INET, Outbound, receive_many, send_many, send_one};
    use crate::fd::Fd;
    use crate::name::Name;
    use crate::socket::Address;

    fn fd(socket: &impl AsRawFd) -> Fd {
        Fd::new(socket.as_raw_fd()).unwrap()
    }

    fn received(inbound: &Inbound) -> Vec<&[u8]> {
        (0..inbound.len()).map(|at| inbound.data(at)).collect()
    }

    #[test]
    fn batches_arrive_with_their_senders() {
        let (one, two) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, two) = (one.unwrap(), two.unwrap());
        let std::net::SocketAddr::V4(name) = two.local_addr().unwrap() else { unreachable!() };
        let name = Name::v4(*name.ip(), name.port());
        let out = |data| Outbound { to: Some(&name), data };
        assert_eq!(send_many(fd(&one), &[out(b"a"), out(b""), out(b"ccc")]).unwrap(), 3);
        send_one(fd(&one), out(b"d")).unwrap();
        let mut inbound = Inbound::default();
        inbound.prepare(LARGEST_INET).unwrap();
        receive_many(fd(&two), &mut inbound).unwrap();
        assert_eq!(received(&inbound), [&b"a"[..], b"", b"ccc", b"d"]);
        let from = Name::from_raw(inbound.name(3)).address();
        let std::net::SocketAddr::V4(expected) = one.local_addr().unwrap() else { unreachable!() };
        assert_eq!(from, Address::V4(expected));
        let error = receive_many(fd(&two), &mut inbound).unwrap_err();
        assert_eq!((error.kind(), inbound.len()), (std::io::ErrorKind::WouldBlock, 0));
    }

    #[test]
    fn an_error_within_a_batch_shows_when_its_turn_comes() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        let large = vec![0; 70_000];
        let out = [&b"a"[..], &large, b"c"].map(|data| Outbound { to: None, data });
        assert_eq!(send_many(fd(&socket), &out).unwrap(), 1);
        assert!(send_many(fd(&socket), &out[1..]).is_err());
        assert_eq!(send_many(fd(&socket), &out[2..]).unwrap(), 1);
    }

    #[test]
    fn large_ones_fit_and_a_sender_may_have_no_name() {
        let (one, two) = UnixDatagram::pair().unwrap();
        let large: Vec<u8> = (0..150_000_u32).map(|at| at as u8).collect();
        send_one(fd(&one), Outbound { to: None, data: &large }).unwrap();
        let mut inbound = Inbound::default();
        inbound.prepare(LARGEST_INET).unwrap();
        inbound.prepare(LARGEST).unwrap();
        receive_many(fd(&two), &mut inbound).unwrap();
        assert!(received(&inbound) == [&large[..]]);
        assert!(inbound.name(0).is_empty());
    }

    #[test]
    fn what_is_pushed_is_as_if_received() {
        let mut inbound = Inbound::default();
        assert!(!inbound.push(None, b"not prepared"));
        inbound.prepare(LARGEST).unwrap();
        let name = Name::unix(b"/a").unwrap();
        while inbound.push(Some(&name), b"data") {}
        assert_eq!(inbound.len(), 8);
        assert_eq!((inbound.data(7), inbound.name(7)), (&b"data"[..], name.as_raw()));
        assert_eq!((inbound.data(8), inbound.name(8)), (&b""[..], &b""[..]));
    }
}
