//! Signal handlers: callbacks on the loop for what the process is told.
//!
//! A handler in the sense of the system writes to a socket pair; the loop reads it. Each signal has
//! a pair of its own, which tells them apart.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use oxloop_engine::Direction;
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};

use super::schedule::Origin;
use crate::error::Result;
use crate::event_loop::Loop;

/// The signals that a loop listens to.
#[derive(Debug, Default)]
pub(crate) struct Signals(RefCell<HashMap<i32, Listening>>);

#[derive(Debug)]
struct Listening {
    id: SigId,
    pipe: Rc<UnixStream>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        unregister(self.id);
    }
}

impl Signals {
    pub(crate) fn clear(&self) {
        let all = self.0.take();
        drop(all);
    }
}

impl Loop {
    /// Calls `callback` on the loop whenever the process gets `signal`, instead of an earlier
    /// callback for it. Several of the same signal at once may be one call. What the signal would do
    /// otherwise stays switched off, also after [`Loop::remove_signal_handler`].
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed); [`Error::Io`](crate::Error::Io) for a signal that
    /// cannot be caught.
    ///
    /// ```
    /// let event_loop = oxloop::EventLoop::new();
    /// let handle = event_loop.handle();
    /// event_loop.add_signal_handler(signal_hook::consts::SIGUSR1, move || handle.stop())?;
    /// signal_hook::low_level::raise(signal_hook::consts::SIGUSR1)?;
    /// event_loop.run_forever()?;
    /// # Ok::<(), oxloop::Error>(())
    /// ```
    #[track_caller]
    pub fn add_signal_handler<F: FnMut() + 'static>(
        &self,
        signal: i32,
        mut callback: F,
    ) -> Result<()> {
        self.hub.check_open()?;
        let origin = Origin::of::<F>();
        if signal_hook::consts::FORBIDDEN.contains(&signal) {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let id = pipe::register(signal, theirs)?;
        let listening = Listening { id, pipe: Rc::new(ours) };
        let pipe = listening.pipe.clone();
        let fd = pipe.as_raw_fd();
        let drain = move || {
            while (&*pipe).read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            callback();
        };
        self.watch(fd, Direction::Read, Box::new(drain), origin)?;
        let before = self.hub.signals.0.borrow_mut().insert(signal, listening);
        if let Some(before) = before {
            self.unwatch(before.pipe.as_raw_fd(), Direction::Read);
        }
        Ok(())
    }

    /// Forgets the callback of [`Loop::add_signal_handler`]; whether there was one.
    pub fn remove_signal_handler(&self, signal: i32) -> bool {
        let before = self.hub.signals.0.borrow_mut().remove(&signal);
        before.is_some_and(|listening| {
            self.unwatch(listening.pipe.as_raw_fd(), Direction::Read);
            true
        })
    }
}
