//! `add_reader` and `add_writer`: a job for each direction of somebody else's descriptor.

use std::io;

use oxloop_os::{Fd, Interest};

use crate::engine::Engine;
use crate::host::Host;
use crate::reactor::{Kind, Owner, Source};
use crate::slots::Key;
use crate::step::{Direction, Step};

pub(crate) struct Watch<H: Host> {
    pub(crate) reader: Option<H::Job>,
    pub(crate) writer: Option<H::Job>,
    /// Whose jobs run once and are gone; see [`Engine::watch_once`].
    once: Interest,
    /// Events since a job ran that nobody waited for.
    idle: u8,
}

/// Events without a job that a registration survives. Its owner is given one turn to take the data
/// and ask for the next.
const IDLE_EVENTS: u8 = 1;

impl<H: Host> Watch<H> {
    pub(crate) fn wanted(&self) -> Interest {
        Interest { read: self.reader.is_some(), write: self.writer.is_some() }
    }

    fn new() -> Watch<H> {
        Watch { reader: None, writer: None, once: Interest::NONE, idle: 0 }
    }

    fn side(&mut self, direction: Direction) -> &mut Option<H::Job> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    fn once(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Read => &mut self.once.read,
            Direction::Write => &mut self.once.write,
        }
    }
}

/// The jobs that a new one has put out of work.
#[derive(Debug)]
pub struct Replaced<J> {
    /// The earlier job of the same descriptor and direction.
    pub same: Option<J>,
    /// The other direction's job, if it turned out to be for a file that was closed: the number
    /// belongs to another file now.
    pub stale: Option<J>,
}

impl<H: Host> Engine<H> {
    /// Runs `job` whenever `fd` is ready, instead of the job it had for that direction. Always
    /// tells the poller, so that a number which was closed and used again is heard.
    ///
    /// The caller has made sure that no stream or listener owns `fd`. On an error nothing has
    /// changed and the job comes back.
    pub fn watch(
        &mut self,
        fd: Fd,
        direction: Direction,
        job: H::Job,
    ) -> Result<Replaced<H::Job>, (io::Error, H::Job)> {
        self.watch_for(fd, direction, job, false)
    }

    /// As [`Engine::watch`], for one event: then the job leaves. The registration stays a little
    /// longer, since whoever waits for a socket once mostly waits again.
    pub fn watch_once(
        &mut self,
        fd: Fd,
        direction: Direction,
        job: H::Job,
    ) -> Result<Replaced<H::Job>, (io::Error, H::Job)> {
        self.watch_for(fd, direction, job, true)
    }

    fn watch_for(
        &mut self,
        fd: Fd,
        direction: Direction,
        job: H::Job,
        once: bool,
    ) -> Result<Replaced<H::Job>, (io::Error, H::Job)> {
        let key = match self.reactor.key_of(fd) {
            Some(key)
                if matches!(self.reactor.get(key), Some(Source { kind: Kind::Watch(_), .. })) =>
            {
                key
            }
            _ => match self.reactor.insert(fd, Kind::Watch(Watch::new())) {
                Ok(key) => key,
                Err(_) => return Err((io::ErrorKind::OutOfMemory.into(), job)),
            },
        };
        let same = self.swap_side(key, direction, Some(job));
        let told = self.reactor.tell(key);
        if told.is_ok()
            && let Some(watch) = self.watch_mut(key)
        {
            *watch.once(direction) = once;
            watch.idle = 0;
        }
        match told {
            Ok(false) => Ok(Replaced { same, stale: None }),
            Ok(true) => {
                let stale = self.swap_side(key, opposite(direction), None);
                // Should a duplicate keep the old file alive, its events name nobody any more.
                let key = self.reactor.rename(key);
                // The interest only shrinks; should the poller refuse, its event finds no job.
                let _ = self.reactor.tell(key);
                Ok(Replaced { same, stale })
            }
            Err(error) => {
                let job = self.swap_side(key, direction, same);
                self.drop_if_unused(key);
                // Put there above, and nothing has run since.
                job.map_or_else(|| unreachable!("a watch lost its job"), |job| Err((error, job)))
            }
        }
    }

