//! The way in for other threads.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use oxloop_engine::{Door, System};

use crate::error::{Error, Result};
use crate::event_loop::Origin;
use crate::host::Job;

/// Schedules callbacks on a loop from any thread, as asyncio's `call_soon_threadsafe`. Cheap to
/// clone; may outlive the loop.
///
/// ```
/// use std::sync::mpsc;
///
/// let event_loop = oxloop::EventLoop::new();
/// let remote = event_loop.remote();
/// let (sender, receiver) = mpsc::channel();
/// let thread = std::thread::spawn(move || {
///     remote.call_soon_threadsafe(move || {
///         sender.send("on the loop's thread").unwrap();
///         oxloop::get_running_loop().unwrap().stop();
///     })
/// });
/// event_loop.run_forever()?;
/// thread.join().unwrap()?;
/// assert_eq!(receiver.recv(), Ok("on the loop's thread"));
/// # Ok::<(), oxloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    door: Door<Job, System>,
    /// Read by those who post, so that nothing is posted behind the end.
    open: RwLock<bool>,
}

/// A callback that crosses threads. Two words: queues move jobs around.
pub(crate) struct RemoteCall(Box<dyn Call + Send>);

impl RemoteCall {
    pub(crate) fn origin(&self) -> Origin {
        self.0.origin()
    }

    pub(crate) fn run(self) {
        self.0.run();
    }
}

/// A callback and who gave it, in one place.
struct Given<F> {
    callback: F,
    origin: Origin,
}

trait Call {
    fn origin(&self) -> Origin;
    fn run(self: Box<Self>);
}

impl<F: FnOnce()> Call for Given<F> {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn run(self: Box<Self>) {
        (self.callback)();
    }
}

impl Remote {
    pub(crate) fn new(door: Door<Job, System>) -> Remote {
        Remote(Arc::new(Shared { door, open: RwLock::new(true) }))
    }

    /// Calls `callback` on the thread of the loop, in the next turn; wakes the loop if it sleeps.
    /// Calls of one thread keep their order.
    ///
    /// # Errors
    /// [`Error::Closed`] after the end of the loop, [`Error::OutOfMemory`].
    #[track_caller]
    pub fn call_soon_threadsafe<F>(&self, callback: F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        let given = Given { callback, origin: Origin::of::<F>() };
        self.try_post(Job::Remote(RemoteCall(Box::new(given))))
    }

    /// Whether the loop is closed.
    pub fn is_closed(&self) -> bool {
        !*self.0.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts a job whose loss nobody is told of.
    pub(crate) fn post(&self, job: Job) {
        drop(self.try_post(job));
    }

    fn try_post(&self, job: Job) -> Result<()> {
        let rest = {
            let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
            if *open {
                let posted = self.0.door.post(job);
                posted.map(drop).map_err(|job| (Error::OutOfMemory, job))
            } else {
                Err((Error::Closed, job))
            }
        };
        // Dropping a job runs code of the program, which may post.
        rest.map_err(|(error, job)| {
            drop(job);
            error
        })
    }

    /// Nothing can be posted any more.
    pub(crate) fn close(&self) {
        *self.0.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Whether both are of the same loop.
    pub(crate) fn is(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin().fmt(f)
    }
}
