//! The loop itself: who owns it, and what everybody may ask of it.

mod report;
mod run;
mod schedule;
mod signals;
mod watch;

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::remote::Remote;
use crate::task::Task;

pub use report::{Cause, Context};
pub use schedule::{Handle, TimerHandle};

pub(crate) use report::{Reporter, report, report_error, report_panic};
pub(crate) use run::{discard, guard, poll_guarded};
pub(crate) use schedule::{Calls, Origin, after};
pub(crate) use signals::Signals;

/// An event loop, which ends with its owner: dropping it closes it.
///
/// What can be done with a loop is at [`Loop`], the handle that callbacks and tasks have of it; an
/// `EventLoop` can do all of that, and run.
///
/// ```
/// use std::time::Duration;
///
/// let event_loop = oxloop::EventLoop::new();
/// let handle = event_loop.handle();
/// event_loop.call_later(Duration::from_millis(1), move || handle.stop())?;
/// event_loop.run_forever()?;
/// # Ok::<(), oxloop::Error>(())
/// ```
pub struct EventLoop {
    handle: Loop,
}

/// A handle of a loop, for its own thread. After the end of the loop every call that needs one is an
/// [`Error::Closed`].
#[derive(Clone)]
pub struct Loop {
    pub(crate) hub: Rc<Hub>,
}

impl EventLoop {
    /// Makes a loop. It has no descriptor before it first needs one.
    #[expect(clippy::new_without_default, reason = "an owner of a thread's work is no plain value")]
    pub fn new() -> EventLoop {
        EventLoop { handle: Loop { hub: Hub::new() } }
    }

    /// A handle for callbacks and tasks.
    pub fn handle(&self) -> Loop {
        self.handle.clone()
    }

    /// Runs until [`Loop::stop`]. A turn that is under way is finished. If `stop` was called before,
    /// runs what is ready, looks once at what can be read and written, and returns.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Running`] if this loop or another is running in this thread;
    /// [`Error::Io`] if nothing can be watched any more.
    pub fn run_forever(&self) -> Result<()> {
        run::run_forever(&self.handle.hub)
    }

    /// Runs until `future` is done, and gives its result. The future may borrow from its
    /// surroundings. It is a task: it can be cancelled, and is among [`all_tasks`](crate::all_tasks).
    ///
    /// # Errors
    /// Those of [`EventLoop::run_forever`]; [`Error::Stopped`] if the loop was stopped before;
    /// [`Error::Task`] if the future was cancelled or panicked. The future is dropped then.
    ///
    /// ```
    /// let event_loop = oxloop::EventLoop::new();
    /// let text = String::from("borrowed");
    /// let length = event_loop.run_until_complete(async { text.len() })?;
    /// assert_eq!(length, 8);
    /// # Ok::<(), oxloop::Error>(())
    /// ```
    #[track_caller]
    pub fn run_until_complete<F: Future>(&self, future: F) -> Result<F::Output> {
        run::run_until_complete(&self.handle.hub, future)
    }

    /// Ends the loop: everything that was scheduled is dropped, tasks are cancelled, connections are
    /// closed at once. The callbacks of protocols are not called. Does nothing the second time.
    ///
    /// # Errors
    /// [`Error::Running`].
    pub fn close(&self) -> Result<()> {
        if self.handle.hub.running.get() {
            return Err(Error::Running);
        }
        self.handle.hub.close();
        Ok(())
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.handle.hub.close();
    }
}

impl Deref for EventLoop {
    type Target = Loop;

    fn deref(&self) -> &Loop {
        &self.handle
    }
}

impl Loop {
    pub(crate) fn new(hub: Rc<Hub>) -> Loop {
        Loop { hub }
    }

    /// Ends the run after the current turn. What is scheduled later stays for the next run.
    pub fn stop(&self) {
        if !self.hub.closed.get() {
            self.hub.engine().stop(true);
        }
    }

