//! How a connection ends: once, and never inside the call that ends it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use oxloop_engine::Closing;

use super::{Connection, Transport, Upper};
use crate::error::Panic;
use crate::event_loop::{Origin, discard, report_panic};

impl Connection {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get() || self.stream.get().is_none()
    }

    /// Reads no more, sends what waits, then loses the connection. TLS says goodbye before that.
    pub(crate) fn close(self: &Rc<Self>) {
        if self.closing.replace(true) {
            return;
        }
        match self.tls() {
            Some(tls) => tls.close(self),
            None => self.close_stream(),
        }
    }

    /// Everything is said: sends what waits, then loses the connection.
    pub(crate) fn close_stream(self: &Rc<Self>) {
        self.closing.set(true);
        let Some(stream) = self.stream.get() else { return };
        let closing = self.hub.engine().close(stream);
        match closing {
            Closing::Now => self.lose_later(None),
            Closing::AfterFlush | Closing::Already => {}
            Closing::Failed(error) => self.force_close(Some(error)),
        }
    }

    /// Drops what waits and loses the connection.
    pub(crate) fn force_close(self: &Rc<Self>, error: Option<io::Error>) {
        if self.lost.get() {
            return;
        }
        self.closing.set(true);
        if let Some(stream) = self.stream.get() {
            self.hub.engine().abort(stream);
        }
        if let Some(tls) = self.tls() {
            tls.abort();
        }
        self.lose_later(error);
    }

    /// The stream ended in the middle of what the peer had to say. What was written is still sent.
    #[cfg(feature = "tls")]
    pub(crate) fn truncated(self: &Rc<Self>) {
        self.verdict.set(Some(io::ErrorKind::UnexpectedEof.into()));
        self.close();
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// `connection_lost` in the next turn; only the first call counts.
    pub(crate) fn lose_later(self: &Rc<Self>, error: Option<io::Error>) {
        if self.lost.replace(true) {
            return;
        }
        if error.is_some() {
            self.verdict.set(error);
        }
        let this = self.clone();
        let origin = Origin::of::<Connection>();
        let scheduled = self.hub.call_soon(Box::new(move || this.lose()), origin);
        if scheduled.is_err() {
            // No memory, or a loop that is closing: nobody is told.
            self.let_go();
        }
    }

    /// Tells the user, and lets go of everything.
    fn lose(self: &Rc<Self>) {
        let error = self.verdict.take();
        self.file_lost();
        let mut upper = self.take_upper();
        let woken = if let Upper::Stream(reader) = &upper { reader.take_waiter() } else { None };
        if self.connected.get() {
            let transport = Transport(self.clone());
            let told = catch_unwind(AssertUnwindSafe(|| {
                upper.connection_lost(&transport, error.as_ref());
            }));
            if let Err(payload) = told {
                let message = "A protocol failed in connection_lost()";
                report_panic(&self.hub, message, String::new(), &Panic::new(payload));
            }
        }
        if let Some(tls) = self.tls() {
            tls.lost(self, error);
        }
        discard(&self.hub, upper);
        self.let_go();
        if let Some(woken) = woken {
            woken.go_on(self);
        }
    }

    /// Releases the stream and closes the descriptor. Safe to call at any time, more than once.
    pub(super) fn let_go(self: &Rc<Self>) {
        if let Some(stream) = self.stream.take() {
            let conn = self.hub.engine().release(stream);
            drop(conn);
        }
        let file = self.take_file();
        drop(file);
        let upper = self.take_upper();
        discard(&self.hub, upper);
        let tls = self.tls.take();
        drop(tls);
        let server = self.server.take();
        drop(server);
    }
}
