//! `add_reader` and `add_writer`: callbacks for somebody else's descriptors.

use std::os::fd::{AsRawFd, RawFd};

use oxloop_engine::{Direction, Fd, Key};

use super::schedule::{Origin, Run};
use crate::error::{Error, Result};
use crate::event_loop::Loop;
use crate::host::Job;
use crate::hub::Hub;

impl Loop {
    /// Calls `callback` whenever `fd` can be read, or has ended or failed; instead of an earlier
    /// callback of the same kind. The descriptor stays its owner's, who calls
    /// [`Loop::remove_reader`] before closing it.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Io`] if the descriptor cannot be watched (regular files cannot),
    /// or belongs to a transport of this loop.
    #[track_caller]
    pub fn add_reader<F: FnMut() + 'static>(&self, fd: &impl AsRawFd, callback: F) -> Result<()> {
        let origin = Origin::of::<F>();
        self.watch(fd.as_raw_fd(), Direction::Read, Box::new(callback), origin)
    }

    /// As [`Loop::add_reader`], when `fd` can be written to.
    ///
    /// # Errors
    /// As [`Loop::add_reader`].
    #[track_caller]
    pub fn add_writer<F: FnMut() + 'static>(&self, fd: &impl AsRawFd, callback: F) -> Result<()> {
        let origin = Origin::of::<F>();
        self.watch(fd.as_raw_fd(), Direction::Write, Box::new(callback), origin)
    }

    /// Forgets the callback of [`Loop::add_reader`]; whether there was one.
    pub fn remove_reader(&self, fd: &impl AsRawFd) -> bool {
        self.unwatch(fd.as_raw_fd(), Direction::Read)
    }

    /// Forgets the callback of [`Loop::add_writer`]; whether there was one.
    pub fn remove_writer(&self, fd: &impl AsRawFd) -> bool {
        self.unwatch(fd.as_raw_fd(), Direction::Write)
    }

    pub(super) fn watch(
        &self,
        fd: RawFd,
        direction: Direction,
        callback: Box<dyn FnMut()>,
        origin: Origin,
    ) -> Result<()> {
        let hub = &self.hub;
        let fd = check_free(hub, fd)?;
        let key = hub.add_call(Run::Again(Some(callback)), origin)?;
        let watched = hub.engine().watch(fd, direction, Job::Call(key));
        match watched {
            Ok(replaced) => {
                for job in replaced.same.into_iter().chain(replaced.stale) {
                    forget(hub, job);
                }
                Ok(())
            }
            Err((error, job)) => {
                forget(hub, job);
                Err(Error::Io(error))
            }
        }
    }

    pub(super) fn unwatch(&self, fd: RawFd, direction: Direction) -> bool {
        let Some(fd) = Fd::new(fd) else { return false };
        let job = self.hub.engine().unwatch(fd, direction);
        job.is_some_and(|job| forget(&self.hub, job))
    }
}

/// A number that can be watched: no transport has it.
fn check_free(hub: &Hub, fd: RawFd) -> Result<Fd> {
    use oxloop_engine::Owner;
    let fd = Fd::new(fd).ok_or(std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    match hub.engine().owner_of(fd) {
        Owner::Nobody | Owner::Watch => Ok(fd),
        _ => Err(Error::Io(std::io::Error::new(
            std::io::ErrorKind::ResourceBusy,
            "the descriptor is used by a transport",
        ))),
    }
}

fn forget(hub: &Hub, job: Job) -> bool {
    match job {
        Job::Call(key) => hub.drop_call(key),
        other => {
            drop(other);
            true
        }
    }
}

/// The callback of a descriptor that is ready.
pub(super) fn callback(hub: &Hub, key: Key, direction: Direction) -> Option<Key> {
    match hub.engine().watch_job(key, direction) {
        Some(Job::Call(call)) => Some(*call),
        _ => None,
    }
}
