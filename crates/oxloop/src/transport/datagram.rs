//! Datagram endpoints.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use oxloop_engine::{Closing, Fd, Flushed, Key, Limits, Measures, Name, Wrote};
use socket2::{Domain, Socket, Type};
use std::os::fd::AsRawFd;

use super::protocol_failed;
use crate::error::Panic;
use crate::event_loop::{Loop, Origin, discard, report_panic};
use crate::host::Endpoint;
use crate::hub::Hub;
use crate::protocol::DatagramProtocol;
use crate::resolve::{name_of, socket_address};

/// No datagram of the internet is longer, and what one counts for in the buffer beside its bytes;
/// asyncio's.
const MEASURES: Measures = Measures { largest: 64 * 1024, header: 8 };

/// How a datagram endpoint is made. At least one address is given.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DatagramOptions {
    /// Where to receive; port 0 is a free one.
    pub local_addr: Option<SocketAddr>,
    /// The only peer; datagrams without a destination go there.
    pub remote_addr: Option<SocketAddr>,
    /// Lets several processes receive on one port.
    pub reuse_port: bool,
    /// Lets the endpoint send to everybody in a network.
    pub allow_broadcast: bool,
}

impl Loop {
    /// Makes a datagram endpoint, and gives it to the protocol that `factory` makes.
    ///
    /// # Errors
    /// What binding or connecting ends with; without an address.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use oxloop::{DatagramOptions, DatagramProtocol, DatagramTransport};
    ///
    /// struct Echo;
    ///
    /// impl DatagramProtocol for Echo {
    ///     fn datagram_received(
    ///         &mut self,
    ///         transport: &DatagramTransport,
    ///         data: &[u8],
    ///         from: Option<SocketAddr>,
    ///     ) {
    ///         transport.send_to(data, from);
    ///     }
    /// }
    ///
    /// let event_loop = oxloop::EventLoop::new();
    /// let mut options = DatagramOptions::default();
    /// options.local_addr = Some("127.0.0.1:0".parse()?);
    /// let transport = event_loop.create_datagram_endpoint(|| Echo, options)?;
    /// assert!(transport.local_addr().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_datagram_endpoint<P: DatagramProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        options: DatagramOptions,
    ) -> io::Result<DatagramTransport> {
        self.hub.check_open()?;
        let socket = make_socket(options)?;
        let mailbox = Mailbox::open(&self.hub, socket, options.remote_addr, Box::new(factory()))?;
        mailbox.call("connection_made", |protocol, transport| protocol.connection_made(transport));
        if !mailbox.closing.get()
            && let Some(key) = mailbox.endpoint.get()
        {
            let reading = self.hub.engine().start_reading(key);
            if let Err(error) = reading {
                mailbox.force_close(None);
                return Err(error);
            }
        }
        Ok(DatagramTransport(mailbox))
    }
}

fn make_socket(options: DatagramOptions) -> io::Result<Socket> {
    let address = options.local_addr.or(options.remote_addr);
    let address = address.ok_or(io::ErrorKind::InvalidInput)?;
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_broadcast(options.allow_broadcast)?;
    if let Some(local) = options.local_addr {
        socket.bind(&local.into())?;
    }
    if let Some(remote) = options.remote_addr {
        socket.connect(&remote.into())?;
    }
    Ok(socket)
}

/// A datagram endpoint. Cheap to clone; dropping it changes nothing: the endpoint is its loop's until
/// it is closed.
#[derive(Clone)]
pub struct DatagramTransport(Rc<Mailbox>);

struct Mailbox {
    hub: Rc<Hub>,
    endpoint: Cell<Option<Key>>,
    socket: RefCell<Option<Socket>>,
    remote: Option<SocketAddr>,
    /// Away while it runs.
    protocol: Cell<Option<Box<dyn DatagramProtocol>>>,
    verdict: Cell<Option<io::Error>>,
    closing: Cell<bool>,
    lost: Cell<bool>,
    pause_due: Cell<bool>,
}

