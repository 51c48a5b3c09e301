//! Names of hosts and services, as the C library resolves them.
//!
//! A lookup may take as long as the network pleases: who may not wait calls it on another thread.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crate::name::Name;

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// getaddrinfo(3).
    Addresses {
        host: Option<CString>,
        service: Option<CString>,
        family: i32,
        kind: i32,
        protocol: i32,
        flags: i32,
    },
    /// getnameinfo(3).
    Names { of: Name, flags: i32 },
}

/// One address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub family: i32,
    pub kind: i32,
    pub protocol: i32,
    /// What the host is really called, if that was asked for.
    pub canonical: Option<Vec<u8>>,
    pub name: Name,
}

/// What came of a [`Query`].
#[derive(Debug)]
pub enum Answer {
    Addresses(Vec<Found>),
    /// The host and the service.
    Names(Vec<u8>, Vec<u8>),
    /// The resolver's number and words for why there is none.
    Refused(i32, Vec<u8>),
    Failed(io::Error),
}

/// Looks `query` up.
pub fn look_up(query: &Query) -> Answer {
    match query {
        Query::Addresses { host, service, family, kind, protocol, flags } => {
            // SAFETY: plain data for which zero is a value.
            let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
            hints.ai_family = *family;
            hints.ai_socktype = *kind;
            hints.ai_protocol = *protocol;
            hints.ai_flags = *flags;
            addresses(host.as_deref(), service.as_deref(), &hints)
        }
        Query::Names { of, flags } => names(of, *flags),
    }
}

/// Blocks all signals of the calling thread: they are for threads that know what to do with them.
pub fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: filled by the first call, read by the second.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

fn addresses(host: Option<&CStr>, service: Option<&CStr>, hints: &libc::addrinfo) -> Answer {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let mut list = ptr::null_mut();
    // SAFETY: null or terminated texts; `list` is set if the result is 0.
    let code = unsafe { libc::getaddrinfo(pointer(host), pointer(service), hints, &raw mut list) };
    if code != 0 {
        return failure(code);
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: a list that ends with null; its texts are null or terminated, its names as long as
    // they say. It is freed once, when nothing of it is used any more.
    unsafe {
        while let Some(entry) = next.as_ref() {
            let canonical = (!entry.ai_canonname.is_null())
                .then(|| CStr::from_ptr(entry.ai_canonname).to_bytes().to_vec());
            let raw =
                std::slice::from_raw_parts(entry.ai_addr.cast::<u8>(), entry.ai_addrlen as usize);
            found.push(Found {
                family: entry.ai_family,
                kind: entry.ai_socktype,
                protocol: entry.ai_protocol,
                canonical,
                name: Name::from_raw(raw),
            });
            next = entry.ai_next;
        }
        libc::freeaddrinfo(list);
    }
    Answer::Addresses(found)
}

fn names(of: &Name, flags: i32) -> Answer {
    let raw = of.as_raw();
    let (mut host, mut service) = ([0u8; 1025], [0u8; 32]);
    // SAFETY: the name and the buffers are alive and as long as said.
    let code = unsafe {
        libc::getnameinfo(
            raw.as_ptr().cast(),
            raw.len() as libc::socklen_t,
            host.as_mut_ptr().cast(),
            host.len() as libc::socklen_t,
            service.as_mut_ptr().cast(),
            service.len() as libc::socklen_t,
            flags,
        )
    };
    if code != 0 {
        return failure(code);
    }
    let text = |buffer: &[u8]| {
        let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
        buffer[..end].to_vec()
    };
    Answer::Names(text(&host), text(&service))
}

fn failure(code: i32) -> Answer {
    if code == libc::EAI_SYSTEM {
        return Answer::Failed(io::Error::last_os_error());
    }
    // SAFETY: a terminated text that lives for ever.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    Answer::Refused(code, text.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{Answer, Query, look_up};
    use crate::name::Name;

    fn query(host: &std::ffi::CStr, flags: i32) -> Query {
        let (host, service) = (Some(host.to_owned()), Some(c"80".to_owned()));
        Query::Addresses { host, service, family: 0, kind: libc::SOCK_STREAM, protocol: 0, flags }
    }

    #[test]
    fn literals_and_back() {
        let Answer::Addresses(found) = look_up(&query(c"127.0.0.1", 0)) else { panic!("refused") };
        let name = Name::v4(Ipv4Addr::LOCALHOST, 80);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].family, found[0].protocol), (libc::AF_INET, libc::IPPROTO_TCP));
        assert_eq!((&found[0].name, &found[0].canonical), (&name, &None));
        let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        let answer = look_up(&Query::Names { of: name, flags });
        assert!(matches!(answer, Answer::Names(h, s) if h == b"127.0.0.1" && s == b"80"));
    }

    #[test]
    fn refusals_have_a_number_and_words() {
        let answer = look_up(&query(c"no literal", libc::AI_NUMERICHOST));
        let Answer::Refused(code, text) = answer else { panic!("{answer:?}") };
        assert_eq!(code, libc::EAI_NONAME);
        assert!(!text.is_empty());
    }
}