    /// Whether the loop is running.
    pub fn is_running(&self) -> bool {
        self.hub.running.get()
    }

    /// Whether the loop is closed.
    pub fn is_closed(&self) -> bool {
        self.hub.closed.get()
    }

    /// The loop's clock.
    pub fn time(&self) -> Instant {
        Instant::now()
    }

    /// The way in for other threads.
    pub fn remote(&self) -> Remote {
        self.hub.remote.clone()
    }

    /// Runs a future beside everything else. It makes its first step in the next turn.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::OutOfMemory`].
    ///
    /// ```
    /// let event_loop = oxloop::EventLoop::new();
    /// let task = event_loop.create_task(async { 6 * 7 })?;
    /// let answer = event_loop.run_until_complete(async { task.await })?;
    /// assert_eq!(answer.unwrap(), 42);
    /// # Ok::<(), oxloop::Error>(())
    /// ```
    #[track_caller]
    pub fn create_task<F>(&self, future: F) -> Result<Task<F::Output>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Task::spawn(&self.hub, future)
    }

    /// Whether the loop looks for mistakes: callbacks and steps that take long are reported.
    pub fn get_debug(&self) -> bool {
        self.hub.debug.get()
    }

    /// Makes the loop look for mistakes, or not.
    pub fn set_debug(&self, debug: bool) {
        self.hub.debug.set(debug);
    }

    /// How long a callback may take in debug mode; 100 ms at first.
    pub fn slow_callback_duration(&self) -> Duration {
        self.hub.slow.get()
    }

    /// Sets how long a callback may take in debug mode before it is reported.
    pub fn set_slow_callback_duration(&self, duration: Duration) {
        self.hub.slow.set(duration);
    }

    /// Calls `handler` with everything that nobody else could be told: panics of callbacks and of
    /// tasks that nobody awaits, errors of protocols, slow callbacks in debug mode. Without a
    /// handler they are written to standard error.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// let event_loop = oxloop::EventLoop::new();
    /// let said = Rc::new(RefCell::new(Vec::new()));
    /// let notes = said.clone();
    /// event_loop.set_exception_handler(move |_, context| notes.borrow_mut().push(context.to_string()));
    /// event_loop.call_soon(|| panic!("oh"))?;
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// assert!(said.borrow()[0].contains("panicked: oh"));
    /// # Ok::<(), oxloop::Error>(())
    /// ```
    pub fn set_exception_handler(&self, handler: impl Fn(&Loop, &Context<'_>) + 'static) {
        self.hub.reporter.set(Some(Rc::new(handler)));
    }

    /// Has everything written to standard error again.
    pub fn clear_exception_handler(&self) {
        self.hub.reporter.set(None);
    }

    /// Tells the exception handler something.
    pub fn call_exception_handler(&self, context: &Context<'_>) {
        report(&self.hub, context);
    }
}

/// The loop that is running in this thread.
pub fn get_running_loop() -> Option<Loop> {
    Hub::running().map(Loop::new)
}

/// Runs a future on a loop of its own, as `asyncio.run` does: afterwards tasks that are left are
/// cancelled, the threads of the executor have ended, and the loop is closed.
///
/// # Errors
/// Those of [`EventLoop::run_until_complete`].
///
/// ```
/// use std::time::Duration;
///
/// let answer = oxloop::run(async {
///     oxloop::sleep(Duration::from_millis(1)).await;
///     42
/// })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), oxloop::Error>(())
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> Result<F::Output> {
    let event_loop = EventLoop::new();
    let result = event_loop.run_until_complete(future);
    if !matches!(result, Err(Error::Running)) {
        // The turns in which cancelled tasks end, whatever their ends do.
        let _ = event_loop.run_until_complete(run::finish(event_loop.handle()));
    }
    result
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop")
            .field("running", &self.is_running())
            .field("closed", &self.is_closed())
            .field("debug", &self.get_debug())
            .finish()
    }
}
