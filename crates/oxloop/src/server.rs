//! Servers: listening sockets and the connections that they have accepted.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use oxloop_engine::{AcceptFailure, Address, Fd, Key, Slots};
use socket2::{Domain, Protocol as SocketProtocol, SockAddr, Socket, Type};

use crate::event_loop::{Loop, Origin, report_error};
use crate::host::Endpoint;
use crate::hub::Hub;
use crate::protocol::IntoProtocol;
use crate::resolve::Hints;
use crate::stream::Stream;
use crate::task::Task;
use crate::transport::{Connection, Medium, Opening, Upper};

/// How long a server waits when the system is out of something; asyncio's.
const RETRY: Duration = Duration::from_secs(1);
/// `AI_PASSIVE`, as every C library has it.
const PASSIVE: i32 = 1;

/// How a server listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How many connections wait to be accepted, and how many are accepted at a time; 100.
    pub backlog: u32,
    /// Lets several processes listen on one port.
    pub reuse_port: bool,
    /// Has the system look after idle connections.
    pub keep_alive: bool,
    /// Serves TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<std::sync::Arc<rustls::ServerConfig>>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            backlog: 100,
            reuse_port: false,
            keep_alive: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A server. Dropping the handle closes it: nothing more is accepted; connections go on.
pub struct Server(Rc<Inner>);

struct Inner {
    hub: Rc<Hub>,
    listeners: RefCell<Vec<Rc<Listener>>>,
    accept: Accept,
    connections: RefCell<Slots<Weak<Connection>>>,
    closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    options: ServerOptions,
}

struct Listener {
    socket: Cell<Option<Socket>>,
    key: Cell<Option<Key>>,
    server: Weak<Inner>,
    local: Option<SocketAddr>,
}

/// A connection counts among its server's, until this is dropped.
pub(crate) struct Attached {
    server: Weak<Inner>,
    key: Key,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(server) = self.server.upgrade() else { return };
        let gone = server.connections.borrow_mut().remove(self.key);
        drop(gone);
        server.tell_if_over();
    }
}

impl Loop {
    /// Serves every connection to `host` and `port` with a protocol that `factory` makes. Without a
    /// host on all addresses, with port 0 on a free one.
    ///
    /// # Errors
    /// What looking the host up, or binding an address, ends with.
    ///
    /// ```
    /// use oxloop::{Protocol, ServerOptions, Transport};
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         transport.write(data);
    ///     }
    /// }
    ///
    /// let event_loop = oxloop::EventLoop::new();
    /// let options = ServerOptions::default();
    /// let server = event_loop
    ///     .run_until_complete(event_loop.create_server(|| Echo, Some("127.0.0.1"), 0, options))??;
    /// assert_ne!(server.local_addrs()[0].port(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn create_server<P: IntoProtocol>(
        &self,
        factory: impl Fn() -> P + 'static,
        host: Option<&str>,
        port: u16,
        options: ServerOptions,
    ) -> io::Result<Server> {
        let sockets = self.bind(host, port, &options).await?;
        Server::start(self, sockets, options, protocols(factory))
    }

    /// As [`Loop::create_server`], of a Unix socket. A socket file that is left there from earlier is
    /// replaced.
    ///
    /// # Errors
    /// What binding the path ends with.
    pub fn create_unix_server<P: IntoProtocol>(
        &self,
        factory: impl Fn() -> P + 'static,
        path: impl AsRef<Path>,
        options: ServerOptions,
    ) -> io::Result<Server> {
        let socket = bind_path(path.as_ref(), &options)?;
        Server::start(self, vec![socket], options, protocols(factory))
    }

    /// Serves every connection with a task, made of what `handler` returns.
    ///
    /// # Errors
    /// As [`Loop::create_server`].
    pub async fn start_server<F, Fut>(
        &self,
        handler: F,
        host: impl Into<Option<&str>>,
        port: u16,
        options: ServerOptions,
    ) -> io::Result<Server>
    where
        F: Fn(Stream) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let sockets = self.bind(host.into(), port, &options).await?;
        Server::start(self, sockets, options, streams(handler))
    }

    /// As [`Loop::start_server`], of a Unix socket.
    ///
    /// # Errors
    /// As [`Loop::create_unix_server`].
    pub fn start_unix_server<F, Fut>(
        &self,
        handler: F,
        path: impl AsRef<Path>,
        options: ServerOptions,
    ) -> io::Result<Server>
    where
        F: Fn(Stream) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let socket = bind_path(path.as_ref(), &options)?;
        Server::start(self, vec![socket], options, streams(handler))
    }

    async fn bind(
        &self,
        host: Option<&str>,
        port: u16,
        options: &ServerOptions,
    ) -> io::Result<Vec<Socket>> {
        let service = port.to_string();
        let hints = Hints { kind: Type::STREAM.into(), flags: PASSIVE, ..Hints::default() };
        let found = self.getaddrinfo(host, Some(&service), hints).await?;
        let mut sockets: Vec<Socket> = Vec::new();
        let mut port = None;
        for found in found {
            let mut address = found.address;
            // A free port is the same on every address.
            if let Some(port) = port.filter(|_| address.port() == 0) {
                address.set_port(port);
            }
            match bind_address(address, options) {
                Ok(socket) => {
                    port = port.or_else(|| Some(socket.local_addr().ok()?.as_socket()?.port()));
                    sockets.push(socket);
                }
                // A family that the system has without addresses of it.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) => {
                    let text = format!("cannot bind {address}: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        if sockets.is_empty() { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok(sockets) }
    }
}

fn bind_address(address: SocketAddr, options: &ServerOptions) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(SocketProtocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.set_keepalive(options.keep_alive)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(options))?;
    Ok(socket)
}

fn bind_path(path: &Path, options: &ServerOptions) -> io::Result<Socket> {
    use std::os::unix::fs::FileTypeExt;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog(options))?;
    Ok(socket)
}

