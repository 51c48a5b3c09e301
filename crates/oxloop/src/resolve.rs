//! Names of hosts and services, looked up on the engine's threads.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::task::{Poll, Waker};

use oxloop_engine::{Address, Answer, Key, Name, Query, needs_no_network};
use oxloop_os::resolve::look_up;

use crate::event_loop::Loop;
use crate::host::Endpoint;
use crate::hub::Hub;

/// Which addresses [`Loop::getaddrinfo`] looks for; numbers as the C library has them, zero for any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `AF_INET`, `AF_INET6`.
    pub family: i32,
    /// `SOCK_STREAM`, `SOCK_DGRAM`.
    pub kind: i32,
    /// `IPPROTO_TCP`, `IPPROTO_UDP`.
    pub protocol: i32,
    /// `AI_PASSIVE`, `AI_CANONNAME`, …
    pub flags: i32,
}

/// One address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressInfo {
    /// `AF_INET`, `AF_INET6`.
    pub family: i32,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, …
    pub kind: i32,
    /// `IPPROTO_TCP`, `IPPROTO_UDP`, …
    pub protocol: i32,
    /// What the host is really called, if that was asked for.
    pub canonical: Option<String>,
    /// Where it is.
    pub address: SocketAddr,
}

impl Loop {
    /// Looks up the addresses of a host. Addresses that are written out are answered at once, others
    /// by a thread; dropping the future forgets the lookup.
    ///
    /// # Errors
    /// What the resolver says.
    ///
    /// ```
    /// let event_loop = oxloop::EventLoop::new();
    /// let found = event_loop.run_until_complete(
    ///     event_loop.getaddrinfo(Some("127.0.0.1"), Some("80"), oxloop::Hints::default()),
    /// )??;
    /// assert_eq!(found[0].address, "127.0.0.1:80".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn getaddrinfo(
        &self,
        host: Option<&str>,
        service: Option<&str>,
        hints: Hints,
    ) -> io::Result<Vec<AddressInfo>> {
        let direct = needs_no_network(host.map(str::as_bytes), service.map(str::as_bytes));
        let query = Query::Addresses {
            host: host.map(CString::new).transpose()?,
            service: service.map(CString::new).transpose()?,
            family: hints.family,
            kind: hints.kind,
            protocol: hints.protocol,
            flags: hints.flags,
        };
        let answer = if direct { look_up(&query) } else { self.ask(query).await? };
        let found = match answer {
            Answer::Addresses(found) => found,
            other => return Err(refusal(other)),
        };
        Ok(found
            .into_iter()
            .filter_map(|found| {
                let address = socket_address(&found.name)?;
                let canonical = found.canonical.map(text);
                let (family, kind, protocol) = (found.family, found.kind, found.protocol);
                Some(AddressInfo { family, kind, protocol, canonical, address })
            })
            .collect())
    }

    /// Looks up the names of a host and a service; `flags` are the C library's (`NI_NUMERICHOST`, …).
    ///
    /// # Errors
    /// What the resolver says.
    pub async fn getnameinfo(
        &self,
        address: SocketAddr,
        flags: i32,
    ) -> io::Result<(String, String)> {
        match self.ask(Query::Names { of: name_of(&address), flags }).await? {
            Answer::Names(host, service) => Ok((text(host), text(service))),
            other => Err(refusal(other)),
        }
    }

    async fn ask(&self, query: Query) -> io::Result<Answer> {
        self.hub.check_open()?;
        let lookup = Rc::new(Lookup::default());
        let asked = self.hub.engine().look_up(query, lookup.clone());
        let key = asked.map_err(|(error, _)| error)?;
        let asking = Asking { hub: &self.hub, key };
        let answer = poll_fn(|cx| {
            if let Some(answer) = lookup.answer.take() {
                return Poll::Ready(answer);
            }
            let before = lookup.waker.replace(Some(cx.waker().clone()));
            drop(before);
            Poll::Pending
        });
        let answer = answer.await;
        drop(asking);
        Ok(answer)
    }
}

/// Who waits for an answer.
#[derive(Default)]
struct Lookup {
    answer: Cell<Option<Answer>>,
    waker: RefCell<Option<Waker>>,
}

impl Lookup {
    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Endpoint for Lookup {
    fn resolved(self: Rc<Self>, _hub: &Rc<Hub>, answer: Answer) {
        self.answer.set(Some(answer));
        self.wake();
    }

    fn closed(self: Rc<Self>) {
        let error = io::Error::from(crate::Error::Closed);
        self.answer.set(Some(Answer::Failed(error)));
        self.wake();
    }
}

/// Forgets the lookup, wherever that ends.
struct Asking<'a> {
    hub: &'a Hub,
    key: Key,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let lookup = self.hub.engine().forget_lookup(self.key);
        drop(lookup);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The resolver's number for a name that is not there, and why.
#[derive(Debug)]
struct Refusal {
    code: i32,
    text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.text)
    }
}

impl std::error::Error for Refusal {}

fn refusal(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed(error) => error,
        Answer::Refused(code, words) => io::Error::other(Refusal { code, text: text(words) }),
        _ => io::ErrorKind::InvalidData.into(),
    }
}

/// The name as the kernel has it.
pub(crate) fn name_of(address: &SocketAddr) -> Name {
    match address {
        SocketAddr::V4(v4) => Name::v4(*v4.ip(), v4.port()),
        SocketAddr::V6(v6) => Name::v6(*v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()),
    }
}

pub(crate) fn socket_address(name: &Name) -> Option<SocketAddr> {
    match name.address() {
        Address::V4(v4) => Some(SocketAddrV4::new(*v4.ip(), v4.port()).into()),
        Address::V6(v6) => {
            Some(SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
        }
        _ => None,
    }
}
