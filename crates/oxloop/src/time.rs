//! Waiting for time to pass.

use std::error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use oxloop_engine::Key;
use pin_project_lite::pin_project;

use crate::event_loop::after;
use crate::host::Job;
use crate::hub::Hub;
use crate::task::{misuse, running_hub};

/// Waits for `delay`. Even with none, everything else that is ready gets its turn.
///
/// # Panics
/// Awaiting it where no loop of oxloop is running, or without memory for a timer.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let begin = Instant::now();
/// oxloop::run(oxloop::sleep(Duration::from_millis(5)))?;
/// assert!(begin.elapsed() >= Duration::from_millis(5));
/// # Ok::<(), oxloop::Error>(())
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    sleep_until(after(delay))
}

/// Waits until the clock has reached `deadline`.
///
/// # Panics
/// As [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// What [`sleep`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<Timer>,
}

struct Timer {
    hub: Rc<Hub>,
    key: Key,
    waker: Waker,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.hub.cancel_timer(self.key);
    }
}

impl Sleep {
    /// When it is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    #[track_caller]
    fn arm(&mut self, waker: &Waker) {
        let hub = running_hub();
        let waker = waker.clone();
        match hub.call_at(self.deadline, Job::Wake(waker.clone())) {
            Ok(key) => self.timer = Some(Timer { hub, key, waker }),
            Err(error) => misuse(&error.to_string()),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker();
        match &self.timer {
            Some(_) if Instant::now() >= self.deadline => {
                self.timer = None;
                return Poll::Ready(());
            }
            Some(timer) if timer.waker.will_wake(waker) => {}
            _ => self.arm(waker),
        }
        Poll::Pending
    }
}

/// Lets everything else that is ready run first, as `asyncio.sleep(0)`.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// What [`yield_now`] returns.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Awaits `future`, but not longer than `delay`; then it is dropped. A
/// [`Task`](crate::Task) given by value is cancelled then, as by asyncio's `wait_for`.
///
/// # Panics
/// As [`sleep`].
///
/// ```
/// use std::time::Duration;
///
/// oxloop::run(async {
///     let long = oxloop::timeout(Duration::from_millis(1), std::future::pending::<()>());
///     assert!(long.await.is_err());
///     let short = oxloop::timeout(Duration::from_secs(10), async { 1 });
///     assert_eq!(short.await, Ok(1));
/// })?;
/// # Ok::<(), oxloop::Error>(())
/// ```
pub fn timeout<F: IntoFuture>(delay: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: Some(future.into_future()), sleep: sleep(delay) }
}

pin_project! {
    /// What [`timeout`] returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: Option<F>,
        #[pin]
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut()
            && let Poll::Ready(output) = future.poll(cx)
        {
            return Poll::Ready(Ok(output));
        }
        if this.sleep.poll(cx).is_ready() {
            this.future.set(None);
            return Poll::Ready(Err(Elapsed));
        }
        Poll::Pending
    }
}

/// The time of a [`timeout`] was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(_: Elapsed) -> io::Error {
        io::ErrorKind::TimedOut.into()
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("sleep", &self.sleep).finish_non_exhaustive()
    }
}
