//! `run_in_executor`: work that blocks, on threads of its own.
//!
//! Threads are made when there is work and nobody idle, and end when there was none for a while, or
//! when the pool is shut down: what is queued then is cancelled, what is running is finished.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use oxloop_os::resolve::block_signals;

use crate::error::{Error, Panic, Result, TaskError};
use crate::event_loop::Loop;

/// A thread without work ends after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The threads of a loop.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Work>>,
    threads: usize,
    idle: usize,
    closed: bool,
    /// Who waits for the end of all threads.
    mourners: Vec<Waker>,
}

/// Something to do on a thread.
trait Work: Send + Sync {
    fn run(&self);
    fn cancel(&self);
}

/// What was given to [`Loop::run_in_executor`]: done by a thread, awaited by the loop.
struct Assignment<F, T> {
    stage: Mutex<Stage<F, T>>,
}

enum Stage<F, T> {
    Queued(F, Option<Waker>),
    Running(Option<Waker>),
    Done(Result<T, TaskError>),
    /// The result was taken, or nobody wants it.
    Over,
}

impl<F, T> Assignment<F, T> {
    fn lock(&self) -> MutexGuard<'_, Stage<F, T>> {
        lock(&self.stage)
    }

    /// Puts the next stage in the place of the present one, which the caller drops.
    fn replace(&self, next: Stage<F, T>) -> Stage<F, T> {
        std::mem::replace(&mut *self.lock(), next)
    }

    fn finish(&self, outcome: Result<T, TaskError>) {
        let mut stage = self.lock();
        let waker = match &mut *stage {
            Stage::Queued(_, waker) | Stage::Running(waker) => waker.take(),
            Stage::Done(_) => None,
            Stage::Over => {
                // Nobody wants it: dropped without the lock.
                drop(stage);
                return drop(outcome);
            }
        };
        let before = std::mem::replace(&mut *stage, Stage::Done(outcome));
        drop(stage);
        drop(before);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<F, T> Work for Assignment<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self) {
        let mut stage = self.lock();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Queued(function, waker) => {
                *stage = Stage::Running(waker);
                drop(stage);
                let result = catch_unwind(AssertUnwindSafe(function));
                self.finish(result.map_err(|payload| TaskError::Panicked(Panic::new(payload))));
            }
            other => *stage = other,
        }
    }

    fn cancel(&self) {
        self.finish(Err(TaskError::Cancelled));
    }
}

/// What the loop sees of an assignment.
trait Awaited<T> {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, TaskError>>;
    fn forget(&self);
}

impl<F, T> Awaited<T> for Assignment<F, T> {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, TaskError>> {
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Queued(_, waker) | Stage::Running(waker) => {
                let before = waker.replace(cx.waker().clone());
                drop(stage);
                drop(before);
                Poll::Pending
            }
            Stage::Done(_) | Stage::Over => match std::mem::replace(&mut *stage, Stage::Over) {
                Stage::Done(outcome) => Poll::Ready(outcome),
                _ => Poll::Ready(Err(TaskError::Cancelled)),
            },
        }
    }

    fn forget(&self) {
        let before = self.replace(Stage::Over);
        drop(before);
    }
}

/// The result of [`Loop::run_in_executor`]. Dropping it forgets work that has not begun; work that
/// has is finished for nobody.
#[must_use = "dropping it forgets the work"]
pub struct Execution<T>(Arc<dyn Awaited<T>>);

impl<T> Future for Execution<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<T> Drop for Execution<T> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl<T> fmt::Debug for Execution<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Execution")
    }
}

impl Pool {
    fn new() -> Pool {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // As many as asyncio's executor has.
        let (state, work, most) = (Mutex::default(), Condvar::new(), (cores + 4).min(32));
        Pool(Arc::new(Shared { state, work, most }))
    }

    /// Has a thread do the work. Fails if there is none and none can be made.
    fn submit(&self, work: Arc<dyn Work>) -> Result<()> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.queue.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        state.queue.push_back(work);
        if state.queue.len() > state.idle && state.threads < self.0.most {
            match self.spawn() {
                Ok(()) => state.threads += 1,
                // The others get to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    let work = state.queue.pop_back();
                    drop(state);
                    drop(work);
                    return Err(Error::Io(error));
                }
            }
        }
        drop(state);
        self.0.work.notify_one();
        Ok(())
    }

    fn spawn(&self) -> io::Result<()> {
        let shared = self.0.clone();
        let thread = thread::Builder::new().name("oxloop-executor".to_owned());
        thread.spawn(move || shared.work()).map(drop)
    }

    /// Begins nothing any more.
    fn shut_down(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        self.0.work.notify_all();
        for work in queue {
            work.cancel();
        }
    }

    fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.threads == 0 {
            return Poll::Ready(());
        }
        if !state.mourners.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.mourners.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The life of a thread.
    fn work(&self) {
        block_signals();
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work.run();
                drop(work);
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, PATIENCE);
            let (guard, patience) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if patience.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        if state.threads == 0 {
            let mourners = std::mem::take(&mut state.mourners);
            drop(state);
            mourners.into_iter().for_each(Waker::wake);
        }
    }
}

/// No code that can panic runs under these locks; poison would be of no meaning.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loop {
    /// Calls `function` on another thread, which may block. It is begun when a thread has time for
    /// it, awaited or not; there are as many as processors and four, 32 at most. A panic becomes
    /// [`TaskError::Panicked`].
    ///
    /// # Errors
    /// [`Error::Closed`], also after [`Loop::shutdown_default_executor`]; [`Error::Io`] if there is
    /// no thread and none can be made.
    ///
    /// ```
    /// let event_loop = oxloop::EventLoop::new();
    /// let reading = event_loop.run_in_executor(|| std::fs::read_to_string("/proc/self/comm"))?;
    /// let name = event_loop.run_until_complete(reading)?.unwrap()?;
    /// assert!(!name.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_in_executor<F, T>(&self, function: F) -> Result<Execution<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.hub.check_open()?;
        let stage = Mutex::new(Stage::Queued(function, None));
        let assignment = Arc::new(Assignment { stage });
        let mut pool = self.hub.pool.borrow_mut();
        pool.get_or_insert_with(Pool::new).submit(assignment.clone())?;
        Ok(Execution(assignment))
    }

    /// Begins no more work on other threads, and waits until they have finished theirs.
    pub async fn shutdown_default_executor(&self) {
        {
            let mut pool = self.hub.pool.borrow_mut();
            pool.get_or_insert_with(Pool::new).shut_down();
        }
        std::future::poll_fn(|cx| {
            self.hub.pool.borrow().as_ref().map_or(Poll::Ready(()), |pool| pool.poll_ended(cx))
        })
        .await;
    }
}
