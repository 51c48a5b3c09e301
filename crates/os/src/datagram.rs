//! Datagrams: many of them in one system call, each with the name of its other end.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::io;
use std::ptr::{self, NonNull};

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
/// Invariant: of the first `count` datagrams the bytes and the names have been written, by the
/// kernel or by [`Inbound::push`].
#[derive(Default)]
pub struct Inbound {
    memory: Option<Memory>,
    /// The size of a place (bytes), and how many there are.
    shape: (usize, usize),
    count: usize,
    /// Headers that the kernel has written to.
    used: usize,
}

/// What the kernel is shown. It points into itself, so nothing but pointers to it is kept: a
/// reference to the whole would say that nobody else has one.
///
/// Invariant: `tables` is initialised, and each header is about the name of its number and the
/// vector of its number; each vector of a place is about bytes of `area`. Both are ours alone.
struct Memory {
    /// `BATCH * PLACE` bytes. Not initialised: memory that no datagram reaches costs nothing.
    area: NonNull<u8>,
    tables: NonNull<Tables>,
}

struct Tables {
    names: [[u8; NAME]; BATCH],
    vectors: [libc::iovec; BATCH],
    headers: [libc::mmsghdr; BATCH],
}

// SAFETY: its memory is its own, whichever thread it is in.
unsafe impl Send for Memory {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Memory {}

const AREA: Layout = match Layout::array::<u8>(BATCH * PLACE) {
    Ok(layout) => layout,
    Err(_) => Layout::new::<u8>(),
};
const _: () = assert!(AREA.size() == BATCH * PLACE);

impl Memory {
    fn allocate() -> io::Result<Memory> {
        // SAFETY: neither layout is of no bytes.
        let (area, tables) = unsafe { (alloc(AREA), alloc_zeroed(Layout::new::<Tables>())) };
        let (area, tables) = (NonNull::new(area), NonNull::new(tables.cast::<Tables>()));
        let (Some(area), Some(tables)) = (area, tables) else {
            // SAFETY: from above, and nobody else's.
            unsafe { free(area, tables) };
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let memory = Memory { area, tables };
        for at in 0..BATCH {
            // SAFETY: zeroed, for all of which zero is a value. No reference to any of it lasts.
            unsafe {
                let tables = memory.tables.as_ptr();
                let header = &raw mut (*tables).headers[at].msg_hdr;
                (*header).msg_name = (&raw mut (*tables).names[at]).cast();
                (*header).msg_namelen = NAME as libc::socklen_t;
                (*header).msg_iov = &raw mut (*tables).vectors[at];
                (*header).msg_iovlen = 1;
            }
        }
        Ok(memory)
    }

    /// Makes the first `places` vectors ones of `largest` bytes, `stride` bytes from each other.
    fn cut(&mut self, places: usize, largest: usize, stride: usize) {
        assert!(places <= BATCH && largest <= stride && places * stride <= BATCH * PLACE);
        for at in 0..places {
            // SAFETY: initialised, and within the area as was just checked.
            unsafe {
                let vector = &raw mut (*self.tables.as_ptr()).vectors[at];
                (*vector).iov_base = self.area.as_ptr().add(at * stride).cast();
                (*vector).iov_len = largest;
            }
        }
    }

    #[inline]
    fn header(&self, at: usize) -> &libc::mmsghdr {
        // SAFETY: initialised, and changed through `&mut self` alone.
        unsafe { &(*self.tables.as_ptr()).headers[at] }
    }

    #[inline]
    fn header_mut(&mut self, at: usize) -> &mut libc::mmsghdr {
        // SAFETY: initialised, and ours alone.
        unsafe { &mut (*self.tables.as_ptr()).headers[at] }
    }

    #[inline]
    fn name(&self, at: usize) -> &[u8; NAME] {
        // SAFETY: as for `header`.
        unsafe { &(*self.tables.as_ptr()).names[at] }
    }

    #[inline]
    fn vector(&self, at: usize) -> libc::iovec {
        // SAFETY: as for `header`.
        unsafe { (*self.tables.as_ptr()).vectors[at] }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: from `allocate`, and never used again.
        unsafe { free(Some(self.area), Some(self.tables)) };
    }
}

/// # Safety
/// Those that are there were allocated by [`Memory::allocate`] and are nobody else's.
unsafe fn free(area: Option<NonNull<u8>>, tables: Option<NonNull<Tables>>) {
    // SAFETY: by contract.
    unsafe {
        if let Some(area) = area {
            dealloc(area.as_ptr(), AREA);
        }
        if let Some(tables) = tables {
            dealloc(tables.as_ptr().cast(), Layout::new::<Tables>());
        }
    }
}

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
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(Memory::allocate()?),
        };
        let stride = largest / LARGEST_INET * PLACE;
        let places = BATCH * PLACE / stride;
        memory.cut(places, largest, stride);
        self.shape = (largest, places);
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
        let Some(memory) = self.memory.as_ref().filter(|_| at < self.count) else { return &[] };
        let vector = memory.vector(at);
        let len = (memory.header(at).msg_len as usize).min(vector.iov_len);
        // SAFETY: the first `msg_len` bytes of the place have been written (the invariant).
        unsafe { std::slice::from_raw_parts(vector.iov_base.cast(), len) }
    }

    /// The raw name of the sender; empty if it has none.
    #[inline]
    pub fn name(&self, at: usize) -> &[u8] {
        let Some(memory) = self.memory.as_ref().filter(|_| at < self.count) else { return &[] };
        let len = memory.header(at).msg_hdr.msg_namelen as usize;
        &memory.name(at)[..len.min(NAME)]
    }

    /// Puts a datagram in as if it had been received; what exceeds its place is cut off. False if
    /// there is no place left. For kernels that are not the operating system.
    pub fn push(&mut self, from: Option<&Name>, data: &[u8]) -> bool {
        let (at, (largest, places)) = (self.count, self.shape);
        let Some(memory) = self.memory.as_mut().filter(|_| at < places) else { return false };
        let data = &data[..data.len().min(largest)];
        let name = from.map_or(&[][..], Name::as_raw);
        let name = &name[..name.len().min(NAME)];
        let place = memory.vector(at).iov_base;
        let header = memory.header_mut(at);
        header.msg_hdr.msg_namelen = name.len() as libc::socklen_t;
        header.msg_len = data.len() as libc::c_uint;
        // SAFETY: the header points to room for a name, the place is room for `largest` bytes, and
        // both are ours alone.
        unsafe {
            ptr::copy_nonoverlapping(name.as_ptr(), header.msg_hdr.msg_name.cast(), name.len());
            ptr::copy_nonoverlapping(data.as_ptr(), place.cast(), data.len());
        }
        (self.count, self.used) = (at + 1, self.used.max(at + 1));
        true
    }
}

/// Receives what is there, as many as there are places; never waits. `inbound` is prepared.
pub fn receive_many(fd: Fd, inbound: &mut Inbound) -> io::Result<()> {
    inbound.count = 0;
    let places = inbound.shape.1;
    let Some(memory) = &mut inbound.memory else { return Err(io::ErrorKind::InvalidInput.into()) };
    for at in 0..std::mem::take(&mut inbound.used) {
        memory.header_mut(at).msg_hdr.msg_namelen = NAME as libc::socklen_t;
    }
    // SAFETY: `places` headers, each with a name and a vector of memory that is ours and alive.
    let count = unsafe {
        let headers = (&raw mut (*memory.tables.as_ptr()).headers).cast();
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
