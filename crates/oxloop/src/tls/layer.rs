//! The layer between a connection's stream and its user: drives the pump.
//!
//! Invariant: whoever drives does everything that can be done; what is called meanwhile, from the
//! user that it calls, leaves a note in the pump, and the driver comes to it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use oxloop_engine::{Farewell, FlowChange, Key, Limits, Pump, TlsSession, TlsStep};

use super::Session;
use crate::event_loop::Origin;
use crate::host::{HeldBytes, Program};
use crate::transport::{Connection, Upper};

/// What is read at a time (bytes).
const BUFFER: usize = 64 * 1024;
/// What waits for encryption does not wait for others to join it from this size on (bytes).
const AT_ONCE: usize = 64 * 1024;
/// No more ciphertext is taken in than this (bytes) for a user who does not read.
const UNREAD: usize = 64 * 1024;
/// How long the peer may take to shake hands, and to answer a goodbye; asyncio's.
const HANDSHAKE: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_secs(30);

/// What happens when hands are shaken.
pub(super) type Ready = Box<dyn FnOnce(&Rc<Connection>)>;

/// A layer of TLS.
pub(crate) struct Tls {
    pump: Pump<Program>,
    driving: Cell<bool>,
    ready: Cell<Option<Ready>>,
    /// The keys of the callback and timer that end the patience with the peer.
    patience: Cell<Option<(Key, Key)>>,
    /// How the handshake ended, for who waits for that.
    shaken: Cell<Option<io::Result<()>>>,
    waiter: RefCell<Option<Waker>>,
    /// The stream is not read: too much waits for the user.
    full: Cell<bool>,
    limits: Cell<Limits>,
}

impl Tls {
    /// Puts a layer over the stream of a connection, and begins to shake hands.
    pub(super) fn begin(connection: &Rc<Connection>, session: Session, ready: Ready) -> Rc<Tls> {
        let limits = Limits::default();
        let this = Rc::new(Tls {
            pump: Pump::new(session, limits),
            driving: Cell::new(false),
            ready: Cell::new(Some(ready)),
            patience: Cell::new(None),
            shaken: Cell::new(None),
            waiter: RefCell::new(None),
            full: Cell::new(false),
            limits: Cell::new(limits),
        });
        let before = connection.tls.replace(Some(this.clone()));
        drop(before);
        connection.choose_memory();
        connection.start_reading();
        this.limit(connection, HANDSHAKE, "the TLS handshake took too long");
        this.go_on(connection);
        this
    }

