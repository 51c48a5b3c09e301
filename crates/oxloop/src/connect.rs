//! Connecting: to the first of a host's addresses that answers.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use oxloop_engine::{Address, Direction, Fd, Name};
use oxloop_os::peer;
use socket2::{Domain, Socket, Type};

use crate::event_loop::Loop;
use crate::host::Job;
use crate::hub::Hub;
use crate::protocol::IntoProtocol;
use crate::resolve::{Hints, name_of};
use crate::stream::Stream;
use crate::time::sleep;
use crate::transport::{Connection, Medium, Opening, Transport, Upper};

/// How to connect.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Where to connect from.
    pub local_addr: Option<SocketAddr>,
    /// After this time the next address is tried beside the one that has not answered yet (RFC 8305;
    /// a quarter of a second is usual). Without it addresses are tried one after the other.
    pub happy_eyeballs_delay: Option<Duration>,
    /// Speaks TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::ClientTls>,
}

impl Loop {
    /// Connects to a host, and gives the connection to the protocol that `factory` makes.
    ///
    /// # Errors
    /// What looking the host up, or connecting to its last address, ends with.
    ///
    /// ```no_run
    /// use oxloop::{ConnectOptions, Protocol, Transport};
    ///
    /// struct Client;
    ///
    /// impl Protocol for Client {
    ///     fn connection_made(&mut self, transport: &Transport) {
    ///         transport.write(b"GET / HTTP/1.0\r\n\r\n");
    ///     }
    ///
    ///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
    ///         println!("{}", String::from_utf8_lossy(data));
    ///     }
    /// }
    ///
    /// oxloop::run(async {
    ///     let event_loop = oxloop::get_running_loop().unwrap();
    ///     let options = ConnectOptions::default();
    ///     event_loop.create_connection(|| Client, "example.org", 80, options).await
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn create_connection<P: IntoProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        host: &str,
        port: u16,
        options: ConnectOptions,
    ) -> io::Result<Transport> {
        let (socket, peer) = self.connect(host, port, &options).await?;
        let upper = factory().into_upper();
        self.open(socket, peer, upper, &options).await.map(Transport)
    }

    /// As [`Loop::create_connection`], to a Unix socket.
    ///
    /// # Errors
    /// What connecting ends with.
    pub async fn create_unix_connection<P: IntoProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        path: impl AsRef<Path>,
        options: ConnectOptions,
    ) -> io::Result<Transport> {
        let (socket, peer) = self.connect_path(path.as_ref()).await?;
        let upper = factory().into_upper();
        self.open(socket, peer, upper, &options).await.map(Transport)
    }

    /// Makes a transport of a socket that is connected.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) as an [`io::Error`]; a socket that cannot be watched.
    pub async fn connect_accepted_socket<P: IntoProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        socket: impl Into<OwnedFd>,
        options: ConnectOptions,
    ) -> io::Result<Transport> {
        let (socket, peer) = adopt(socket.into())?;
        let upper = factory().into_upper();
        self.open(socket, peer, upper, &options).await.map(Transport)
    }

    /// Connects to a host, for async code.
    ///
    /// # Errors
    /// As [`Loop::create_connection`].
    pub async fn open_connection(
        &self,
        host: &str,
        port: u16,
        options: ConnectOptions,
    ) -> io::Result<Stream> {
        let (socket, peer) = self.connect(host, port, &options).await?;
        let (upper, stream) = Stream::upper();
        self.open(socket, peer, upper, &options).await.map(stream)
    }

    /// Connects to a Unix socket, for async code.
    ///
    /// # Errors
    /// What connecting ends with.
    pub async fn open_unix_connection(&self, path: impl AsRef<Path>) -> io::Result<Stream> {
        let (socket, peer) = self.connect_path(path.as_ref()).await?;
        let (upper, stream) = Stream::upper();
        self.open(socket, peer, upper, &ConnectOptions::default()).await.map(stream)
    }

    /// Makes a stream of a socket that is connected.
    ///
    /// # Errors
    /// As [`Loop::connect_accepted_socket`].
    pub async fn open_socket(&self, socket: impl Into<OwnedFd>) -> io::Result<Stream> {
        let (socket, peer) = adopt(socket.into())?;
        let (upper, stream) = Stream::upper();
        self.open(socket, peer, upper, &ConnectOptions::default()).await.map(stream)
    }

    async fn open(
        &self,
        socket: Socket,
        peer: Address,
        upper: Upper,
        options: &ConnectOptions,
    ) -> io::Result<Rc<Connection>> {
        let file = OwnedFd::from(socket);
        let opening =
            Opening { file, medium: Medium::Socket, peer: Some(peer), server: None, upper };
        let connection = Connection::open(&self.hub, opening)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &options.tls {
            crate::tls::connect(&connection, tls).await?;
            return Ok(connection);
        }
        let _ = options;
        connection.begin();
        Ok(connection)
    }

    async fn connect_path(&self, path: &Path) -> io::Result<(Socket, Address)> {
        use std::os::unix::ffi::OsStrExt;
        let name = Name::unix(path.as_os_str().as_bytes()).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        connect_socket(&self.hub, &socket, &name).await?;
        Ok((socket, name.address()))
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
        options: &ConnectOptions,
    ) -> io::Result<(Socket, Address)> {
        let hints = Hints { kind: Type::STREAM.into(), ..Hints::default() };
        let found = self.getaddrinfo(Some(host), Some(&port.to_string()), hints).await?;
        let mut addresses: Vec<SocketAddr> = found.into_iter().map(|found| found.address).collect();
        if options.happy_eyeballs_delay.is_some() {
            addresses = interleaved(addresses);
        }
        race(&self.hub, &addresses, options).await
    }
}

