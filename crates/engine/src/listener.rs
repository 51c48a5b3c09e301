//! Listening sockets: bounded accepting, and what to do when it fails.
//!
//! Policy: an event accepts at most `backlog` connections, one step each. Connections that died in
//! the queue are skipped. When the process or the system is out of something, the listener is
//! paused (the descriptor stays readable, so it would spin) until its host resumes it; the first
//! failure of an episode is marked as such, and an accepted connection ends the episode.

use std::io;

use oxloop_os::{Fd, Interest};

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::reactor::{Kind, Source};
use crate::slots::Key;
use crate::step::{AcceptFailure, Step};

pub(crate) struct Listener<H: Host> {
    pub(crate) conn: H::Conn,
    backlog: usize,
    paused: bool,
    failing: bool,
}

impl<H: Host> Listener<H> {
    pub(crate) fn wanted(&self) -> Interest {
        Interest { read: !self.paused, write: false }
    }
}

impl<H: Host> Engine<H> {
    /// Starts to accept on `fd`, at most `backlog` connections at a time. On an error the payload
    /// comes back.
    pub fn listen(
        &mut self,
        fd: Fd,
        backlog: usize,
        conn: H::Conn,
    ) -> Result<Key, (io::Error, H::Conn)> {
        let listener = Listener { conn, backlog: backlog.max(1), paused: false, failing: false };
        let key = match self.reactor.insert(fd, Kind::Listener(listener)) {
            Ok(key) => key,
            Err(Kind::Listener(listener)) => {
                return Err((io::ErrorKind::OutOfMemory.into(), listener.conn));
            }
            Err(_) => unreachable!("insert gives back what it was given"),
        };
        match self.reactor.update(key) {
            Ok(()) => Ok(key),
            Err(error) => match self.unlisten(key) {
                Some(conn) => Err((error, conn)),
                None => unreachable!("the listener was inserted above"),
            },
        }
    }

    /// Stops accepting. The descriptor stays open.
    pub fn unlisten(&mut self, key: Key) -> Option<H::Conn> {
        if !matches!(self.reactor.get(key)?.kind, Kind::Listener(_)) {
            return None;
        }
        match self.reactor.remove(key)?.kind {
            Kind::Listener(listener) => Some(listener.conn),
            _ => None,
        }
    }

    /// As [`Engine::unlisten`], by the descriptor.
    pub fn unlisten_on(&mut self, fd: Fd) -> Option<H::Conn> {
        self.listener_on(fd).and_then(|key| self.unlisten(key))
    }

    /// The listener on `fd`, if there is one.
    pub fn listener_on(&self, fd: Fd) -> Option<Key> {
        let key = self.reactor.key_of(fd)?;
        matches!(self.reactor.get(key)?.kind, Kind::Listener(_)).then_some(key)
    }

    /// Whom a listener belongs to.
    pub fn listener(&self, key: Key) -> Option<&H::Conn> {
        match &self.reactor.get(key)?.kind {
            Kind::Listener(listener) => Some(&listener.conn),
            _ => None,
        }
    }

    /// Accepts again after an [`AcceptFailed`](Step::AcceptFailed).
    pub fn resume_listener(&mut self, key: Key) -> io::Result<()> {
        if let Some(Source { kind: Kind::Listener(listener), .. }) = self.reactor.get_mut(key) {
            listener.paused = false;
        }
        self.reactor.update(key)
    }

    /// One connection of a listener that is readable; `None` when this event's share is used up.
    pub(crate) fn accept_one(&mut self, key: Key, taken: &mut usize) -> Option<Step<H>> {
        loop {
            let Source { fd, kind: Kind::Listener(listener), .. } = self.reactor.get_mut(key)?
            else {
                return None;
            };
            if listener.paused || *taken >= listener.backlog {
                return None;
            }
            *taken += 1;
            match self.kernel.accept(*fd) {
                Ok((socket, peer)) => {
                    listener.failing = false;
                    return Some(Step::Accepted(key, socket, peer));
                }
                Err(error) => match verdict(&error) {
                    Verdict::Nothing => return None,
                    Verdict::Skip => continue,
                    Verdict::Pause => {
                        let first = !std::mem::replace(&mut listener.failing, true);
                        listener.paused = true;
                        // Removing a registration cannot fail in a way that matters.
                        let _ = self.reactor.update(key);
                        return Some(Step::AcceptFailed(key, AcceptFailure { error, first }));
                    }
                },
            }
        }
    }
}

enum Verdict {
    Nothing,
    Skip,
    Pause,
}

/// accept(2): network errors of the connection that would have been next are reported by the
/// listening socket and concern nobody else.
fn verdict(error: &io::Error) -> Verdict {
    use io::ErrorKind::{
        ConnectionAborted, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        PermissionDenied, TimedOut, WouldBlock,
    };
    const EPROTO: i32 = 71;
    match error.kind() {
        WouldBlock => Verdict::Nothing,
        Interrupted | ConnectionAborted | NetworkDown | NetworkUnreachable | HostUnreachable
        | PermissionDenied | TimedOut => Verdict::Skip,
        _ if error.raw_os_error() == Some(EPROTO) => Verdict::Skip,
        _ => Verdict::Pause,
    }
}
