//! Child processes: told apart by a descriptor each, reaped when they end.
//!
//! A child is registered until it has ended; then it is reaped, and what was registered goes back
//! to the host, with the descriptor, which is the host's to close.

use std::io;

use oxloop_os::{Fd, process::Exit};

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::reactor::{Kind, Source};
use crate::slots::Key;
use crate::step::Step;

pub(crate) struct Child<H: Host> {
    pub(crate) conn: H::Conn,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Exited<C> {
    pub conn: C,
    pub pidfd: Fd,
    /// An error (`ECHILD`) if somebody else has reaped it.
    pub exit: io::Result<Exit>,
}

impl<H: Host> Engine<H> {
    /// Waits for the end of a child, given a descriptor that is readable from then on. On an error
    /// the payload comes back.
    pub fn watch_child(&mut self, pidfd: Fd, conn: H::Conn) -> Result<Key, (io::Error, H::Conn)> {
        let key = match self.reactor.insert(pidfd, Kind::Child(Child { conn })) {
            Ok(key) => key,
            Err(Kind::Child(child)) => {
                return Err((io::ErrorKind::OutOfMemory.into(), child.conn));
            }
            Err(_) => unreachable!("insert gives back what it was given"),
        };
        match self.reactor.update(key) {
            Ok(()) => Ok(key),
            Err(error) => match self.forget_child(key) {
                Some((_, conn)) => Err((error, conn)),
                None => unreachable!("the child was inserted above"),
            },
        }
    }

    /// A child's descriptor is readable.
    pub(crate) fn child_ready(&mut self, key: Key) -> Option<Step<H>> {
        let fd = self.reactor.get(key)?.fd;
        let exit = match self.kernel.reap(fd) {
            Ok(None) => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Ok(Some(exit)) => Ok(exit),
            Err(error) => Err(error),
        };
        let (pidfd, conn) = self.forget_child(key)?;
        Some(Step::Exited(Exited { conn, pidfd, exit }))
    }

    fn forget_child(&mut self, key: Key) -> Option<(Fd, H::Conn)> {
        if !matches!(self.reactor.get(key)?.kind, Kind::Child(_)) {
            return None;
        }
        match self.reactor.remove(key)? {
            Source { fd, kind: Kind::Child(child), .. } => Some((fd, child.conn)),
            _ => None,
        }
    }
}