impl DatagramTransport {
    /// Sends a datagram: to `to`, or to the peer that the endpoint was made with. What cannot be sent
    /// is told to the protocol. After the end of the endpoint nothing happens.
    pub fn send_to(&self, data: &[u8], to: impl Into<Option<SocketAddr>>) {
        self.0.send_to(data, to.into());
    }

    /// Receives no more, sends what waits, then ends the endpoint.
    pub fn close(&self) {
        self.0.close();
    }

    /// Ends the endpoint at once.
    pub fn abort(&self) {
        self.0.force_close(None);
    }

    /// Whether the endpoint is ending or has ended.
    pub fn is_closing(&self) -> bool {
        self.0.closing.get() || self.0.endpoint.get().is_none()
    }

    /// How many bytes wait to be sent; a datagram counts for 8 more than it has.
    pub fn write_buffer_size(&self) -> usize {
        self.0.endpoint.get().map_or(0, |key| self.0.hub.engine().buffered(key))
    }

    /// Sets the marks of flow control, in bytes.
    pub fn set_write_buffer_limits(&self, limits: Limits) {
        let Some(key) = self.0.endpoint.get() else { return };
        let limits = Limits { low: limits.low.min(limits.high), high: limits.high };
        let wrote = self.0.hub.engine().set_limits(key, limits);
        self.0.wrote(wrote);
    }

    /// Calls `visit` with the protocol, if it is a `P` and not running already.
    pub fn with_protocol<P: 'static, R>(&self, visit: impl FnOnce(&mut P) -> R) -> Option<R> {
        self.0.call("with_protocol", |protocol, _| {
            let any: &mut dyn Any = protocol;
            any.downcast_mut().map(visit)
        })?
    }

    /// Where the endpoint receives.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.socket.borrow().as_ref()?.local_addr().ok()?.as_socket()
    }

    /// The only peer, if the endpoint was made with one.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote
    }

    /// The loop that the endpoint belongs to.
    pub fn get_loop(&self) -> Loop {
        self.0.hub.handle()
    }
}

