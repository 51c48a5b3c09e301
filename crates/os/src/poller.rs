//! Readiness: a level-triggered epoll instance with a wake-up of its own.
//!
//! The kernel keeps a registration for as long as the open file lives, not the descriptor: after
//! `dup` and `close` it reports events under a token whose number cannot be deregistered any more.
//! The poller reports them faithfully; its user tells by the token's generation that nobody owns
//! them and calls [`Poller::renew`].

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{DupFlags, Errno, dup3};

use crate::fd::Fd;
use crate::wake::Wake;

/// The token of the poller's own wake-up; no registration may use it.
pub const WAKE: u64 = u64::MAX;

/// How many events one wait takes at most. What did not fit is reported by the next one.
const BATCH: usize = 1024;

/// What to watch a descriptor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
}

impl Interest {
    pub const NONE: Interest = Interest { read: false, write: false };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// One descriptor's readiness. Errors and hang-ups count as both directions, as in `selectors`:
/// whoever waits finds out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// The events of one wait, in memory that is kept from wait to wait.
#[derive(Default)]
pub struct Batch {
    raw: Vec<epoll::Event>,
    pub events: Vec<Event>,
}

// SAFETY: the records' user data, a union with a pointer, only ever holds our numbers.
unsafe impl Send for Batch {}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.events.fmt(f)
    }
}

/// The epoll instance and its wake-up. Only `wake` is meant for other threads.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: Wake,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        let poller = Poller { epoll: create()?, wake: Wake::new()? };
        poller.watch_wake(&poller.epoll)?;
        Ok(poller)
    }

    pub fn add(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, fd.borrow(), data, interest.flags())?)
    }

    pub fn modify(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, fd.borrow(), data, interest.flags())?)
    }

    pub fn remove(&self, fd: Fd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd.borrow())?)
    }

    /// Waits until something is ready, `wake` was called, a signal came (no events then) or
    /// `timeout` is over; `None` waits without end. The batch holds this wait's events afterwards.
    pub fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        let Batch { raw, events } = batch;
        events.clear();
        raw.clear();
        raw.try_reserve(BATCH)?;
        match self.epoll_wait(raw, timeout) {
            Ok(()) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        events.try_reserve(raw.len())?;
        for event in raw.iter() {
            let (token, flags) = (event.data.u64(), event.flags);
            if token == WAKE {
                continue;
            }
            events.push(Event {
                token,
                readable: flags.intersects(!epoll::EventFlags::OUT),
                writable: flags.intersects(!epoll::EventFlags::IN),
            });
        }
        Ok(())
    }

    /// Ends the current or the next wait. From any thread.
    pub fn wake(&self) {
        self.wake.ring();
    }

    /// Forgets every registration, also those whose descriptors are closed already: a new epoll
    /// instance takes the place (and the descriptor number) of the old one.
    pub fn renew(&self) -> io::Result<()> {
        let fresh = create()?;
        self.watch_wake(&fresh)?;
        // SAFETY: the number is ours for as long as `self` lives; ManuallyDrop keeps this second
        // owner from closing it. dup3 replaces the file behind it in one step.
        let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(self.epoll.as_raw_fd()) });
        Ok(dup3(&fresh, &mut place, DupFlags::CLOEXEC)?)
    }

    fn watch_wake(&self, epoll: &OwnedFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(WAKE);
        // Of everything here the wake-up alone is told once for each time: a wait that it has ended
        // has nothing to take back.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(epoll, self.wake.fd(), data, flags)?)
    }

    fn epoll_wait(
        &self,
        raw: &mut Vec<epoll::Event>,
        timeout: Option<Duration>,
    ) -> Result<(), Errno> {
        if let Some(timeout) = timeout.filter(|timeout| timeout.subsec_nanos() % 1_000_000 > 0) {
            match self.exact_wait(raw, timeout) {
                // Before Linux 5.11, and where somebody does not allow it.
                Err(Errno::NOSYS | Errno::PERM) => {}
                other => return other,
            }
        }
        // Whole milliseconds, rounded up: a timer may be late but never early.
        let coarse = timeout.map(|timeout| timespec(Duration::from_millis(ceil_millis(timeout))));
        epoll::wait(&self.epoll, spare_capacity(raw), coarse.as_ref()).map(drop)
    }

    /// `epoll_pwait2`, which rustix calls only if it may do without anything older.
    fn exact_wait(&self, raw: &mut Vec<epoll::Event>, timeout: Duration) -> Result<(), Errno> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            // Below a billion.
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        let room = raw.spare_capacity_mut();
        // SAFETY: the kernel writes at most so many records, which have its layout, into memory
        // that is ours, and reads the timeout; there is no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                room.as_mut_ptr(),
                libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX),
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
        };
        // SAFETY: so many records have been written behind those that there were, which is none.
        unsafe { raw.set_len(count) };
        Ok(())
    }
}

fn create() -> io::Result<OwnedFd> {
    Ok(epoll::create(epoll::CreateFlags::CLOEXEC)?)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn ceil_millis(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).min(i32::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::ceil_millis;
    use std::time::Duration;

    #[test]
    fn coarse_timeouts_round_up() {
        assert_eq!(ceil_millis(Duration::ZERO), 0);
        assert_eq!(ceil_millis(Duration::from_nanos(1)), 1);
        assert_eq!(ceil_millis(Duration::from_millis(3)), 3);
        assert_eq!(ceil_millis(Duration::MAX), i32::MAX as u64);
    }
}
