//! Who is registered with the poller, under which number, and for what.
//!
//! Invariants: a source's `armed` is what the poller was last told; `by_fd` names the one source
//! that owns a number's registration. A source that lost its number to a newer one (its file was
//! closed behind its back and the number used again) never talks to the poller again.

mod numbers;
mod source;

use std::io;
use std::sync::Arc;

use oxloop_os::{Fd, Interest};

use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::{Key, Slots};

pub(crate) use source::{Kind, Source};

use numbers::Numbers;

/// Whose descriptor a number is, as far as the loop knows.
#[derive(Debug)]
pub enum Owner<'e, H: Host> {
    Nobody,
    Watch,
    Stream(&'e H::Conn),
    Datagram(&'e H::Conn),
    Listener(&'e H::Conn),
    /// A child process, whose descriptor nobody else knows.
    Child,
}

pub(crate) struct Reactor<H: Host> {
    kernel: Arc<H::Kernel>,
    sources: Slots<Source<H>>,
    by_fd: Numbers,
    /// Sources removed since the last wait: their events may still be in the batch.
    removed: usize,
    haunted: bool,
}

impl<H: Host> Reactor<H> {
    pub(crate) fn new(kernel: Arc<H::Kernel>) -> Reactor<H> {
        let (sources, by_fd) = (Slots::default(), Numbers::default());
        Reactor { kernel, sources, by_fd, removed: 0, haunted: false }
    }

    pub(crate) fn key_of(&self, fd: Fd) -> Option<Key> {
        let key = self.by_fd.get(fd)?;
        self.sources.get(key).map(|_| key)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Source<H>> {
        self.sources.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Source<H>> {
        self.sources.get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source<H>> {
        self.sources.iter().map(|(_, source)| source)
    }

    /// Makes `kind` the owner of the number; the poller is not told yet.
    pub(crate) fn insert(&mut self, fd: Fd, kind: Kind<H>) -> Result<Key, Kind<H>> {
        if let Some(old) = self.key_of(fd)
            && self.sources.get(old).is_some_and(Source::is_idle_watch)
        {
            // Left behind by a file that is closed.
            self.remove(old);
        }
        let source = Source { fd, armed: Interest::NONE, kind };
        let key = self.sources.insert(source).map_err(|source| source.kind)?;
        if self.by_fd.set(fd, key).is_ok() {
            return Ok(key);
        }
        match self.sources.remove(key) {
            Some(source) => Err(source.kind),
            None => unreachable!("the source was inserted above"),
        }
    }

    /// Gives a source another key, which the poller is not told yet.
    pub(crate) fn rename(&mut self, key: Key) -> Key {
        let Some(source) = self.sources.remove(key) else { return key };
        self.removed += 1;
        let fd = source.fd;
        // Into the place that has just become free, and a number that has a place: neither needs
        // memory.
        let Ok(key) = self.sources.insert(source) else { return key };
        let _ = self.by_fd.set(fd, key);
        key
    }

    /// Takes a source out and its registration away.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Source<H>> {
        let source = self.sources.remove(key)?;
        self.removed += 1;
        if self.by_fd.get(source.fd) == Some(key) {
            self.by_fd.remove(source.fd);
            if source.armed != Interest::NONE {
                // ENOENT, EBADF: the file is closed, and its registration with it, unless a
                // duplicate keeps it alive; then its events show up as a ghost's.
                let _ = self.kernel.remove(source.fd);
            }
        }
        Some(source)
    }

    /// Tells the poller what the source wants now, if that changed.
    #[inline]
    pub(crate) fn update(&mut self, key: Key) -> io::Result<()> {
        match self.sources.get(key) {
            Some(source) if source.wanted() != source.armed => self.tell(key).map(drop),
            _ => Ok(()),
        }
    }

    /// Tells the poller what the source wants, changed or not. True if the poller knew nothing of
    /// a registration that should have been there: the number belongs to another file by now.
    pub(crate) fn tell(&mut self, key: Key) -> io::Result<bool> {
        let Some(source) = self.sources.get_mut(key) else { return Ok(false) };
        if self.by_fd.get(source.fd) != Some(key) {
            source.armed = Interest::NONE;
            return Ok(false);
        }
        let (fd, wanted, armed) = (source.fd, source.wanted(), source.armed);
        let mut other_file = false;
        if wanted == Interest::NONE {
            source.armed = Interest::NONE;
            let _ = self.kernel.remove(fd);
            return Ok(false);
        }
        let token = key.token();
        let first = if armed == Interest::NONE {
            self.kernel.add(fd, token, wanted)
        } else {
            self.kernel.modify(fd, token, wanted)
        };
        let told = match first {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                other_file = true;
                self.kernel.add(fd, token, wanted)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.kernel.modify(fd, token, wanted)
            }
            other => other,
        };
        // A refused change leaves the registration that there was.
        if told.is_ok() {
            source.armed = wanted;
        }
        told.map(|()| other_file)
    }

    /// A new batch of events is there.
    pub(crate) fn begin_batch(&mut self) {
        self.removed = 0;
    }

    /// An event came for a key that names nothing. After a removal in the same batch that is as it
    /// must be; otherwise it is a ghost, a file that outlives its descriptor, and would come again
    /// and again.
    pub(crate) fn stale_event(&mut self) {
        self.haunted |= self.removed == 0;
    }

    /// Whether there is a ghost that could not be laid yet, or somebody deaf since it was.
    pub(crate) fn is_haunted(&self) -> bool {
        self.haunted
    }

    /// Lays ghosts: makes the poller anew with the registrations that have an owner. What there is
    /// no memory or descriptor for is tried again at the end of the next turn.
    pub(crate) fn exorcise(&mut self) {
        if !self.haunted || self.kernel.renew().is_err() {
            return;
        }
        self.haunted = false;
        let keys: Vec<Key> = self.sources.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(source) = self.sources.get_mut(key) {
                source.armed = Interest::NONE;
            }
            // A descriptor that is closed cannot be registered; its owner has yet to notice.
            if let Err(error) = self.update(key) {
                self.haunted |= passes(&error);
            }
        }
    }

    pub(crate) fn drain(&mut self) -> Vec<Source<H>> {
        for (_, source) in self.sources.iter() {
            if source.armed != Interest::NONE {
                let _ = self.kernel.remove(source.fd);
            }
        }
        self.by_fd.clear();
        self.sources.drain()
    }
}

/// Whether a registration that was refused may be granted later.
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull)
}