impl Mailbox {
    fn open(
        hub: &Rc<Hub>,
        socket: Socket,
        remote: Option<SocketAddr>,
        protocol: Box<dyn DatagramProtocol>,
    ) -> io::Result<Rc<Mailbox>> {
        let fd = Fd::new(socket.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        let this = Rc::new(Mailbox {
            hub: hub.clone(),
            endpoint: Cell::new(None),
            socket: RefCell::new(Some(socket)),
            remote,
            protocol: Cell::new(Some(protocol)),
            verdict: Cell::new(None),
            closing: Cell::new(false),
            lost: Cell::new(false),
            pause_due: Cell::new(false),
        });
        let opened = hub.engine().open_endpoint(fd, MEASURES, this.clone());
        this.endpoint.set(Some(opened.map_err(|(error, _)| error)?));
        Ok(this)
    }

    fn call<R>(
        self: &Rc<Self>,
        name: &str,
        call: impl FnOnce(&mut dyn DatagramProtocol, &DatagramTransport) -> R,
    ) -> Option<R> {
        let mut protocol = self.protocol.take()?;
        let transport = DatagramTransport(self.clone());
        let called = catch_unwind(AssertUnwindSafe(|| {
            let result = call(&mut *protocol, &transport);
            while self.pause_due.take() {
                protocol.pause_writing(&transport);
            }
            result
        }));
        if self.endpoint.get().is_some() {
            self.protocol.set(Some(protocol));
        } else {
            discard(&self.hub, protocol);
        }
        match called {
            Ok(result) => Some(result),
            Err(payload) => {
                let message = format!("Fatal error: protocol.{name}() call failed");
                report_panic(&self.hub, &message, String::new(), &Panic::new(payload));
                self.force_close(Some(protocol_failed()));
                None
            }
        }
    }

    fn send_to(self: &Rc<Self>, data: &[u8], to: Option<SocketAddr>) {
        let Some(key) = self.endpoint.get().filter(|_| !self.closing.get()) else { return };
        // A connected socket takes no other destination.
        let to = if self.remote.is_some() { None } else { to };
        let name: Option<Name> = to.as_ref().map(name_of);
        let wrote = self.hub.engine().send_datagram(key, name.as_ref(), data, || None);
        self.wrote(wrote);
    }

    fn wrote(self: &Rc<Self>, wrote: Wrote) {
        match wrote {
            Wrote::Fine | Wrote::Closed => {}
            Wrote::Pause => {
                let paused = self
                    .call("pause_writing", |protocol, transport| protocol.pause_writing(transport));
                if paused.is_none() && !self.lost.get() {
                    self.pause_due.set(true);
                }
            }
            Wrote::Failed(error) => self.fail_later(error),
        }
    }

    /// The protocol may be the one who sends: it hears of an error when it has returned.
    fn fail_later(self: &Rc<Self>, error: io::Error) {
        let this = self.clone();
        let tell = move || {
            this.call("error_received", |protocol, transport| {
                protocol.error_received(transport, error);
            });
        };
        // Without memory the error is lost, as the datagram is.
        let _ = self.hub.call_soon(Box::new(tell), Origin::of::<Mailbox>());
    }

    fn close(self: &Rc<Self>) {
        if self.closing.replace(true) {
            return;
        }
        let Some(key) = self.endpoint.get() else { return };
        let closing = self.hub.engine().close(key);
        match closing {
            Closing::Now => self.lose_later(None),
            Closing::AfterFlush | Closing::Already => {}
            Closing::Failed(error) => self.force_close(Some(error)),
        }
    }

    fn force_close(self: &Rc<Self>, error: Option<io::Error>) {
        if self.lost.get() {
            return;
        }
        self.closing.set(true);
        if let Some(key) = self.endpoint.get() {
            self.hub.engine().abort(key);
        }
        self.lose_later(error);
    }

    fn lose_later(self: &Rc<Self>, error: Option<io::Error>) {
        if self.lost.replace(true) {
            return;
        }
        self.verdict.set(error);
        let this = self.clone();
        let lose = move || {
            let error = this.verdict.take();
            this.call("connection_lost", |protocol, transport| {
                protocol.connection_lost(transport, error.as_ref());
            });
            this.let_go();
        };
        if self.hub.call_soon(Box::new(lose), Origin::of::<Mailbox>()).is_err() {
            self.let_go();
        }
    }

    fn let_go(&self) {
        if let Some(key) = self.endpoint.take() {
            let conn = self.hub.engine().release(key);
            drop(conn);
        }
        let socket = self.socket.take();
        drop(socket);
        if let Some(protocol) = self.protocol.take() {
            discard(&self.hub, protocol);
        }
    }
}

impl Endpoint for Mailbox {
    fn datagram(self: Rc<Self>, hub: &Rc<Hub>, _: Key) {
        let mut copy = hub.buffer.take();
        copy.clear();
        let from = {
            let engine = hub.engine();
            let (data, from) = engine.datagram();
            copy.extend_from_slice(data);
            socket_address(&Name::from_raw(from))
        };
        self.call("datagram_received", |protocol, transport| {
            protocol.datagram_received(transport, &copy, from);
        });
        hub.buffer.set(copy);
    }

    fn datagram_failed(self: Rc<Self>, _: &Rc<Hub>, _: Key, error: io::Error) {
        self.call("error_received", |protocol, transport| {
            protocol.error_received(transport, error);
        });
    }

    fn flushed(self: Rc<Self>, hub: &Rc<Hub>, key: Key, flushed: Flushed) {
        if flushed.resume {
            self.call("resume_writing", |protocol, transport| protocol.resume_writing(transport));
        }
        let settled = hub.engine().settle(key);
        if settled.finished {
            self.lose_later(None);
        }
    }

    fn closed(self: Rc<Self>) {
        self.closing.set(true);
        self.lost.set(true);
        self.endpoint.set(None);
        self.let_go();
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("local", &self.local_addr())
            .field("remote", &self.remote_addr())
            .field("closing", &self.is_closing())
            .finish()
    }
}