fn backlog(options: &ServerOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

type Accept = Box<dyn Fn(&Rc<Inner>, OwnedFd, Address)>;

fn protocols<P: IntoProtocol>(factory: impl Fn() -> P + 'static) -> Accept {
    Box::new(move |server, file, peer| {
        let upper = factory().into_upper();
        server.open(file, peer, upper, |connection| connection.begin());
    })
}

fn streams<F, Fut>(handler: F) -> Accept
where
    F: Fn(Stream) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let handler = Rc::new(handler);
    Box::new(move |server, file, peer| {
        let (upper, stream) = Stream::upper();
        let handler = handler.clone();
        server.open(file, peer, upper, move |connection| {
            connection.begin();
            let stream = stream(connection.clone());
            // Of a loop that is out of memory, the connection is closed.
            drop(Task::spawn(&connection.hub, handler(stream)));
        });
    })
}

impl Server {
    fn start(
        event_loop: &Loop,
        sockets: Vec<Socket>,
        options: ServerOptions,
        accept: Accept,
    ) -> io::Result<Server> {
        let hub = event_loop.hub.clone();
        hub.check_open()?;
        let server = Server(Rc::new(Inner {
            hub,
            listeners: RefCell::default(),
            accept,
            connections: RefCell::default(),
            closed: Cell::new(false),
            waiting: RefCell::default(),
            options,
        }));
        for socket in sockets {
            server.0.listen(socket)?;
        }
        Ok(server)
    }

    /// Where it listens, as far as those are internet addresses.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.listeners.borrow().iter().filter_map(|listener| listener.local).collect()
    }

    /// Whether it accepts connections.
    pub fn is_serving(&self) -> bool {
        !self.0.closed.get() && !self.0.hub.closed.get()
    }

    /// Accepts no more connections; those that there are go on.
    pub fn close(&self) {
        self.0.close();
    }

    /// Closes every connection, once everything that was written is sent.
    pub fn close_clients(&self) {
        self.0.connections().iter().for_each(Connection::close);
    }

    /// Ends every connection at once.
    pub fn abort_clients(&self) {
        self.0.connections().iter().for_each(|connection| connection.force_close(None));
    }

    /// Waits until the server is closed and all its connections are over.
    pub async fn wait_closed(&self) {
        poll_fn(|cx| {
            if self.0.is_over() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            let mut waiting = self.0.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(&waker)) {
                waiting.push(waker);
            }
            Poll::Pending
        })
        .await;
    }

    /// Serves until the future is dropped, or the server closed; then waits as
    /// [`Server::wait_closed`].
    pub async fn serve_forever(self) {
        self.wait_closed().await;
    }
}

