//! rustls as the engine's pump sees it: fed with ciphertext, emptied of it.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io::{self, Read, Write};

use oxloop_engine::{Progress, Taken, TlsSession};
use rustls::Connection;

/// One side of a connection.
pub(crate) struct Session {
    inner: RefCell<Inner>,
    /// The last read filled its buffer: there may be more plaintext.
    filled: Cell<bool>,
    said_goodbye: Cell<bool>,
    /// The peer has said goodbye.
    ended: Cell<bool>,
}

struct Inner {
    connection: Connection,
    /// Ciphertext that has come, from `taken` on.
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
    /// The peer's goodbye has come; what it said before may not be read yet.
    closed: bool,
}

impl Session {
    pub(super) fn new(mut connection: Connection) -> Session {
        // The pump decides how much is encrypted at a time.
        connection.set_buffer_limit(None);
        let inner = Inner {
            connection,
            incoming: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            closed: false,
        };
        Session {
            inner: RefCell::new(inner),
            filled: Cell::new(false),
            said_goodbye: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// What was agreed.
    pub(super) fn visit<R>(&self, visit: impl FnOnce(&rustls::CommonState) -> R) -> R {
        visit(&self.inner.borrow().connection)
    }

    fn inner(&self) -> RefMut<'_, Inner> {
        self.inner.borrow_mut()
    }
}

impl Inner {
    fn unread(&self) -> usize {
        self.incoming.len() - self.taken
    }

    /// Has rustls look at some of what has come. False if there is nothing.
    fn process(&mut self) -> io::Result<bool> {
        let mut rest = self.incoming.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        self.taken += self.connection.read_tls(&mut rest)?;
        if self.taken >= self.incoming.len() {
            self.incoming.clear();
            self.taken = 0;
        }
        let processed = self.connection.process_new_packets();
        // An error has something to say to the peer, too.
        self.collect()?;
        let state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.closed = state.peer_has_closed();
        Ok(true)
    }

    /// Takes in what rustls wants to send.
    fn collect(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing)?;
        }
        Ok(())
    }
}

impl TlsSession for Session {
    type Error = io::Error;

    fn feed(&self, ciphertext: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.incoming.try_reserve(ciphertext.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        inner.incoming.extend_from_slice(ciphertext);
        Ok(())
    }

    fn unread(&self) -> usize {
        self.inner.borrow().unread()
    }

    fn has_more(&self) -> bool {
        let inner = self.inner.borrow();
        self.filled.get() || inner.unread() > 0 || (inner.closed && !self.ended.get())
    }

    fn output_len(&self) -> usize {
        self.inner.borrow().outgoing.len()
    }

    fn take_output(&self, sink: impl FnOnce(&[u8])) -> io::Result<()> {
        let mut outgoing = std::mem::take(&mut self.inner().outgoing);
        sink(&outgoing);
        outgoing.clear();
        let mut inner = self.inner();
        if inner.outgoing.is_empty() {
            inner.outgoing = outgoing;
        }
        Ok(())
    }

    fn handshake(&self) -> io::Result<Progress> {
        let mut inner = self.inner();
        inner.collect()?;
        while inner.connection.is_handshaking() {
            if !inner.process()? {
                return Ok(Progress::Blocked);
            }
        }
        Ok(Progress::Done)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Taken> {
        let mut inner = self.inner();
        loop {
            match inner.connection.reader().read(buffer) {
                Ok(0) => {
                    self.ended.set(true);
                    self.filled.set(false);
                    return Ok(Taken::Ended);
                }
                Ok(count) => {
                    self.filled.set(count == buffer.len());
                    return Ok(Taken::Bytes(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.filled.set(false);
            if !inner.process()? {
                return Ok(Taken::Blocked);
            }
        }
    }

    fn write(&self, plaintext: &[u8]) -> io::Result<Option<usize>> {
        let mut inner = self.inner();
        let count = inner.connection.writer().write(plaintext)?;
        inner.collect()?;
        Ok(Some(count))
    }

    fn shutdown(&self) -> io::Result<Progress> {
        let mut inner = self.inner();
        if !self.said_goodbye.replace(true) {
            inner.connection.send_close_notify();
            inner.collect()?;
        }
        Ok(if self.ended.get() { Progress::Done } else { Progress::Blocked })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("ended", &self.ended.get()).finish_non_exhaustive()
    }
}