/// A socket that is connected, and to whom.
fn adopt(socket: OwnedFd) -> io::Result<(Socket, Address)> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    let peer = socket.peer_addr()?;
    let address = match peer.as_socket() {
        Some(SocketAddr::V4(v4)) => Address::V4(v4),
        Some(SocketAddr::V6(v6)) => Address::V6(v6),
        None => Address::Other,
    };
    Ok((socket, address))
}

/// The families take turns, in the order in which they first appear.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0);
        mixed.extend(pair.1);
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<(Socket, Address)>> + 'a>>;

/// Tries the addresses in their order; with a delay, the next one beside those that have not
/// answered. The first that does wins; the others' sockets are closed.
async fn race(
    hub: &Rc<Hub>,
    addresses: &[SocketAddr],
    options: &ConnectOptions,
) -> io::Result<(Socket, Address)> {
    let mut left = addresses.iter();
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        match next {
            Some(address) => attempts.push(Box::pin(attempt(hub, *address, options))),
            None if attempts.is_empty() => return Err(error),
            None => {}
        }
        let wait = options.happy_eyeballs_delay.filter(|_| next.is_some());
        let mut alarm = pin!(wait.map(sleep));
        // Until one succeeds, all have failed, or it is time for the next address.
        let round = poll_fn(|cx| {
            let mut index = 0;
            while let Some(attempt) = attempts.get_mut(index) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Some(connected)),
                    Poll::Ready(Err(failure)) => {
                        error = failure;
                        drop(attempts.remove(index));
                        return Poll::Ready(None);
                    }
                    Poll::Pending => index += 1,
                }
            }
            match alarm.as_mut().as_pin_mut() {
                Some(alarm) => alarm.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        if let Some(connected) = round.await {
            return Ok(connected);
        }
    }
}

async fn attempt(
    hub: &Rc<Hub>,
    address: SocketAddr,
    options: &ConnectOptions,
) -> io::Result<(Socket, Address)> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)?;
    if let Some(local) = options.local_addr {
        if local.is_ipv6() != address.is_ipv6() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.bind(&local.into())?;
    }
    let name = name_of(&address);
    connect_socket(hub, &socket, &name).await?;
    Ok((socket, name.address()))
}

/// Connects a socket. Dropping the future leaves nothing watched.
async fn connect_socket(hub: &Rc<Hub>, socket: &Socket, name: &Name) -> io::Result<()> {
    let fd = Fd::new(socket.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
    if peer::connect(fd, name)? {
        return Ok(());
    }
    let watching = Watching { hub, fd };
    poll_fn(|cx| {
        if let Some(error) = socket.take_error()? {
            return Poll::Ready(Err(error));
        }
        if socket.peer_addr().is_ok() {
            return Poll::Ready(Ok(()));
        }
        watching.watch(Job::Wake(cx.waker().clone()))?;
        Poll::Pending
    })
    .await
}

/// A socket that is watched for writability, until this is dropped.
struct Watching<'a> {
    hub: &'a Hub,
    fd: Fd,
}

impl Watching<'_> {
    fn watch(&self, job: Job) -> io::Result<()> {
        let watched = self.hub.engine().watch_once(self.fd, Direction::Write, job);
        watched.map(drop).map_err(|(error, _)| error)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let job = self.hub.engine().unwatch(self.fd, Direction::Write);
        drop(job);
    }
}
