//! The names of sockets as the kernel writes and reads them.
//!
//! A [`Name`] is those bytes. They are compared, kept and given back to the kernel as they are;
//! only who shows one to a human takes it apart ([`Name::address`]).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::socket::Address;

/// Names up to this length are kept in place: those of AF_INET and AF_INET6.
const SHORT: usize = size_of::<libc::sockaddr_in6>();
/// Where the path of an AF_UNIX name begins: after the family.
const PATH: usize = size_of::<libc::sa_family_t>();
/// The longest path of an AF_UNIX name, without a terminator.
const LONGEST_PATH: usize = 107;

/// The name of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Bytes);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bytes {
    /// Zeroed beyond its length.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Box<[u8]>),
}

impl Name {
    /// The name that the kernel wrote as `raw`.
    pub fn from_raw(raw: &[u8]) -> Name {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..raw.len()) {
            Some(place) => {
                place.copy_from_slice(raw);
                Name(Bytes::Short { len: raw.len() as u8, bytes })
            }
            None => Name(Bytes::Long(raw.into())),
        }
    }

    pub fn v4(ip: Ipv4Addr, port: u16) -> Name {
        // The family, the port, the address, eight bytes of nothing.
        let mut raw = [0; size_of::<libc::sockaddr_in>()];
        raw[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        raw[2..4].copy_from_slice(&port.to_be_bytes());
        raw[4..8].copy_from_slice(&ip.octets());
        Name::from_raw(&raw)
    }

    pub fn v6(ip: Ipv6Addr, port: u16, flowinfo: u32, scope: u32) -> Name {
        let mut raw = [0; size_of::<libc::sockaddr_in6>()];
        raw[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        raw[2..4].copy_from_slice(&port.to_be_bytes());
        raw[4..8].copy_from_slice(&flowinfo.to_be_bytes());
        raw[8..24].copy_from_slice(&ip.octets());
        raw[24..28].copy_from_slice(&scope.to_ne_bytes());
        Name::from_raw(&raw)
    }

    /// A path of the file system, or after a zero byte a name of Linux' abstract namespace. `None`
    /// for what is empty or too long.
    pub fn unix(path: &[u8]) -> Option<Name> {
        if !(1..=LONGEST_PATH).contains(&path.len()) {
            return None;
        }
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        // A path ends with a zero byte, an abstract name with its last byte.
        let end: &[u8] = if path[0] == 0 { &[] } else { &[0] };
        Some(Name::from_raw(&[&family, path, end].concat()))
    }

    /// The bytes, for the kernel.
    #[inline]
    pub fn as_raw(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }

    /// What the bytes mean.
    pub fn address(&self) -> Address {
        let raw = self.as_raw();
        let family = raw.first_chunk().map(|&family| i32::from(u16::from_ne_bytes(family)));
        let address = match family {
            Some(libc::AF_INET) => v4(raw),
            Some(libc::AF_INET6) => v6(raw),
            Some(libc::AF_UNIX) => Some(unix(raw.get(PATH..).unwrap_or_default())),
            _ => None,
        };
        address.unwrap_or(Address::Other)
    }
}

fn v4(raw: &[u8]) -> Option<Address> {
    let port = u16::from_be_bytes(*raw.get(2..)?.first_chunk()?);
    let ip = Ipv4Addr::from(*raw.get(4..)?.first_chunk::<4>()?);
    Some(Address::V4(SocketAddrV4::new(ip, port)))
}

fn v6(raw: &[u8]) -> Option<Address> {
    let port = u16::from_be_bytes(*raw.get(2..)?.first_chunk()?);
    let flowinfo = u32::from_be_bytes(*raw.get(4..)?.first_chunk()?);
    let ip = Ipv6Addr::from(*raw.get(8..)?.first_chunk::<16>()?);
    let scope = u32::from_ne_bytes(*raw.get(24..)?.first_chunk()?);
    Some(Address::V6(SocketAddrV6::new(ip, port, flowinfo, scope)))
}

fn unix(path: &[u8]) -> Address {
    match path.split_first() {
        Some((0, name)) => Address::UnixAbstract(name.to_vec()),
        _ => {
            let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
            Address::UnixPath(path[..end].to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

    use super::Name;
    use crate::socket::Address;

    #[test]
    fn what_is_put_in_comes_out() {
        let v4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 4660);
        assert_eq!(Name::v4(*v4.ip(), v4.port()).address(), Address::V4(v4));
        let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 4660, 0x12345, 7);
        assert_eq!(Name::v6(*v6.ip(), 4660, 0x12345, 7).address(), Address::V6(v6));
        let path = Name::unix(b"/tmp/a").map(|name| name.address());
        assert_eq!(path, Some(Address::UnixPath(b"/tmp/a".to_vec())));
        let name = Name::unix(b"\0a\0b").map(|name| name.address());
        assert_eq!(name, Some(Address::UnixAbstract(b"a\0b".to_vec())));
    }

    #[test]
    fn equal_names_are_equal_however_long() {
        let long = [b'x'; 107];
        assert_eq!(Name::unix(&long), Name::unix(&long));
        assert_eq!(Name::unix(&[b'x'; 108]), None);
        assert_eq!(Name::unix(b""), None);
        assert_ne!(Name::unix(b"/a"), Name::unix(b"/b"));
    }

    #[test]
    fn a_name_that_is_cut_off_is_no_address() {
        let whole = Name::v4(Ipv4Addr::LOCALHOST, 1);
        for len in 0..8 {
            let cut = Name::from_raw(&whole.as_raw()[..len]);
            assert_eq!(cut.address(), Address::Other);
        }
    }
}