    /// A watched descriptor is ready.
    pub(crate) fn watch_ready(&mut self, key: Key, direction: Direction) -> Option<Step<H>> {
        let watch = self.watch_mut(key)?;
        if watch.side(direction).is_some() {
            if !*watch.once(direction) {
                return Some(Step::Watch(key, direction));
            }
            watch.idle = 0;
            return watch.side(direction).take().map(Step::Job);
        }
        watch.idle = watch.idle.saturating_add(1);
        if watch.idle > IDLE_EVENTS {
            self.drop_if_unused(key);
        }
        None
    }

    /// Stops watching one direction of `fd`; the job that did, if there was one. The poller need not
    /// be told at once: see `lingers`.
    pub fn unwatch(&mut self, fd: Fd, direction: Direction) -> Option<H::Job> {
        let key = self.reactor.key_of(fd)?;
        self.unwatch_key(key, direction)
    }

    /// As [`Engine::unwatch`], by the key of a [`Step::Watch`](crate::Step::Watch).
    pub fn unwatch_key(&mut self, key: Key, direction: Direction) -> Option<H::Job> {
        let job = self.swap_side(key, direction, None);
        if !self.lingers(key) {
            self.drop_if_unused(key);
        }
        job
    }

    /// The descriptor of a [`Step::Watch`](crate::Step::Watch).
    pub fn fd_of(&self, key: Key) -> Option<Fd> {
        self.reactor.get(key).map(|source| source.fd)
    }

    /// The job to run for [`Step::Watch`](crate::Step::Watch).
    pub fn watch_job(&self, key: Key, direction: Direction) -> Option<&H::Job> {
        match &self.reactor.get(key)?.kind {
            Kind::Watch(watch) => match direction {
                Direction::Read => watch.reader.as_ref(),
                Direction::Write => watch.writer.as_ref(),
            },
            _ => None,
        }
    }

    /// The job that watches a descriptor.
    pub fn watched_by(&self, fd: Fd, direction: Direction) -> Option<&H::Job> {
        self.watch_job(self.reactor.key_of(fd)?, direction)
    }

    /// What a descriptor is registered for.
    pub fn interest_of(&self, fd: Fd) -> Interest {
        let source = self.reactor.key_of(fd).and_then(|key| self.reactor.get(key));
        source.map_or(Interest::NONE, Source::wanted)
    }

    /// Who has registered this descriptor.
    pub fn owner_of(&self, fd: Fd) -> Owner<'_, H> {
        match self.reactor.key_of(fd).and_then(|key| self.reactor.get(key)) {
            None => Owner::Nobody,
            Some(source) if source.is_idle_watch() => Owner::Nobody,
            Some(source) => match &source.kind {
                Kind::Watch(_) => Owner::Watch,
                Kind::Stream(stream) => Owner::Stream(&stream.conn),
                Kind::Datagram(endpoint) => Owner::Datagram(&endpoint.conn),
                Kind::Listener(listener) => Owner::Listener(&listener.conn),
                Kind::Child(_) => Owner::Child,
            },
        }
    }

    fn watch_mut(&mut self, key: Key) -> Option<&mut Watch<H>> {
        match self.reactor.get_mut(key) {
            Some(Source { kind: Kind::Watch(watch), .. }) => Some(watch),
            _ => None,
        }
    }

    fn swap_side(&mut self, key: Key, direction: Direction, job: Option<H::Job>) -> Option<H::Job> {
        match self.reactor.get_mut(key) {
            Some(Source { kind: Kind::Watch(watch), .. }) => {
                std::mem::replace(watch.side(direction), job)
            }
            _ => job,
        }
    }

    /// Whether a registration without jobs stays until something comes: who reads at times, reads
    /// again. Room to write would come at once.
    fn lingers(&mut self, key: Key) -> bool {
        let Some(Source { kind: Kind::Watch(watch), armed, .. }) = self.reactor.get_mut(key) else {
            return false;
        };
        let lingers = watch.wanted() == Interest::NONE && armed.read && !armed.write;
        if lingers {
            watch.idle = 0;
        }
        lingers
    }

    fn drop_if_unused(&mut self, key: Key) {
        let Some(source) = self.reactor.get(key) else { return };
        let Kind::Watch(watch) = &source.kind else { return };
        if watch.wanted() == Interest::NONE {
            self.reactor.remove(key);
        } else {
            let _ = self.reactor.update(key);
        }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Read => Direction::Write,
        Direction::Write => Direction::Read,
    }
}
