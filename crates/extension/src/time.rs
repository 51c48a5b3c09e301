//! Waiting for the clock of the loop.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pyo3::prelude::*;

use crate::event_loop::{LoopShared, RunningLoop};
use crate::glue::call_of;

/// Waits until `duration` has passed on the loop that polls it. The result is an error if no loop of
/// oxloop's is running there.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { duration, armed: None }
}

/// See [`sleep`].
pub struct Sleep {
    duration: Duration,
    armed: Option<Armed>,
}

struct Armed {
    alarm: Arc<Alarm>,
    shared: Arc<LoopShared>,
    timer: u64,
}

#[derive(Default)]
struct Alarm(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    over: bool,
    waker: Option<Waker>,
}

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let waker = {
            let mut ring = self.lock();
            ring.over = true;
            ring.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Sleep {
    fn arm(&mut self, py: Python<'_>, waker: &Waker) -> PyResult<()> {
        let event_loop = RunningLoop::current(py)?;
        let alarm = Arc::new(Alarm::default());
        alarm.lock().waker = Some(waker.clone());
        let ringing = alarm.clone();
        let call = call_of(move |_| {
            ringing.ring();
            Ok(())
        });
        let timer = event_loop.schedule(self.duration.as_secs_f64(), call)?;
        self.armed = Some(Armed { alarm, shared: event_loop.shared(), timer });
        Ok(())
    }
}

impl Future for Sleep {
    type Output = PyResult<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PyResult<()>> {
        if let Some(armed) = &self.armed {
            let mut ring = armed.alarm.lock();
            if ring.over {
                return Poll::Ready(Ok(()));
            }
            if !ring.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                ring.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match Python::attach(|py| self.arm(py, cx.waker())) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(armed) = self.armed.take() else { return };
        if armed.alarm.lock().over {
            return;
        }
        Python::try_attach(|py| armed.shared.cancel_timer(py, armed.timer));
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("duration", &self.duration).finish_non_exhaustive()
    }
}
