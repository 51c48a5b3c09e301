//! A connection: its stream in the engine, its descriptor, and its user.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Waker;

use oxloop_engine::{Address, End, Fd, FileSent, Flushed, Key, Wrote};
use oxloop_os::socket;

use super::{Transport, Upper, protocol_failed};
use crate::error::Panic;
use crate::event_loop::{discard, report_panic};
use crate::host::Endpoint;
use crate::hub::Hub;
use crate::server::Attached;
use crate::tls::Tls;

/// The state of a connection. Its fields are cells, for a protocol may call its transport from
/// within any of the calls that it gets.
pub(crate) struct Connection {
    pub(crate) hub: Rc<Hub>,
    pub(super) medium: Medium,
    /// The stream in the engine, until it is released.
    pub(super) stream: Cell<Option<Key>>,
    file: RefCell<Option<OwnedFd>>,
    pub(super) peer: Option<Address>,
    upper: Cell<Upper>,
    /// Kept while the connection lasts: a server counts its connections.
    pub(super) server: RefCell<Option<Attached>>,
    pub(crate) tls: RefCell<Option<Rc<Tls>>>,
    /// Why the connection ends, until that is told.
    pub(super) verdict: Cell<Option<io::Error>>,
    /// Who waits for a file to be sent; what became of it.
    pub(super) file_waiter: RefCell<Option<Waker>>,
    pub(super) file_sent: Cell<Option<FileSent>>,
    pub(super) sending_file: Cell<bool>,
    pub(super) closing: Cell<bool>,
    /// Its end is scheduled, or was told.
    pub(super) lost: Cell<bool>,
    pub(super) paused: Cell<bool>,
    pub(super) eof_written: Cell<bool>,
    pub(super) connected: Cell<bool>,
    /// The user is to be told to pause when it returns.
    pause_due: Cell<bool>,
}

/// What a connection is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Socket,
    ReadPipe,
    WritePipe { at_once: bool },
}

/// What a connection begins with.
pub(crate) struct Opening {
    pub(crate) file: OwnedFd,
    pub(crate) medium: Medium,
    pub(crate) peer: Option<Address>,
    pub(crate) server: Option<Attached>,
    pub(crate) upper: Upper,
}

impl Connection {
    /// Makes a connection of a non-blocking descriptor; it is deaf at first. On an error everything
    /// that was given is dropped.
    pub(crate) fn open(hub: &Rc<Hub>, opening: Opening) -> io::Result<Rc<Connection>> {
        hub.check_open()?;
        let Opening { file, medium, peer, server, upper } = opening;
        let fd = Fd::new(file.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        if matches!(peer, Some(Address::V4(_) | Address::V6(_))) {
            // As asyncio does; what is not TCP refuses.
            let _ = socket::set_nodelay(fd);
        }
        let this = Rc::new(Connection {
            hub: hub.clone(),
            medium,
            stream: Cell::new(None),
            file: RefCell::new(Some(file)),
            peer,
            upper: Cell::new(upper),
            server: RefCell::new(server),
            tls: RefCell::new(None),
            verdict: Cell::new(None),
            file_waiter: RefCell::new(None),
            file_sent: Cell::new(None),
            sending_file: Cell::new(false),
            closing: Cell::new(false),
            lost: Cell::new(false),
            paused: Cell::new(false),
            eof_written: Cell::new(false),
            connected: Cell::new(false),
            pause_due: Cell::new(false),
        });
        let conn: Rc<dyn Endpoint> = this.clone();
        let opened = {
            let mut engine = hub.engine();
            match medium {
                Medium::Socket => engine.open_stream(fd, conn),
                Medium::ReadPipe => engine.open_pipe(fd, End::Reading, conn),
                Medium::WritePipe { at_once } => {
                    engine.open_pipe(fd, End::Writing { at_once }, conn)
                }
            }
        };
        match opened {
            Ok(key) => {
                this.stream.set(Some(key));
                this.choose_memory();
                Ok(this)
            }
            Err((error, conn)) => {
                drop(conn);
                Err(error)
            }
        }
    }

    /// Tells the user that it is connected, and starts to read.
    pub(crate) fn begin(self: &Rc<Self>) {
        self.connected.set(true);
        self.call("connection_made", |upper, transport| upper.connection_made(transport));
        if self.is_reading() {
            self.start_reading();
        }
    }

    /// Counts it among a server's connections.
    pub(crate) fn attach(&self, server: Attached) {
        *self.server.borrow_mut() = Some(server);
    }

    /// Watches for nothing of the other end's.
    pub(crate) fn stay_deaf(&self) {
        self.paused.set(true);
    }

    /// Nothing more can be written.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_closing() || self.eof_written.get()
    }

    pub(crate) fn stream(&self) -> Option<Key> {
        self.stream.get()
    }

    /// The descriptor, while it is open.
    pub(crate) fn open_fd(&self) -> Option<Fd> {
        self.file.borrow().as_ref().and_then(|file| Fd::new(file.as_raw_fd()))
    }

    /// The layer of TLS, if there is one.
    pub(crate) fn tls(&self) -> Option<Rc<Tls>> {
        self.tls.borrow().clone()
    }

