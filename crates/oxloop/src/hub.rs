//! What a loop, its tasks and its connections share.
//!
//! Invariant: the engine and the tables are borrowed between two lines that run no code of the
//! program; [`Hub::engine`] and its neighbours are the only ways to them. Closures, futures and
//! protocols are taken out of their places before they run or are dropped, because both may call
//! the loop again.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oxloop_engine::{Engine, Key, Moment, Payload, System};
use oxloop_os::clock;

use crate::error::{Error, Result};
use crate::event_loop::{Calls, Loop, Reporter, Signals, discard, guard};
use crate::executor::Pool;
use crate::host::{Job, Program};
use crate::remote::Remote;
use crate::task::Tasks;

/// The inside of a loop. Everything that belongs to a loop refers to it; [`Hub::close`] cuts every
/// circle.
pub(crate) struct Hub {
    engine: RefCell<Engine<Program>>,
    pub(crate) calls: RefCell<Calls>,
    pub(crate) tasks: RefCell<Tasks>,
    /// The task whose step is running.
    pub(crate) current: Cell<Option<Key>>,
    pub(crate) remote: Remote,
    pub(crate) reporter: Reporter,
    pub(crate) signals: Signals,
    pub(crate) pool: RefCell<Option<Pool>>,
    /// Where plaintext and what protocols read is put, while nobody uses it.
    pub(crate) buffer: Cell<Vec<u8>>,
    pub(crate) debug: Cell<bool>,
    pub(crate) slow: Cell<Duration>,
    pub(crate) running: Cell<bool>,
    pub(crate) closed: Cell<bool>,
    /// The same moment on both clocks.
    anchor: (Instant, f64),
}

/// The most callbacks and steps between two looks at the clock: one costs as much as a short step.
const STRIDE: usize = 64;

thread_local! {
    /// The loop that is running in this thread.
    static RUNNING: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
}

impl Hub {
    pub(crate) fn new() -> Rc<Hub> {
        let mut engine = Engine::new(System::default());
        engine.set_stride(STRIDE);
        Rc::new(Hub {
            remote: Remote::new(engine.door()),
            engine: RefCell::new(engine),
            calls: RefCell::default(),
            tasks: RefCell::default(),
            current: Cell::new(None),
            reporter: Reporter::default(),
            signals: Signals::default(),
            pool: RefCell::new(None),
            buffer: Cell::default(),
            debug: Cell::new(false),
            slow: Cell::new(Duration::from_millis(100)),
            running: Cell::new(false),
            closed: Cell::new(false),
            anchor: (Instant::now(), clock::monotonic()),
        })
    }

    /// The engine, until the end of the statement.
    #[inline]
    pub(crate) fn engine(&self) -> RefMut<'_, Engine<Program>> {
        self.engine.borrow_mut()
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.get() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Queues a step of a task behind the jobs that are ready. From a waker, which may be called
    /// anywhere: should the engine be borrowed, the job goes through the door.
    #[inline]
    pub(crate) fn ready(&self, task: Key) {
        if self.closed.get() {
            return;
        }
        match self.engine.try_borrow_mut() {
            // Without memory for a wake-up there is nothing left to do but to lose it.
            Ok(mut engine) => {
                engine.call_soon_made(|| Job::Task(task));
            }
            Err(_) => self.remote.post(Job::Task(task)),
        }
    }

    /// A point in time on the engine's clock, never an earlier one.
    pub(crate) fn moment(&self, at: Instant) -> Moment {
        let (instant, seconds) = self.anchor;
        let seconds = match at.checked_duration_since(instant) {
            Some(later) => seconds + later.as_secs_f64(),
            None => seconds - instant.duration_since(at).as_secs_f64(),
        };
        // Rounding must not make a timer early: a nanosecond covers the floats' precision.
        Moment::from_seconds(seconds + 1e-9).unwrap_or_default()
    }

    /// Runs `job` at `deadline`.
    pub(crate) fn call_at(&self, deadline: Instant, job: Job) -> Result<Key> {
        self.check_open()?;
        let moment = self.moment(deadline);
        self.engine().call_at(moment, job).map_err(|_| Error::OutOfMemory)
    }

    /// Forgets a timer.
    pub(crate) fn cancel_timer(&self, key: Key) {
        let job = self.engine().cancel_timer(key);
        drop(job);
    }

    /// The loop that is running in this thread.
    pub(crate) fn running() -> Option<Rc<Hub>> {
        RUNNING.try_with(|running| running.borrow().clone()).ok().flatten()
    }

    /// Calls `visit` with the loop that is running in this thread.
    #[inline]
    pub(crate) fn with_running<R>(visit: impl FnOnce(Option<&Rc<Hub>>) -> R) -> R {
        // Wakers may be called while the thread ends.
        let mut visit = Some(visit);
        let visited =
            RUNNING.try_with(|running| visit.take().map(|visit| visit(running.borrow().as_ref())));
        match (visited, visit) {
            (Ok(Some(result)), _) => result,
            (_, Some(visit)) => visit(None),
            _ => unreachable!("it was called or is still there"),
        }
    }

    /// Makes `hub` the loop that is running in this thread; the one that was.
    pub(crate) fn set_running(hub: Option<Rc<Hub>>) -> Option<Rc<Hub>> {
        RUNNING.try_with(|running| running.replace(hub)).ok().flatten()
    }

    /// Drops everything that was scheduled or opened. What that runs finds a closed loop.
    pub(crate) fn close(self: &Rc<Self>) {
        if self.closed.replace(true) {
            return;
        }
        self.remote.close();
        self.signals.clear();
        let pool = self.pool.take();
        drop(pool);
        Tasks::cancel_all(self);
        let stored = self.engine().drain();
        for payload in stored {
            match payload {
                Payload::Job(job) => discard(self, job),
                Payload::Conn(endpoint) => guard(self, || endpoint.closed()),
                Payload::Child(endpoint, pidfd) => {
                    pidfd.close();
                    guard(self, || endpoint.closed());
                }
            }
        }
        let calls = self.calls.borrow_mut().drain();
        calls.into_iter().for_each(|call| discard(self, call));
        self.reporter.clear();
    }

    pub(crate) fn handle(self: &Rc<Self>) -> Loop {
        Loop::new(self.clone())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("running", &self.running.get())
            .field("closed", &self.closed.get())
            .field("debug", &self.debug.get())
            .finish_non_exhaustive()
    }
}