    /// Waits until hands are shaken, or why they are not.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        poll_fn(|cx| {
            if let Some(result) = self.shaken.take() {
                return Poll::Ready(result);
            }
            let before = self.waiter.replace(Some(cx.waker().clone()));
            drop(before);
            Poll::Pending
        })
        .await
    }

    pub(super) fn session(&self) -> &Session {
        self.pump.session()
    }

    /// Ciphertext is there.
    pub(crate) fn ciphertext(&self, connection: &Rc<Connection>, key: Key) {
        let mut buffer = take_buffer(connection);
        let received = connection.hub.engine().receive_into(key, &mut buffer);
        let fed = match received {
            Ok(0) => {
                give_back(connection, buffer);
                return self.cut(connection);
            }
            Ok(count) => self.pump.feed(buffer.get(..count).unwrap_or_default()),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            },
        };
        give_back(connection, buffer);
        match fed {
            Ok(()) => self.go_on(connection),
            Err(error) => self.fail(connection, error),
        }
    }

    /// The peer sends nothing more, goodbye or not.
    pub(crate) fn cut(&self, connection: &Rc<Connection>) {
        self.pump.cut(false);
        self.go_on(connection);
    }

    /// The stream is about to be flushed.
    pub(crate) fn fill(&self, connection: &Rc<Connection>) {
        self.go_on(connection);
    }

    pub(crate) fn write(
        &self,
        connection: &Rc<Connection>,
        data: &[u8],
        hold: impl FnOnce() -> Option<HeldBytes>,
    ) {
        if !self.pump.is_open() {
            return;
        }
        if self.pump.write(data, hold).is_err() {
            return connection.force_close(Some(io::ErrorKind::OutOfMemory.into()));
        }
        if self.pump.queued() >= AT_ONCE {
            self.send(connection);
            self.pause_if_full(connection);
        } else if let Some(stream) = connection.stream() {
            connection.hub.engine().fill_later(stream);
        }
    }

    /// Reads plaintext for a stream; [`io::ErrorKind::WouldBlock`] if there is none.
    pub(crate) fn read(&self, connection: &Rc<Connection>, buffer: &mut [u8]) -> io::Result<usize> {
        let step = self.pump.read(buffer);
        self.control_reading(connection);
        match step {
            TlsStep::Received(count) => Ok(count),
            TlsStep::Ended => {
                self.pump.close();
                self.go_on(connection);
                Ok(0)
            }
            TlsStep::Truncated => {
                self.go_on(connection);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            TlsStep::Failed(error) => {
                let again = io::Error::new(error.kind(), error.to_string());
                self.fail(connection, error);
                Err(again)
            }
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn set_reading(&self, connection: &Rc<Connection>, reading: bool) {
        self.pump.set_reading(reading);
        if reading {
            self.go_on(connection);
            self.control_reading(connection);
        }
    }

    /// The stream takes no more.
    pub(crate) fn stream_full(&self) {
        self.pump.set_blocked(true);
    }

    /// The stream takes more.
    pub(crate) fn stream_has_room(&self, connection: &Rc<Connection>) {
        self.pump.set_blocked(false);
        self.go_on(connection);
    }

    pub(crate) fn queued(&self) -> usize {
        self.pump.queued()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    pub(crate) fn set_limits(&self, connection: &Rc<Connection>, limits: Limits) {
        self.limits.set(limits);
        self.pump.set_limits(limits);
        let Some(stream) = connection.stream() else { return };
        // A writer that pauses here is heard of when the stream below has room.
        let usual = Limits::default();
        let below = Limits { low: limits.low.min(usual.low), high: limits.high.min(usual.high) };
        let wrote = connection.hub.engine().set_limits(stream, below);
        connection.wrote(wrote);
        self.pause_if_full(connection);
    }

    pub(crate) fn is_write_paused(&self) -> bool {
        self.pump.is_write_paused()
    }

    /// Sends what was written, says goodbye, then closes the stream.
    pub(crate) fn close(&self, connection: &Rc<Connection>) {
        match self.pump.close() {
            Farewell::Abort => connection.force_close(None),
            Farewell::Begun => {
                self.limit(connection, GOODBYE, "the TLS shutdown took too long");
                self.go_on(connection);
            }
            Farewell::Already => {}
        }
    }

    pub(crate) fn abort(&self) {
        self.pump.abort();
    }

    /// The connection is over.
    pub(crate) fn lost(&self, connection: &Rc<Connection>, error: Option<io::Error>) {
        self.pump.abort();
        self.stop_patience(connection);
        let ready = self.ready.take();
        if ready.is_some() {
            let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
            self.tell_shaken(Err(error));
        }
        drop(ready);
    }

    /// Does everything that can be done now.
    fn go_on(&self, connection: &Rc<Connection>) {
        if self.driving.replace(true) {
            return;
        }
        let mut buffer = take_buffer(connection);
        self.drive(connection, &mut buffer);
        give_back(connection, buffer);
        self.driving.set(false);
        self.control_reading(connection);
    }

    fn drive(&self, connection: &Rc<Connection>, buffer: &mut [u8]) {
        loop {
            match self.pump.next(buffer, connection.user_offers()) {
                TlsStep::Output => self.send_output(connection),
                TlsStep::Handshaken => self.handshaken(connection),
                TlsStep::Received(count) => {
                    connection.deliver(buffer.get(..count).unwrap_or_default());
                }
                TlsStep::Offer => {
                    if !self.offer(connection) {
                        self.send(connection);
                        self.tell_flow(connection);
                        return;
                    }
                }
                TlsStep::HandshakeFailed(error) | TlsStep::Failed(error) => {
                    self.fail(connection, error);
                }
                TlsStep::Reset => self.fail(connection, io::ErrorKind::ConnectionReset.into()),
                TlsStep::Ended => {
                    connection.tell_end();
                    connection.close();
                }
                TlsStep::Truncated => {
                    connection.tell_end();
                    connection.truncated();
                }
                TlsStep::Closed => {
                    self.stop_patience(connection);
                    connection.close_stream();
                }
                TlsStep::Idle => {
                    if !self.tell_flow(connection) {
                        return;
                    }
                }
            }
        }
    }

    fn handshaken(&self, connection: &Rc<Connection>) {
        self.stop_patience(connection);
        let ready = self.ready.take();
        if let Some(ready) = ready {
            ready(connection);
        }
        self.tell_shaken(Ok(()));
    }

    fn tell_shaken(&self, result: io::Result<()>) {
        self.shaken.set(Some(result));
        let waiter = self.waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// There may be plaintext for a user with memory of its own. False if nothing was read.
    fn offer(&self, connection: &Rc<Connection>) -> bool {
        let mut woken = None;
        let step = connection.call("get_buffer", |upper, transport| match upper {
            Upper::Buffered(protocol) => {
                let buffer = protocol.get_buffer();
                if buffer.is_empty() {
                    let text = "get_buffer() returned an empty buffer";
                    return TlsStep::Failed(io::Error::other(text));
                }
                let step = self.pump.read(buffer);
                if let TlsStep::Received(count) = step {
                    protocol.buffer_updated(transport, count);
                }
                step
            }
            Upper::Stream(reader) => {
                reader.readable();
                woken = reader.take_waiter();
                TlsStep::Idle
            }
            Upper::Protocol(_) | Upper::Away => TlsStep::Idle,
        });
        if let Some(woken) = woken {
            woken.go_on(connection);
            // It may have read to the end, or closed.
            return !self.pump.is_open();
        }
        match step {
            Some(TlsStep::Received(_)) => true,
            Some(TlsStep::Ended) => {
                connection.tell_end();
                connection.close();
                true
            }
            Some(TlsStep::Truncated) => {
                connection.tell_end();
                connection.truncated();
                true
            }
            Some(TlsStep::Failed(error)) => {
                self.fail(connection, error);
                true
            }
            // Read to the end, if it was: the pump has something else to say then.
            Some(_) => connection.has_own_memory(),
            None => false,
        }
    }

    /// Encrypts and sends what was written.
    fn send(&self, connection: &Rc<Connection>) {
        loop {
            match self.pump.next_write() {
                TlsStep::Output => self.send_output(connection),
                TlsStep::Failed(error) => return self.fail(connection, error),
                _ => return,
            }
        }
    }

    fn send_output(&self, connection: &Rc<Connection>) {
        let Some(stream) = connection.stream() else { return self.pump.abort() };
        let mut wrote = None;
        let taken = self.pump.take_output(|output| {
            wrote = Some(connection.hub.engine().write(stream, output, || None));
        });
        if let Some(wrote) = wrote {
            connection.wrote(wrote);
        }
        if let Err(error) = taken {
            self.fail(connection, error);
        }
    }

    /// Going on again is for the driver to say, not from within a write.
    fn pause_if_full(&self, connection: &Rc<Connection>) {
        let Some(stream) = connection.stream() else { return };
        let below = connection.hub.engine().buffered(stream);
        let paused = self.pump.is_write_paused();
        if !paused && self.pump.flow_change(below) == Some(FlowChange::Pause) {
            connection.pause_user();
        }
    }

    /// Whether the user was told something about writing.
    fn tell_flow(&self, connection: &Rc<Connection>) -> bool {
        let Some(stream) = connection.stream() else { return false };
        let below = connection.hub.engine().buffered(stream);
        match self.pump.flow_change(below) {
            None => {
                // Its last piece may leave too little behind for the stream to call itself full.
                if self.pump.is_write_paused()
                    && self.pump.queued() == 0
                    && connection.hub.engine().pause_writer(stream)
                {
                    self.pump.set_blocked(true);
                }
                return false;
            }
            Some(FlowChange::Pause) => connection.pause_user(),
            Some(FlowChange::Resume) => connection.resume_user(),
        }
        true
    }

    /// What fails has something to say to the peer, mostly.
    #[cold]
    fn fail(&self, connection: &Rc<Connection>, error: io::Error) {
        if let Some(stream) = connection.stream() {
            let said = self.pump.take_output(|output| {
                let mut engine = connection.hub.engine();
                let _ = engine.write(stream, output, || None);
                let _ = engine.flush_now(stream);
            });
            drop(said);
        }
        connection.force_close(Some(error));
    }

    /// Ciphertext is not taken in without end for a user who does not read.
    fn control_reading(&self, connection: &Rc<Connection>) {
        let unread = self.pump.session().unread();
        let full = self.full.get();
        if !full && unread >= UNREAD {
            self.full.set(true);
            if let Some(stream) = connection.stream() {
                // The interest only shrinks.
                let _ = connection.hub.engine().stop_reading(stream);
            }
        } else if full && unread < UNREAD / 4 {
            self.full.set(false);
            if !connection.is_lost() {
                connection.start_reading();
            }
        }
    }

    /// Ends the connection if the peer takes too long.
    fn limit(&self, connection: &Rc<Connection>, patience: Duration, text: &'static str) {
        self.stop_patience(connection);
        let weak = Rc::downgrade(connection);
        let give_up = move || {
            if let Some(connection) = weak.upgrade() {
                let error = io::Error::new(io::ErrorKind::TimedOut, text);
                connection.force_close(Some(error));
            }
        };
        let origin = Origin::of::<Tls>();
        let timer = connection.hub.call_later(patience, Box::new(give_up), origin);
        self.patience.set(timer.ok());
    }

    fn stop_patience(&self, connection: &Rc<Connection>) {
        if let Some(keys) = self.patience.take() {
            connection.hub.cancel_later(keys);
        }
    }
}

/// The buffer that all connections of a loop share; another one while that is used.
fn take_buffer(connection: &Rc<Connection>) -> Vec<u8> {
    let mut buffer = connection.hub.buffer.take();
    if buffer.len() < BUFFER {
        buffer.resize(BUFFER, 0);
    }
    buffer
}

fn give_back(connection: &Rc<Connection>, buffer: Vec<u8>) {
    connection.hub.buffer.set(buffer);
}
