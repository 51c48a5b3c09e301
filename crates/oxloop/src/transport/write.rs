//! The writing half: what the program gives us to send, and flow control back to the user.

use std::rc::Rc;

use oxloop_engine::{Flushed, Key, Limits, Wrote};

use super::{Connection, Medium};
use crate::host::HeldBytes;

/// Data of this size (bytes) that is only lent to us is sent at once, if nothing waits before it,
/// rather than copied to be joined with what follows.
const NOT_WORTH_A_COPY: usize = 8 * 1024;

impl Connection {
    #[inline]
    pub(crate) fn write(self: &Rc<Self>, data: &[u8]) {
        let Some(stream) = self.writable_stream(data) else { return };
        if let Some(tls) = self.tls() {
            return tls.write(self, data, || None);
        }
        let wrote = {
            let mut engine = self.hub.engine();
            if data.len() >= NOT_WORTH_A_COPY {
                engine.write_at_once(stream, data)
            } else {
                engine.write(stream, data, || None)
            }
        };
        self.wrote(wrote);
    }

    pub(super) fn write_vec(self: &Rc<Self>, data: Vec<u8>) {
        let Some(stream) = self.writable_stream(&data) else { return };
        let data = HeldBytes::new(data);
        let hold = || Some(data.clone());
        if let Some(tls) = self.tls() {
            return tls.write(self, data.as_ref(), hold);
        }
        let wrote = self.hub.engine().write(stream, data.as_ref(), hold);
        self.wrote(wrote);
    }

    /// The stream, if there is something to write and that can be done.
    #[inline]
    fn writable_stream(&self, data: &[u8]) -> Option<Key> {
        if data.is_empty() || self.lost.get() || self.eof_written.get() || self.sending_file.get() {
            return None;
        }
        self.stream.get()
    }

    #[inline]
    pub(crate) fn wrote(self: &Rc<Self>, wrote: Wrote) {
        match wrote {
            Wrote::Fine | Wrote::Closed => {}
            Wrote::Pause => self.writer_full(),
            Wrote::Failed(error) => self.force_close(Some(error)),
        }
    }

    fn writer_full(self: &Rc<Self>) {
        match self.tls() {
            Some(tls) => tls.stream_full(),
            None => self.pause_user(),
        }
    }

    pub(super) fn can_write_eof(&self) -> bool {
        self.tls.borrow().is_none() && self.medium != Medium::ReadPipe
    }

    pub(crate) fn write_eof(self: &Rc<Self>) {
        if self.closing.get() || !self.can_write_eof() || self.eof_written.replace(true) {
            return;
        }
        let Some(stream) = self.stream.get() else { return };
        if self.medium != Medium::Socket {
            // Of a pipe, closing says so.
            return self.close();
        }
        let written = self.hub.engine().write_eof(stream);
        if let Err(error) = written {
            self.force_close(Some(error));
        }
    }

    pub(super) fn write_buffer_size(&self) -> usize {
        let Some(stream) = self.stream.get() else { return 0 };
        let below = self.hub.engine().buffered(stream);
        below + self.tls().map_or(0, |tls| tls.queued())
    }

    pub(super) fn limits(&self) -> Limits {
        match (self.tls(), self.stream.get()) {
            (Some(tls), _) => tls.limits(),
            (None, Some(stream)) => self.hub.engine().limits(stream),
            (None, None) => Limits::default(),
        }
    }

    pub(super) fn set_limits(self: &Rc<Self>, limits: Limits) {
        let Some(stream) = self.stream.get() else { return };
        if let Some(tls) = self.tls() {
            return tls.set_limits(self, limits);
        }
        let wrote = self.hub.engine().set_limits(stream, limits);
        self.wrote(wrote);
    }

    /// Whether the user was told to pause, and has yet to be told to go on.
    pub(crate) fn is_write_paused(&self) -> bool {
        match (self.tls(), self.stream.get()) {
            (Some(tls), _) => tls.is_write_paused(),
            (None, Some(stream)) => self.hub.engine().is_write_paused(stream),
            (None, None) => false,
        }
    }

    /// Enough is sent.
    pub(super) fn stream_flushed(self: &Rc<Self>, key: Key, flushed: Flushed) {
        if flushed.resume {
            match self.tls() {
                Some(tls) => tls.stream_has_room(self),
                None => self.resume_user(),
            }
        }
        let settled = self.hub.engine().settle(key);
        if settled.finished {
            self.lose_later(None);
        }
    }
}