    /// Calls the user, unless it is running already or gone; `None` then, and if it panics, which
    /// ends the connection.
    pub(crate) fn call<R>(
        self: &Rc<Self>,
        name: &str,
        call: impl FnOnce(&mut Upper, &Transport) -> R,
    ) -> Option<R> {
        let mut upper = self.upper.take();
        if upper.is_away() {
            return None;
        }
        let transport = Transport(self.clone());
        let called = catch_unwind(AssertUnwindSafe(|| {
            let result = call(&mut upper, &transport);
            while self.pause_due.take() {
                upper.pause_writing(&transport);
            }
            result
        }));
        self.put_back(upper);
        match called {
            Ok(result) => Some(result),
            Err(payload) => {
                self.user_failed(name, &Panic::new(payload));
                None
            }
        }
    }

    #[cold]
    fn user_failed(self: &Rc<Self>, name: &str, panic: &Panic) {
        let message = format!("Fatal error: protocol.{name}() call failed");
        let subject = format!("{:?}", Transport(self.clone()));
        report_panic(&self.hub, &message, subject, panic);
        self.force_close(Some(protocol_failed()));
    }

    /// The user has returned. It may have been replaced meanwhile, or its time may be over.
    fn put_back(self: &Rc<Self>, upper: Upper) {
        let newer = self.upper.take();
        if newer.is_away() && self.stream.get().is_some() {
            self.upper.set(upper);
        } else {
            self.upper.set(newer);
            discard(&self.hub, upper);
        }
    }

    /// Tells the user to pause: at once, or when it returns.
    pub(crate) fn pause_user(self: &Rc<Self>) {
        let told = self.call("pause_writing", |upper, transport| upper.pause_writing(transport));
        if told.is_none() && !self.lost.get() {
            self.pause_due.set(true);
        }
    }

    /// Tells the user to go on.
    pub(crate) fn resume_user(self: &Rc<Self>) {
        self.call("resume_writing", |upper, transport| upper.resume_writing(transport));
    }

    pub(crate) fn set_upper(self: &Rc<Self>, upper: Upper) {
        if self.stream.get().is_none() {
            return discard(&self.hub, upper);
        }
        let before = self.upper.replace(upper);
        self.choose_memory();
        discard(&self.hub, before);
    }

    /// Whose memory is read into: TLS has its own, in front of the user's.
    pub(crate) fn choose_memory(&self) {
        let upper = self.upper.take();
        let reads = !matches!(self.medium, Medium::WritePipe { .. });
        let offered = reads && (upper.offers() || self.tls.borrow().is_some());
        self.upper.set(upper);
        if let Some(stream) = self.stream.get() {
            self.hub.engine().set_offered(stream, offered);
        }
    }

    /// Whether the user is a buffered protocol.
    #[cfg(feature = "tls")]
    pub(crate) fn has_own_memory(&self) -> bool {
        let upper = self.upper.take();
        let own = matches!(upper, Upper::Buffered(_));
        self.upper.set(upper);
        own
    }

    /// Whether the user has memory of its own for what comes in.
    #[cfg(feature = "tls")]
    pub(crate) fn user_offers(&self) -> bool {
        let upper = self.upper.take();
        let offers = upper.offers();
        self.upper.set(upper);
        offers
    }

    pub(super) fn with_protocol<P: 'static, R>(
        self: &Rc<Self>,
        visit: impl FnOnce(&mut P) -> R,
    ) -> Option<R> {
        self.call("with_protocol", |upper, _| upper.downcast::<P>().map(visit)).flatten()
    }

    /// Takes the user away for ever, and whatever else refers back to here.
    pub(super) fn take_upper(&self) -> Upper {
        self.upper.take()
    }

    pub(super) fn take_file(&self) -> Option<OwnedFd> {
        self.file.take()
    }
}

impl Endpoint for Connection {
    fn received(self: Rc<Self>, _: &Rc<Hub>, _: Key, count: usize) {
        self.data_received(count);
    }

    fn offered(self: Rc<Self>, _: &Rc<Hub>, key: Key) {
        let tls = self.tls();
        match tls {
            Some(tls) => tls.ciphertext(&self, key),
            None => self.data_offered(key),
        }
    }

    fn plenty(self: Rc<Self>, _: &Rc<Hub>, key: Key, size: usize) {
        self.plenty_offered(key, size);
    }

    fn ended(self: Rc<Self>, _: &Rc<Hub>, key: Key) {
        self.stream_ended(key);
    }

    fn read_failed(self: Rc<Self>, _: &Rc<Hub>, _: Key, error: io::Error) {
        self.force_close(Some(error));
    }

    fn fill(self: Rc<Self>, _: &Rc<Hub>, _: Key) {
        if let Some(tls) = self.tls() {
            tls.fill(&self);
        }
    }

    fn full(self: Rc<Self>, _: &Rc<Hub>, _: Key) {
        self.wrote(Wrote::Pause);
    }

    fn flushed(self: Rc<Self>, _: &Rc<Hub>, key: Key, flushed: Flushed) {
        self.stream_flushed(key, flushed);
    }

    fn file_sent(self: Rc<Self>, _: &Rc<Hub>, _: Key, sent: FileSent) {
        self.file_over(sent);
    }

    fn write_failed(self: Rc<Self>, _: &Rc<Hub>, _: Key, error: io::Error) {
        self.force_close(Some(error));
    }

    fn closed(self: Rc<Self>) {
        self.closing.set(true);
        self.lost.set(true);
        self.stream.set(None);
        self.let_go();
    }
}
