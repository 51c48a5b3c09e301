//! hyper's runtime traits, for the feature `hyper`.
//!
//! A [`Stream`] is an input and output for hyper, [`Executor`] runs what a connection needs beside
//! itself (HTTP/2 does), [`Timer`] keeps its time.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{self, ReadBufCursor};
use oxloop_engine::Key;

use crate::event_loop::Origin;
use crate::hub::Hub;
use crate::remote::Remote;
use crate::stream::Stream;
use crate::task::{create_task, running_hub};

/// What one read brings at most (bytes).
const BUFFER: usize = 64 * 1024;

impl rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // By way of memory that is initialised: this crate has no unsafe code.
        let hub = self.hub().clone();
        let mut buffer = hub.buffer.take();
        if buffer.len() < BUFFER {
            buffer.resize(BUFFER, 0);
        }
        let room = cursor.remaining().min(BUFFER);
        let read = self.read(cx, &mut buffer[..room]);
        let read = read.map_ok(|count| cursor.put_slice(&buffer[..count]));
        hub.buffer.set(buffer);
        read
    }
}

impl rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close()
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_vectored(cx, pieces)
    }
}

/// Runs futures as tasks of the running loop.
///
/// # Panics
/// In `execute`, as [`create_task`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(create_task(future));
    }
}

/// Keeps time by the running loop.
///
/// # Panics
/// Its sleeps, as [`sleep`](crate::sleep).
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(crate::event_loop::after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep { deadline, timer: None })
    }
}

/// A sleep that other threads may own, as hyper wants it, but that only the loop's polls.
struct Sleep {
    deadline: Instant,
    timer: Option<Armed>,
}

/// A timer of the loop.
struct Armed {
    remote: Remote,
    keys: (Key, Key),
    alarm: Arc<Mutex<Alarm>>,
}

#[derive(Default)]
struct Alarm {
    over: bool,
    waker: Option<Waker>,
}

impl Sleep {
    fn arm(&mut self, waker: Waker) {
        let hub = running_hub();
        let alarm = Arc::new(Mutex::new(Alarm { over: false, waker: Some(waker) }));
        let ringing = alarm.clone();
        let ring = move || {
            let waker = {
                let mut alarm = lock(&ringing);
                alarm.over = true;
                alarm.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        match hub.call_at_time(self.deadline, Box::new(ring), Origin::of::<Sleep>()) {
            Ok(keys) => self.timer = Some(Armed { remote: hub.remote.clone(), keys, alarm }),
            Err(error) => crate::task::misuse(&error.to_string()),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let Some(timer) = &self.timer else {
            self.arm(waker);
            return Poll::Pending;
        };
        let mut alarm = lock(&timer.alarm);
        if alarm.over {
            return Poll::Ready(());
        }
        let before = alarm.waker.replace(waker);
        drop(alarm);
        drop(before);
        Poll::Pending
    }
}

impl rt::Sleep for Sleep {}

impl Drop for Armed {
    fn drop(&mut self) {
        Hub::with_running(|running| {
            // Elsewhere the timer rings for nobody.
            if let Some(hub) = running.filter(|hub| hub.remote.is(&self.remote)) {
                hub.cancel_later(self.keys);
            }
        });
    }
}

/// No code that can panic runs under this lock; poison would be of no meaning.
fn lock(alarm: &Mutex<Alarm>) -> MutexGuard<'_, Alarm> {
    alarm.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