impl Inner {
    fn listen(self: &Rc<Self>, socket: Socket) -> io::Result<()> {
        let fd = Fd::new(socket.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        let local = socket.local_addr().ok().and_then(|local| local.as_socket());
        let listener = Rc::new(Listener {
            socket: Cell::new(Some(socket)),
            key: Cell::new(None),
            server: Rc::downgrade(self),
            local,
        });
        let batch = self.options.backlog as usize + 1;
        let listening = self.hub.engine().listen(fd, batch, listener.clone());
        let key = listening.map_err(|(error, _)| error)?;
        listener.key.set(Some(key));
        self.listeners.borrow_mut().push(listener);
        Ok(())
    }

    /// Opens an accepted connection, which `begin` sets going.
    fn open(
        self: &Rc<Self>,
        file: OwnedFd,
        peer: Address,
        upper: Upper,
        begin: impl FnOnce(&Rc<Connection>) + 'static,
    ) {
        let opening =
            Opening { file, medium: Medium::Socket, peer: Some(peer), server: None, upper };
        let opened = Connection::open(&self.hub, opening).and_then(|connection| {
            let attached = self.connections.borrow_mut().insert(Rc::downgrade(&connection));
            let key = attached.map_err(|_| io::ErrorKind::OutOfMemory)?;
            connection.attach(Attached { server: Rc::downgrade(self), key });
            #[cfg(feature = "tls")]
            if let Some(config) = &self.options.tls {
                return crate::tls::accept(&connection, config.clone(), begin);
            }
            begin(&connection);
            Ok(())
        });
        if let Err(error) = opened {
            report_error(
                &self.hub,
                "An accepted connection could not begin",
                String::new(),
                &error,
            );
        }
    }

    fn connections(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().filter_map(|(_, weak)| weak.upgrade()).collect()
    }

    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let listeners = self.listeners.borrow().clone();
        for listener in listeners {
            listener.close(&self.hub);
        }
        self.tell_if_over();
    }

    fn is_over(&self) -> bool {
        (self.closed.get() || self.hub.closed.get()) && self.connections.borrow().is_empty()
    }

    fn tell_if_over(&self) {
        if self.is_over() {
            let waiting = self.waiting.take();
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Listener {
    fn close(&self, hub: &Hub) {
        if let Some(key) = self.key.take() {
            let conn = hub.engine().unlisten(key);
            drop(conn);
        }
        let socket = self.socket.take();
        drop(socket);
    }
}

impl Endpoint for Listener {
    fn accepted(self: Rc<Self>, _: &Rc<Hub>, _: Key, fd: Fd, peer: Address) {
        let file = fd.into_owned();
        if let Some(server) = self.server.upgrade() {
            (server.accept)(&server, file, peer);
        }
    }

    fn accept_failed(self: Rc<Self>, hub: &Rc<Hub>, key: Key, failure: AcceptFailure) {
        if failure.first {
            let message = "A server cannot accept connections";
            report_error(hub, message, String::new(), &failure.error);
        }
        let resume = hub.clone();
        let again = move || {
            let resumed = resume.engine().resume_listener(key);
            drop(resumed);
        };
        // Of a loop without memory the listener stays silent.
        let _ = hub.call_later(RETRY, Box::new(again), Origin::of::<Listener>());
    }

    fn closed(self: Rc<Self>) {
        self.key.set(None);
        let socket = self.socket.take();
        drop(socket);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.local_addrs())
            .field("serving", &self.is_serving())
            .field("connections", &self.0.connections.borrow().len())
            .finish()
    }
}
