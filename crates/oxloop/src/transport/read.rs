//! The reading half: data and its end, as calls of the user.

use std::io;
use std::rc::Rc;

use oxloop_engine::Key;

use super::{Connection, Medium, Upper};

impl Connection {
    /// Data is in the engine's buffer, which the user borrows.
    #[inline]
    pub(super) fn data_received(self: &Rc<Self>, count: usize) {
        let buffer = self.hub.engine().lend_received();
        if let Some(data) = buffer.get(..count) {
            self.deliver(data);
        }
        self.hub.engine().take_back(buffer);
    }

    /// Gives data to a user without memory of its own.
    #[inline]
    pub(crate) fn deliver(self: &Rc<Self>, data: &[u8]) {
        self.call("data_received", |upper, transport| {
            if let Upper::Protocol(protocol) = upper {
                protocol.data_received(transport, data);
            }
        });
    }

    /// Data is there for the user's memory.
    pub(super) fn data_offered(self: &Rc<Self>, key: Key) {
        let mut woken = None;
        let received = self.call("get_buffer", |upper, transport| match upper {
            Upper::Buffered(protocol) => {
                let buffer = protocol.get_buffer();
                if buffer.is_empty() {
                    return Err(io::Error::other("get_buffer() returned an empty buffer"));
                }
                let count = self.hub.engine().receive_into(key, buffer)?;
                if count > 0 {
                    protocol.buffer_updated(transport, count);
                }
                Ok(count)
            }
            Upper::Stream(reader) => {
                // Reads when it is polled. What nobody wants stays where it is.
                if !reader.readable() {
                    reader.stopped();
                    self.hub.engine().stop_reading(key)?;
                }
                woken = reader.take_waiter();
                Ok(1)
            }
            // Its user has changed: the engine was told, and comes again.
            Upper::Protocol(_) | Upper::Away => Ok(1),
        });
        if let Some(woken) = woken {
            // Its step may call anything, the connection included.
            woken.go_on(self);
        }
        match received {
            None | Some(Ok(1..)) => {}
            Some(Ok(0)) => self.stream_ended(key),
            Some(Err(error)) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => self.force_close(Some(error)),
            },
        }
    }

    /// Much data is there: it is borrowed from here, too, which is as good as any memory.
    pub(super) fn plenty_offered(self: &Rc<Self>, key: Key, size: usize) {
        let mut buffer = self.hub.buffer.take();
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        let received = self.hub.engine().receive_into(key, &mut buffer);
        match received {
            Ok(0) => self.stream_ended(key),
            Ok(count) => self.deliver(buffer.get(..count).unwrap_or_default()),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => self.force_close(Some(error)),
            },
        }
        self.hub.buffer.set(buffer);
    }

    /// The other end sends nothing more.
    pub(super) fn stream_ended(self: &Rc<Self>, key: Key) {
        if let Some(tls) = self.tls() {
            return tls.cut(self);
        }
        if let Medium::WritePipe { .. } = self.medium {
            // Nobody reads any more: what waits is for nobody.
            let unsent = self.hub.engine().buffered(key) > 0;
            return self.force_close(unsent.then(|| io::ErrorKind::BrokenPipe.into()));
        }
        let keeps = self.tell_end();
        // Of a pipe there is nothing to keep.
        if keeps && self.medium == Medium::Socket {
            let stopped = self.hub.engine().stop_reading(key);
            if let Err(error) = stopped {
                self.force_close(Some(error));
            }
        } else if !self.lost.get() {
            self.close();
        }
    }

    /// Whether the user wants to go on writing.
    pub(crate) fn tell_end(self: &Rc<Self>) -> bool {
        self.call("eof_received", |upper, transport| upper.eof_received(transport)).unwrap_or(false)
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.closing.get() && !self.paused.get() && self.stream.get().is_some()
    }

    pub(super) fn pause_reading(self: &Rc<Self>) {
        if !self.is_reading() {
            return;
        }
        self.paused.set(true);
        if let Some(tls) = self.tls() {
            return tls.set_reading(self, false);
        }
        if let Some(stream) = self.stream.get() {
            // The interest only shrinks.
            let _ = self.hub.engine().stop_reading(stream);
        }
    }

    pub(super) fn resume_reading(self: &Rc<Self>) {
        if self.closing.get() || !self.paused.replace(false) {
            return;
        }
        match self.tls() {
            Some(tls) => tls.set_reading(self, true),
            None => self.start_reading(),
        }
    }

    pub(crate) fn start_reading(self: &Rc<Self>) {
        let Some(stream) = self.stream.get() else { return };
        let started = self.hub.engine().start_reading(stream);
        if let Err(error) = started {
            self.force_close(Some(error));
        }
    }
}
